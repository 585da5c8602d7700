"""The verdict of spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["learned_layers", "verdict_of"]

_UNLIKE = 0.05  # share of energy by which a layer must differ from the network with shuffled weights
_MISSING = -1.0  # dB in a band that counts as lost
_FEW = 4  # images


def verdict_of(scalars: Mapping[str, Any]) -> str:
    """What the output lacks or adds by band, what was learned of it, and what the number of images allows."""
    if scalars["fsds"] is None:
        constant = "ground truth" if scalars["target_high_share"] is None else "output"
        return f"cannot tell: the {constant} is constant, and has no spectrum."
    bands = scalars["bands"]
    lost = [f"{name} ({value:+.1f} dB)" for name, value in bands.items() if value < _MISSING]
    added = [f"{name} ({value:+.1f} dB)" for name, value in bands.items() if value > -_MISSING]
    parts = []
    if lost:
        parts.append(f"the output lacks energy of the ground truth at {', '.join(lost)} rad a pixel")
    if added:
        parts.append(f"the output has more energy than the ground truth at {', '.join(added)} rad a pixel")
    if not parts:
        parts.append("the output has the ground truth's energy in each quarter of the frequencies, to 1 dB")
    parts.append(f"FSDS {scalars['fsds']:.1f} dB")
    if scalars.get("linear_share") is not None:
        share = scalars["linear_share"]
        parts.append(
            f"the filter of the network's impulse response has {share:.0%} of the output's variance"
            if share > 0
            else "the network's impulse response tells nothing of this output: its filter is further off than the mean"
        )
    return "; ".join([*parts, *_of_layers(scalars)]) + "."


def learned_layers(rows: Sequence[Mapping[str, Any]]) -> int:
    """How many layers have another share above pi/2 than with shuffled weights."""
    pairs = [(row["high_share"], row["control_high_share"]) for row in rows]
    return sum(None not in pair and abs(pair[0] - pair[1]) > _UNLIKE for pair in pairs)


def _of_layers(scalars: Mapping[str, Any]) -> list[str]:
    rows = [row for row in scalars["layers"] if row.get("high_share") is not None]
    parts = []
    if rows and rows[0].get("control_high_share") is not None:
        unlike = learned_layers(rows)
        parts.append(
            f"{unlike} of {len(rows)} layers differ from shuffled weights in their share above pi/2"
            if unlike
            else "cannot tell of any layer that its spectrum was learned: shuffled weights have the same"
        )
    if scalars["images"] < _FEW:
        parts.append(f"only {scalars['images']} image{'s' * (scalars['images'] > 1)}, so the intervals say little")
    return parts
