"""Groups of equal number by PSNR: do they keep their places, and does the network or the content make them?"""

from __future__ import annotations

from typing import Any

import numpy as np

from sr_hooks.core import generator
from sr_hooks.errors import OptionError
from sr_hooks.statistics import interval, rank_correlation

__all__ = ["groups_of", "judge", "summarise"]

_PERMUTATIONS, _LEVEL = 199, 0.05
_FEW = 10  # patches of a group below which the verdict warns
_ALIKE = 0.95  # rank correlation with bicubic's PSNR from which on the content alone orders the patches


def groups_of(psnr: np.ndarray, count: int) -> np.ndarray:
    """(P,) group of each patch, 0 for the lowest PSNR; groups differ by one patch at most. Ties go by position.

    Raises:
        OptionError: fewer patches than groups.
    """
    if len(psnr) < count:
        raise OptionError(
            f"groups is {count}, and the clip has {len(psnr)} patches: give fewer groups or smaller patches"
        )
    group = np.empty(len(psnr), np.int64)
    for number, members in enumerate(np.array_split(np.argsort(psnr, kind="stable"), count)):
        group[members] = number
    return group


def summarise(arrays: dict[str, np.ndarray], others: list[str], count: int, seed: int) -> dict[str, Any]:
    """Numbers of all groups: `groups`, a mapping each, and of the whole clip.

    Of each group: `patches`, the mean `psnr` and its range `low` to `high`, `gain`, the mean over bicubic enlargement
    in dB, and `gains`, of each further network over the first, with a 95 % interval over patches. `stays`: the share of
    places that are in the same group in the next frame; `stays_by_chance`, and `p`, by permuting places within frames.
    """
    values, group = arrays["psnr"], arrays["group"]
    rows = []
    for number in range(count):
        inside = group == number
        row: dict[str, Any] = {
            "group": number,
            "patches": int(inside.sum()),
            "psnr": float(values[inside].mean()),
            "low": float(values[inside].min()),
            "high": float(values[inside].max()),
            "gain": float((values - arrays["bicubic"])[inside].mean()),
        }
        if others:
            gains = arrays["psnr_others"][:, inside] - values[inside]
            row["gains"] = {
                name: {"mean": float(gain.mean()), "interval": list(interval(gain, seed))}
                for name, gain in zip(others, gains, strict=True)
            }
        rows.append(row)
    rho = rank_correlation(values, arrays["bicubic"])
    return {
        "patches": len(values),
        "frames": len(arrays["groups"]),
        "psnr": float(values.mean()),
        "spread": rows[-1]["psnr"] - rows[0]["psnr"],
        "rank_correlation_bicubic": None if np.isnan(rho) else rho,
        "others": others,
        "groups": rows,
    } | _persistence(arrays["groups"], seed)


def _persistence(groups: np.ndarray, seed: int) -> dict[str, Any]:
    """How often a place stays in its group from a frame to the next; `groups` (T, rows, columns)."""
    if len(groups) < 2:
        return {"stays": None, "stays_by_chance": None, "p": None}
    flat = groups.reshape(len(groups), -1)
    stays = float((flat[1:] == flat[:-1]).mean())
    rng = generator(seed, "chunks", "places")
    drawn = np.empty(_PERMUTATIONS)
    for index in range(_PERMUTATIONS):
        mixed = rng.permuted(flat, axis=1)
        drawn[index] = (mixed[1:] == mixed[:-1]).mean()
    p = float((1 + (drawn >= stays - 1e-12).sum()) / (1 + _PERMUTATIONS))
    return {"stays": stays, "stays_by_chance": float(drawn.mean()), "p": p}


def judge(scalars: dict[str, Any]) -> str:
    """The sentence; it begins "groups keep their places", "cannot tell" or "degenerate"."""
    rows = scalars["groups"]
    if scalars["spread"] < 1e-6:
        return "degenerate: all patches have the same PSNR, so groups by PSNR mean nothing."
    levels = ", ".join(f"{row['psnr']:.2f}" for row in rows)
    facts = f"{len(rows)} groups of {rows[-1]['patches']} patches have {levels} dB, from hard to easy"
    if scalars["stays"] is None:
        begin = f"cannot tell: one frame, so nothing is known of other frames; {facts}"
    else:
        chance = (
            f"{scalars['stays']:.0%} of places stay in their group in the next frame, {scalars['stays_by_chance']:.0%}"
        )
        chance += f" by chance (p {scalars['p']:.3f})"
        doubt = "" if scalars["p"] <= _LEVEL else "cannot tell whether "
        begin = f"{doubt}groups keep their places: {chance}; {facts}"
    return "; ".join([begin, *_notes(scalars)]) + "."


def _notes(scalars: dict[str, Any]) -> list[str]:
    notes, rho = [], scalars["rank_correlation_bicubic"]
    if rho is not None:
        content = ": the content orders the patches, hardly the network" if rho >= _ALIKE else ""
        notes.append(f"rank correlation with the PSNR of bicubic enlargement {rho:.2f}{content}")
    for name in scalars["others"]:
        gains = [row["gains"][name] for row in scalars["groups"]]
        sure = [
            f"group {index} {gain['mean']:+.2f} dB"
            for index, gain in enumerate(gains, 1)
            if gain["interval"][0] > 0 or gain["interval"][1] < 0
        ]
        notes.append(f"{name} against it: {', '.join(sure) or 'no group differs beyond chance'}")
    if scalars["covered"] < 0.9:
        notes.append(f"patches cover {scalars['covered']:.0%} of the frames")
    if min(row["patches"] for row in scalars["groups"]) < _FEW:
        notes.append(f"only {scalars['groups'][-1]['patches']} patches a group")
    return notes
