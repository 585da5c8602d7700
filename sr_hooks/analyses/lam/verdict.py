"""The verdict of LAM in words: converged or not, degenerate or not, output within its range or not."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["judge"]

_SANE = (-0.5, 1.5)  # beyond, an output for images in [0, 1] has left its domain
_GAP = 0.05
_DEVIATION = 0.1


def judge(scalars: dict[str, Any], values: np.ndarray, broken_outputs: int, tolerance: float) -> str:
    """The sentence; it begins with "sound", "not converged", "imprecise", "out of range" or "degenerate"."""
    low, high = scalars["output_range"]
    notes = []
    if scalars["nonfinite"]:
        notes.append(f"{scalars['nonfinite']} gradient entries were not finite and count as 0")
    if scalars["healed"]:
        notes.append("the network writes in place, so its layers' outputs were cloned to differentiate it")
    tail = "".join(f"; {note}" for note in notes) + "."
    if not np.any(values > 0):
        return "degenerate: the map is zero everywhere, so the diffusion index says nothing" + tail
    if broken_outputs:
        return f"out of range: along the path {broken_outputs} output values were NaN or infinite" + tail
    if low < _SANE[0] or high > _SANE[1]:
        return (
            f"out of range: along the path the output reached [{low:.3g}, {high:.3g}] for images in [0, 1], so the "
            "network is outside its domain and the map is not to be trusted" + tail
        )
    facts = f"{scalars['steps']} gradients, completeness gap {scalars['completeness_gap']:.2g}"
    error = scalars["error"]
    if error is None:
        return f"published procedure: {facts}, no error estimate, output within [{low:.2f}, {high:.2f}]" + tail
    deviation = scalars["precision_deviation"]
    if deviation is not None and deviation > _DEVIATION:
        return (
            f"imprecise: in the reduced precision the weightiest part of the map is {deviation:.0%} off float32, so "
            f"the map is not to be trusted; use precision='float32' ({facts})" + tail
        )
    if error > tolerance:
        return f"not converged: estimated error {error:.1%} above the tolerance {tolerance:.1%} after {facts}" + tail
    if scalars["completeness_gap"] > _GAP:
        return f"not converged: estimated error {error:.1%}, but {facts} is large" + tail
    return (
        f"sound: converged to an estimated error of {error:.1%} ({facts}), output within [{low:.2f}, {high:.2f}]" + tail
    )
