"""The verdict of a causal effect map: from random draws to maps with intervals, and to words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sr_hooks import Result
from sr_hooks_cem.effects import Effects

__all__ = ["compared_with_lam", "judge", "maps_of", "own_blocks", "student"]

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


def own_blocks(shape: tuple[int, ...], side: int, window: Sequence[int], scale: float) -> np.ndarray:
    """(bh,bw) whether a block of side x side input pixels overlaps the window, which is in output pixels."""
    top, left, height, width = (value / scale for value in window)
    rows, columns = (np.arange(count) * side for count in shape)
    inside_rows = (rows + side > top) & (rows < top + height)
    inside_columns = (columns + side > left) & (columns < left + width)
    return inside_rows[:, None] & inside_columns[None, :]


def judge(result: Result, tolerance: float, coarse: int, scale: float) -> str:
    """The sentence, its numbers added to the result's; it begins "sound", "coarse" or "degenerate"."""
    effect, low, high, draws = (result.arrays[name] for name in ("effect", "low", "high", "draws"))
    own = own_blocks(effect.shape, result.scalars["block_side"], result.scalars["window"], scale)
    result.arrays["own"] = own
    fine = draws > coarse
    felt = fine & (np.abs(effect) >= tolerance)
    helps, harms = felt & (low > 0), felt & (high < 0)
    undecided = felt & ~helps & ~harms
    result.scalars |= {
        "helping": int((helps & ~own).sum()),
        "harming": int((harms & ~own).sum()),
        "undecided": int((undecided & ~own).sum()),
        "own_blocks": int(own.sum()),
        "own_helping": int((helps & own).sum()),
        "own_harming": int((harms & own).sum()),
        "largest_effect": float(effect.max()),
        "smallest_effect": float(effect.min()),
        "half_width": float(np.median((high - low)[fine] / 2)) if fine.any() else None,
    }
    scalars = result.scalars
    skipped = scalars["blocks"] - scalars["in_reach"]
    reach = f"{skipped} of {scalars['blocks']} blocks proved out of reach" if skipped else "every block is in reach"
    if not np.abs(effect).max() > _ROUNDING:
        return f"degenerate: replacing blocks changes nothing in the window; {reach}."
    agree = compared_with_lam(scalars)
    if not fine.any():
        return (
            f"coarse: {int((draws > 0).sum())} blocks on {int(draws.max())} patches each, too few to tell helping from "
            f"harming; {reach}{agree}."
        )
    outside = int((fine & ~own).sum())
    return (
        f"sound: of {outside} blocks outside the window on {int(draws.max())} patches {scalars['helping']} help and "
        f"{scalars['harming']} harm the window beyond their 95 % interval, {scalars['undecided']} undecided "
        f"(median half-width {scalars['half_width']:.3f} dB; some {0.05 * outside:.0f} by chance alone); of the "
        f"window's own {scalars['own_blocks']} blocks, left out of these counts, {scalars['own_helping']} help and "
        f"{scalars['own_harming']} harm; {reach}{agree}."
    )


def compared_with_lam(scalars: dict[str, Any]) -> str:
    if "lam_correlation" not in scalars:
        return ""
    rho, near = scalars["lam_correlation"], scalars["distance_correlation"]
    if rho is None or near is None:
        return "; too few blocks vary for a comparison with LAM"
    better = "more" if rho > near else "no more"
    return f"; LAM agrees by rank correlation {rho:.2f}, {better} than nearness alone ({near:.2f})"
