"""Whether a LAM and a CEM of the same window call the same blocks important."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sr_hooks import LamResult, Result
from sr_hooks.core import generator
from sr_hooks.errors import OptionError
from sr_hooks.statistics import rank_correlation

__all__ = ["Agreement", "agreement", "block_sums"]

_PERMUTATIONS = 999


@dataclass(frozen=True)
class Agreement:
    """Over the blocks in reach that lie outside the window.

    Attributes:
        correlation: Spearman's, of LAM's sum over the block with |causal effect|; None where one is constant.
        distance: the same with nearness to the window in LAM's place: what two maps that merely fade outwards reach.
        p: share of permutations of the blocks that correlate as much. Neighbouring blocks are alike, so it flatters.
        blocks: how many.
        sums: (bh,bw) the map's sum over each block.
    """

    correlation: float | None
    distance: float | None
    p: float | None
    blocks: int
    sums: np.ndarray


def block_sums(values: np.ndarray, side: int) -> np.ndarray:
    """(h,w) summed over blocks of side x side, those at the lower and right edge cut: (ceil(h/side), ceil(w/side))."""
    rows, columns = np.arange(0, values.shape[0], side), np.arange(0, values.shape[1], side)
    return np.add.reduceat(np.add.reduceat(values.astype(np.float64), rows, axis=0), columns, axis=1)


def agreement(lam: LamResult, cem: Result) -> Agreement:
    """Compare a LAM with a CEM of the same window and input.

    Raises:
        OptionError: they are of different windows or inputs.
    """
    if tuple(lam.scalars["window"]) != tuple(cem.scalars["window"]) or lam.map.shape != cem.arrays["lr"].shape[-2:]:
        raise OptionError(
            f"the LAM is of window {tuple(lam.scalars['window'])} and an input of {lam.map.shape}, the CEM of "
            f"{tuple(cem.scalars['window'])} and {cem.arrays['lr'].shape[-2:]}: compare the same"
        )
    side, scale = cem.scalars["block_side"], cem.arrays["output"].shape[-1] / cem.arrays["lr"].shape[-1]
    sums = block_sums(lam.map, side)
    far = _distance(cem.scalars["window"], scale, side, sums.shape)
    chosen = (cem.arrays["draws"] > 0) & (far > 0)
    effect = np.abs(cem.arrays["effect"][chosen])
    rho = rank_correlation(sums[chosen], effect) if chosen.sum() > 2 else float("nan")
    near = rank_correlation(-far[chosen], effect) if chosen.sum() > 2 else float("nan")
    p = None
    if not np.isnan(rho):
        rng = generator(int(cem.provenance["seed"]), "agreement")
        shuffled = np.array([rank_correlation(rng.permutation(sums[chosen]), effect) for _ in range(_PERMUTATIONS)])
        p = float((1 + (shuffled >= rho - 1e-12).sum()) / (1 + _PERMUTATIONS))
    return Agreement(_known(rho), _known(near), p, int(chosen.sum()), sums)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _distance(window: list[int], scale: float, side: int, shape: tuple[int, ...]) -> np.ndarray:
    """(bh,bw) input pixels from each block to the window, 0 where they meet."""
    top, left, height, width = (value / scale for value in window)
    gaps = []
    for start, length, count in ((top, height, shape[0]), (left, width, shape[1])):
        first = np.arange(count) * side
        gaps.append(np.maximum(np.maximum(start - (first + side), first - (start + length)) + 1, 0))
    return np.hypot(gaps[0][:, None], gaps[1][None, :])
