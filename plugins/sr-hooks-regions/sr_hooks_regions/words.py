"""The verdict of errors by region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["verdict_of"]

_P = 0.05
_LEAST = 1.1  # a region is named if its share of the error is at least a tenth above its share of the area


def verdict_of(scalars: Mapping[str, Any], network: str) -> str:
    """One or two sentences: which regions hold more of the squared error than displaced copies of them would."""
    rows: Mapping[str, Mapping[str, Any]] = scalars["regions"]
    if scalars["squared_error"] == 0:
        return "no error: the output equals the ground truth in every pixel."
    if len(rows) < 2:
        return f"cannot tell: all pixels are in one region ({', '.join(rows)}), so there is nothing to compare."
    if any("p" not in row for row in rows.values()):
        return f"not tested against chance (draws is 0): {_shares(rows)}."
    above = [name for name, row in rows.items() if row["p"] <= _P and row["share_of_error"] >= _LEAST * row["area"]]
    if not above:
        text = f"cannot tell: no region holds more of the squared error than displaced copies of it ({_shares(rows)})"
    else:
        parts = [
            f"{name} ({rows[name]['share_of_error']:.0%} of the squared error on {rows[name]['area']:.0%} of the area, "
            f"{rows[name]['share_by_chance']:.0%} by chance)"
            for name in above
        ]
        text = f"errors of {network} concentrate on {' and '.join(parts)}"
    return "; ".join([text, *_others(scalars, network)]) + "."


def _shares(rows: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} {row['share_of_error']:.0%} on {row['area']:.0%}" for name, row in rows.items())


def _others(scalars: Mapping[str, Any], network: str) -> list[str]:
    """One part for each region in which another network is better than the explained one in PSNR by 0.1 dB."""
    parts = []
    for other, rows in scalars["networks"].items():
        gains = {
            name: row["psnr"] - scalars["regions"][name]["psnr"]
            for name, row in rows.items()
            if other != network and name in scalars["regions"]
        }
        if gains:
            parts.append(f"{other}: " + ", ".join(f"{name} {gain:+.2f} dB" for name, gain in gains.items()))
    if "lam_verdict" in scalars and not str(scalars["lam_verdict"]).startswith("sound"):
        parts.append(f"the LAM of the window is not sound ({str(scalars['lam_verdict']).split(':')[0]})")
    return parts
