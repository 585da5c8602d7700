"""The verdict of the comparison of baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["short", "verdict_of"]

_HALF = 0.7  # from here on half of the variance of the ranks is common


def short(path: str) -> str:
    """A path's name for a table: of a folder the last part alone."""
    kind, _, rest = path.partition(":")
    return f"{kind}:{rest.replace(chr(92), '/').rstrip('/').rpartition('/')[2]}" if kind == "expected" else path


def verdict_of(scalars: Mapping[str, Any]) -> str:
    """Whether the baselines agree on where the weight is, also among pixels of equal distance, and on the index."""
    rows = scalars["baselines"]
    names = [short(row["baseline"]) for row in rows]
    doubtful = [name for name, row in zip(names, rows, strict=True) if not row["verdict"].startswith("sound")]
    nearby = np.array(scalars["local_correlations"])
    pairs = list(zip(*np.triu_indices(len(rows), 1), strict=True))
    worst = min(pairs, key=lambda pair: nearby[pair])
    facts = (
        f"rank correlations from {scalars['least_correlation']:.2f} on, among pixels of equal distance to the window "
        f"from {nearby[worst]:.2f} on ({names[worst[0]]} and {names[worst[1]]}); DI {scalars['di_low']:.2f} to "
        f"{scalars['di_high']:.2f}"
    )
    doubts = f"; the LAM is not sound from {', '.join(doubtful)}" if doubtful else ""
    if scalars["least_correlation"] >= _HALF and nearby[worst] >= _HALF:
        return f"the baselines agree on where the weight is: {facts}{doubts}."
    if scalars["least_correlation"] >= _HALF:
        return (
            "the baselines agree on the distance to the window alone, and not on the pixels: "
            f"{facts}{doubts}. Name the baseline beside each map and index."
        )
    return f"the map depends on the baseline: {facts}{doubts}. Name the baseline beside each map and index."
