"""The verdict of a causal effect map: from random draws to maps with intervals, and to words."""

from __future__ import annotations

from typing import Any

import numpy as np

from sr_hooks import Result
from sr_hooks_cem.effects import Effects

__all__ = ["judge", "maps_of", "student"]

_LEVEL = 0.95
_ROUNDING = 1e-4  # dB


def student(draws: np.ndarray) -> float:
    """Half of the 95 % interval of the mean of (n,) draws by Student's t; infinite for one."""
    from scipy import stats

    if len(draws) < 2:
        return float("inf")
    return float(stats.t.ppf((1 + _LEVEL) / 2, len(draws) - 1) * draws.std(ddof=1) / np.sqrt(len(draws)))


def maps_of(effects: Effects) -> dict[str, np.ndarray]:
    """(bh,bw) effect, low, high and draws, and `lost`, each draw's dB (blocks, most draws), NaN where there is none.

    Blocks out of reach have the effect 0 and the interval [0, 0]: proved.
    """
    rows = len({block.top for block in effects.blocks})
    values = np.zeros((4, len(effects.blocks)))
    lost = np.full((len(effects.blocks), max(map(len, effects.draws.values()))), np.nan, np.float32)
    for index, draws in effects.draws.items():
        lost[index, : len(draws)] = effects.base - draws
        mean, half = effects.base - draws.mean(), student(draws)
        values[:, index] = mean, mean - half, mean + half, len(draws)
    effect, low, high, count = values.reshape(4, rows, -1)
    return {"effect": effect, "low": low, "high": high, "draws": count.astype(int), "lost": lost}


def judge(result: Result, tolerance: float, coarse: int) -> str:
    """The sentence, its numbers added to the result's; it begins "sound", "coarse" or "degenerate"."""
    effect, low, high, draws = (result.arrays[name] for name in ("effect", "low", "high", "draws"))
    fine = draws > coarse
    felt = fine & (np.abs(effect) >= tolerance)
    helps, harms = felt & (low > 0), felt & (high < 0)
    result.scalars |= {
        "helping": int(helps.sum()),
        "harming": int(harms.sum()),
        "undecided": int((felt & ~helps & ~harms).sum()),
        "largest_effect": float(effect.max()),
        "smallest_effect": float(effect.min()),
        "half_width": float(np.median((high - low)[fine] / 2)) if fine.any() else None,
    }
    scalars = result.scalars
    skipped = scalars["blocks"] - scalars["in_reach"]
    reach = f"{skipped} of {scalars['blocks']} blocks proved out of reach" if skipped else "every block is in reach"
    if not np.abs(effect).max() > _ROUNDING:
        return f"degenerate: replacing blocks changes nothing in the window; {reach}."
    agree = _said_of_lam(scalars)
    if not fine.any():
        return (
            f"coarse: {int((draws > 0).sum())} blocks on {int(draws.max())} patches each, too few to tell helping from "
            f"harming; {reach}{agree}."
        )
    return (
        f"sound: of {int(fine.sum())} blocks on {int(draws.max())} patches {scalars['helping']} help and "
        f"{scalars['harming']} harm the window beyond their 95 % interval, {scalars['undecided']} undecided "
        f"(median half-width {scalars['half_width']:.3f} dB; some {0.05 * int(fine.sum()):.0f} by chance alone); "
        f"{reach}{agree}."
    )


def _said_of_lam(scalars: dict[str, Any]) -> str:
    if "lam_correlation" not in scalars:
        return ""
    rho, near = scalars["lam_correlation"], scalars["distance_correlation"]
    if rho is None or near is None:
        return "; too few blocks vary for a comparison with LAM"
    better = "more" if rho > near else "no more"
    return f"; LAM agrees by rank correlation {rho:.2f}, {better} than nearness alone ({near:.2f})"
