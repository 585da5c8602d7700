"""The pairs of layers that are compared, how many of them are alike, and the verdict of similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["compared", "counts_of", "verdict_of"]

_LEAST, _FEW = 8, 32  # patches


def compared(shape: tuple[int, int], *, alone: bool, same_layers: bool) -> np.ndarray:
    """(L,M) bool: which pairs of layers answer the question.

    Of a network alone these are its layers in pairs; of two networks with the same layers, each layer with its own.
    """
    if alone:
        return ~np.eye(*shape, dtype=bool) if same_layers else np.ones(shape, dtype=bool)
    return np.eye(*shape, dtype=bool) if same_layers else np.ones(shape, dtype=bool)


def counts_of(arrays: Mapping[str, np.ndarray], pairs: np.ndarray) -> dict[str, int]:
    """How many pairs are alike beyond the controls, how many less than they, and how many have no answer.

    A pair has no answer where its interval holds 0. A layer that is the same on all patches has no similarity.
    """
    low, high = arrays["excess_low"][pairs], arrays["excess_high"][pairs]
    constant = int((~np.isfinite(low)).sum())
    alike, unlike = int((low > 0).sum()), int((high < 0).sum())
    return {
        "pairs": int(pairs.sum()),
        "alike": alike,
        "less_alike": unlike,
        "constant": constant,
        "unclear": int(pairs.sum()) - alike - unlike - constant,
    }


def verdict_of(scalars: Mapping[str, Any], name: str, other: str) -> str:
    """How many pairs are alike beyond the controls, how many less than they, and of how many that cannot be told."""
    if scalars["alone"]:
        what = f"pairs of layers of {name}"
    elif "same_layer" in scalars:
        what = f"layers of {name} and of {other}"
    else:
        what = f"pairs of layers of {name} and {other}"
    if not scalars["pairs"]:
        return "cannot tell: one layer has no pair; name more layers, or another network."
    if scalars["distinct_patches"] < _LEAST:
        distinct = scalars["distinct_patches"]
        return f"cannot tell: of {scalars['patches']} patches only {distinct} differ; give other images."
    text = f"{scalars['alike']} of {scalars['pairs']} {what} are alike beyond shuffled weights, pixels and chance"
    if scalars["less_alike"]:
        text += f"; {scalars['less_alike']} are less alike than one of these controls"
    if scalars["unclear"]:
        text += f"; of {scalars['unclear']} it cannot be told"
    if scalars["constant"]:
        text += f"; {scalars['constant']} have a layer that is the same on all patches, so nothing can be compared"
    if scalars["alike"] == 0:
        text = f"cannot tell: {text}"
    if scalars["patches"] < _FEW:
        text += f"; only {scalars['patches']} patches, so the intervals are wide"
    return text + "."
