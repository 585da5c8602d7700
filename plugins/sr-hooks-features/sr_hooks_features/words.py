"""The verdicts of features and of health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["features_verdict", "health_verdict", "silence"]

_UNKNOWN = 0.5  # a channel that may fire on more than half of all images cannot be called dead
_HALF = 65504.0  # the largest number of half precision
_LISTED = 4


def features_verdict(scalars: Mapping[str, Any], order: str) -> str:
    """How many channels are dead, constant or saturated, over how many images, and beside shuffled weights."""
    parts = [silence(scalars["layers"], scalars["images"], scalars["fires_at_most"])]
    parts += [f"{scalars[key]} of {scalars['channels']} are {key}" for key in ("constant", "saturated") if scalars[key]]
    if "control_dead" in scalars:
        other = ", ".join(f"{scalars[f'control_{key}']} {key}" for key in ("dead", "constant", "saturated"))
        counts = [(scalars[key], scalars[f"control_{key}"]) for key in ("dead", "constant", "saturated")]
        unlearned = any(own for own, _ in counts) and all(own == control for own, control in counts)
        parts.append(f"shuffled weights: {other}" + (", the same, so nothing of it was learned" if unlearned else ""))
    broken = [row["layer"] for row in scalars["layers"] if row["nonfinite"]]
    if broken:
        parts.insert(0, f"NaN or infinite values in {_listed(broken)}, which the numbers leave out")
    if order == "saliency":
        parts.append("channels in the order of the objective's gradient on the image shown alone")
    return "; ".join(parts) + "."


def silence(rows: Sequence[Mapping[str, Any]], images: int, fires_at_most: float) -> str:
    """What can be told of channels that were 0 all over so many images."""
    channels, dead = (sum(row[key] for row in rows) for key in ("channels", "dead"))
    on = f"{images} image{'s' * (images > 1)}"
    if not dead:
        return f"no channel of {channels} is silent on {on}"
    layers = _listed([f"{row['layer']} ({row['dead']} of {row['channels']})" for row in rows if row["dead"]])
    text = f"{dead} of {channels} channels ({dead / channels:.1%}) are silent on {on}: {layers}"
    if fires_at_most > _UNKNOWN:
        return f"cannot tell whether channels are dead: {text}, and such a channel may fire on others; give 5 images"
    return f"{text}; with 95 % each fires on fewer than {fires_at_most:.0%} of such images"


def health_verdict(rows: Sequence[Mapping[str, Any]], images: int, fires_at_most: float) -> str:
    """The first layer that is not finite, the largest value, the least entropy, and silent channels."""
    parts = []
    broken = next((row for row in rows if row["nonfinite"]), None)
    if broken is not None:
        parts.append(f"{broken['layer']} is the first layer with NaN or infinite values ({broken['nonfinite']})")
    else:
        parts.append("all values of the layers are finite")
    highest = max(rows, key=lambda row: row["max"])
    parts.append(f"the largest |feature| is {highest['max']:.3g} ({highest['layer']})")
    if highest["max"] > _HALF:
        parts[-1] += f", beyond half precision, which ends at {_HALF:.0f}"
    wide = [row for row in rows if row["channels"] > 1 and row["max"] > 0]
    if wide:
        narrow = min(wide, key=lambda row: row["entropy"])
        parts.append(f"the least channel entropy is {narrow['entropy']:.2f} ({narrow['layer']})")
    peaked = [row for row in rows if row["kurtosis"] is not None]
    if peaked:
        heavy = max(peaked, key=lambda row: row["kurtosis"])
        parts.append(f"the largest kurtosis is {heavy['kurtosis']:.3g} ({heavy['layer']})")
    return "; ".join([*parts, silence(rows, images, fires_at_most)]) + "."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
