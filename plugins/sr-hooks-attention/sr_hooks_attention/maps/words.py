"""The verdict on attention maps, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

__all__ = ["summary", "verdict"]

_LEVEL = 0.05
_LEAST = 0.01  # of the mean rank of use above that of shuffled weights: less is no agreement, however sure


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The numbers over all layers: `agreeing`, `read_rank`, `control`, `mean_distance`; without a layer, left out."""
    tested = [row for row in rows if row["p_shuffled"] is not None]
    compared = [row for row in tested if row["control"] is not None]
    shown = [row for row in rows if row["mean_distance"] is not None]
    numbers: dict[str, float] = {}
    if tested:
        numbers["agreeing"] = sum(map(_agrees, tested)) / len(tested)
        numbers["read_rank"] = sum(row["read_rank"] for row in tested) / len(tested)
    if compared:
        numbers["control"] = sum(row["control"] for row in compared) / len(compared)
    if shown:
        numbers["mean_distance"] = sum(row["mean_distance"] for row in shown) / len(shown)
    return numbers


def verdict(name: str, scalars: Mapping[str, Any]) -> str:
    """Whether the weights agree with what the network used, more than other queries' weights; else cannot tell."""
    rows = scalars["layers"]
    shown = [row for row in rows if row["shows"].startswith("pixels")]
    parts = [_agreement(name, scalars, shown)]
    if "rollout_layers" in scalars:
        parts.append(_rollout(scalars))
    unknown = [row["layer"] for row in rows if row["shows"] == "nothing"]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        parts.append(f"the positions of {unknown[0]}{more} are not known, so nothing is drawn of them")
    channels = sum(row["shows"] == "channels" for row in rows)
    if channels:
        parts.append(f"{channels} of {len(rows)} layers attend among channels, alike for every pixel")
    outside = [row for row in shown if row["outside"] > 0.01]
    if outside:
        worst = max(outside, key=lambda row: row["outside"])
        parts.append(f"{worst['outside']:.0%} of the weight at {worst['layer']} goes to padding")
    return "; ".join(parts) + "."


def _agreement(name: str, scalars: Mapping[str, Any], shown: list[dict[str, Any]]) -> str:
    check = {"lam": "LAM", "gradient": "the gradient", "none": ""}[scalars["check"]]
    if not shown:
        return f"cannot tell: no attention of {name} has weights on pixels that are known"
    if not check:
        return "unchecked: the weights are drawn, and say nothing about what the network used (check: none)"
    tested = [row for row in shown if row["p_shuffled"] is not None]
    if not tested:
        return f"cannot tell: no layer has unlike weights on 8 or more pixels, which could agree with {check}"
    agree = [row for row in tested if _agrees(row)]
    counts = f"the weights of {len(agree)} of {len(tested)} layers agree with {check} more than shuffled ones do"
    if not agree or _by_chance(len(agree), len(tested)) > _LEVEL:
        return f"cannot tell: {counts}, no more than chance gives; the maps say where weights are, not what was used"
    best = max(agree, key=lambda row: row["read_rank"])
    most = f"most {best['layer']}, mean rank of use {best['read_rank']:.2f}"
    able = [row for row in agree if row["others"] + 1 >= 1 / _LEVEL]
    if not able:
        return f"agrees: {counts} ({most}); by content or by distance cannot be told without other windows"
    own = [row for row in able if row["p"] <= _LEVEL]
    if not own or _by_chance(len(own), len(able)) > _LEVEL:
        return f"agrees by position alone: {counts} ({most}), but no more than the weights of other windows do"
    return f"agrees: {counts} ({most}), in {len(own)} of {len(able)} also more than the weights of other windows do"


def _agrees(row: Mapping[str, Any]) -> bool:
    """Whether the weights are on the pixels used, surely and by more than a hundredth; shuffled ones have 0.5."""
    return row["p_shuffled"] is not None and row["p_shuffled"] <= _LEVEL and row["read_rank"] >= 0.5 + _LEAST


def _by_chance(hits: int, tests: int) -> float:
    """How probable so many of the tests, or more, are below the level if nothing agrees."""
    terms = (comb(tests, k) * _LEVEL**k * (1 - _LEVEL) ** (tests - k) for k in range(hits, tests + 1))
    return sum(terms)


def _rollout(scalars: Mapping[str, Any]) -> str:
    own, control, p = (scalars[key] for key in ("rollout_read_rank", "rollout_control", "rollout_p"))
    if own is None or p is None:
        return f"rollout over {scalars['rollout_layers']} layers is unchecked"
    numbers = f"mean rank of use {own:.3f}, with shuffled weights {control:.3f}"
    if p <= _LEVEL and own >= control + _LEAST:
        return f"rollout over {scalars['rollout_layers']} layers agrees more than with shuffled weights ({numbers})"
    return f"rollout over {scalars['rollout_layers']} layers shows its windows and no more ({numbers})"
