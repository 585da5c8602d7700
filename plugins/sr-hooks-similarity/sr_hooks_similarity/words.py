"""The verdict of similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["verdict_of"]

_FEW = 32  # patches


def verdict_of(scalars: Mapping[str, Any], arrays: Mapping[str, np.ndarray], name: str, other: str) -> str:
    """How many pairs are alike beyond the controls, how many less than they, and of how many that cannot be told."""
    low, high = arrays["excess_low"], arrays["excess_high"]
    if scalars["alone"]:
        pairs = ~np.eye(len(low), dtype=bool)
        what = f"pairs of layers of {name}"
    elif "same_layer" in scalars:
        pairs = np.eye(len(low), dtype=bool)
        what = f"layers of {name} and of {other}"
    else:
        pairs = np.ones(low.shape, dtype=bool)
        what = f"pairs of layers of {name} and {other}"
    count, above = int(pairs.sum()), int((low[pairs] > 0).sum())
    below = int((high[pairs] < 0).sum())
    if not count:
        return "one layer has no pair: name more layers, or another network."
    unclear = count - above - below
    text = f"{above} of {count} {what} are alike beyond shuffled weights, pixels and chance"
    if below:
        text += f"; {below} are less alike than one of these controls"
    if unclear:
        text += f"; of {unclear} it cannot be told"
    if above == 0:
        text = f"cannot tell: {text}"
    if scalars["patches"] < _FEW:
        text += f"; only {scalars['patches']} patches, so the intervals are wide"
    return text + "."
