"""The verdict on a network's attention, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["verdict"]

_LITTLE = 0.05  # dB that two networks of one kind may differ by without anyone saying so
_FEW = 5


def verdict(name: str, rows: Sequence[Mapping[str, Any]], totals: Sequence[Mapping[str, Any]], images: int) -> str:
    """How many there are, what they are worth together and at most, and what cannot be trusted."""
    kinds = Counter(row["kind"] for row in rows)
    parts = [f"{name} has attention at {len(rows)} sites ({', '.join(f'{n} {kind}' for kind, n in kinds.items())})"]
    for total in totals:
        if total["group"] == "all":
            continue
        parts.append(
            f"{total['group']} opened {_change(total, 'open')}, levelled {_change(total, 'level')}: {_word(total)}"
        )
    told = [row for row in rows if row["level"] is not None]
    if len(told) > 1:
        worst = min(told, key=lambda row: row["level"])
        parts.append(f"most is lost by levelling {worst['site']}, {_change(worst, 'level')}")
    dead = [row for row in rows if row["adapts"] is not None and row["adapts"] < 1e-6]
    if dead:
        such = dead[0]["site"] if len(dead) == 1 else f"{dead[0]['site']} and {len(dead) - 1} more"
        parts.append(f"the same gate for every image at {such}")
    if images < 2:
        parts.append("one image has no interval")
    elif images < _FEW:
        parts.append(f"{images} images make a rough interval")
    tried = sum(row["level"] is not None for row in rows)
    if tried < len(rows):
        parts.append(f"{tried} of {len(rows)} sites were tried one by one")
    return "; ".join(parts) + "."


def _change(row: Mapping[str, Any], how: str) -> str:
    if row[how] is None:
        return "not possible"
    text = f"{row[how]:+.3f} dB"
    low, high = row[f"{how}_low"], row[f"{how}_high"]
    return text + (f" ({low:+.3f} to {high:+.3f})" if low is not None else "")


def _word(total: Mapping[str, Any]) -> str:
    """Whether telling apart is what counts."""
    if total["level"] is None:
        return "undecided"
    low, high = total["level_low"], total["level_high"]
    if abs(total["level"]) < _LITTLE:
        return "little is gained by telling apart"
    if low is not None and low < 0 < high:
        return "no gain from telling apart is shown"
    return (
        "it counts that it tells apart" if total["level"] < 0 else "the network is better where it does not tell apart"
    )
