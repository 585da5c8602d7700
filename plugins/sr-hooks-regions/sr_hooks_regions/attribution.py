"""What a window of the output owes to each region: the weight of its LAM, and its causal effects (CEM) if installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import sr_hooks
from sr_hooks.errors import OptionError
from sr_hooks.statistics import attribution_map

__all__ = ["attribution_by_region"]


def attribution_by_region(
    network: sr_hooks.Network,
    lr: torch.Tensor,
    gt: torch.Tensor,
    numbers: np.ndarray,
    names: tuple[str, ...],
    options: Any,
    rows: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """Add `lam_share` (and `cem_effect` in dB) to the rows of the first image; returns the LAM's verdict.

    `lam_share` is a region's share of the map's weight; `lam_density` divides that by the region's share of the pixels.
    """
    if lr.ndim != 4:
        raise OptionError("window: the LAM weight by region is for networks over images, not over clips")
    with torch.enable_grad():
        lam = sr_hooks.lam(network, lr, window=options.window)
    weights = attribution_map(lam.attribution)
    small = _on_grid(numbers, weights.shape)
    area = np.bincount(small.ravel(), minlength=len(names)) / small.size
    share = np.bincount(small.ravel(), weights.ravel(), minlength=len(names)) / max(float(weights.sum()), 1e-30)
    effects = _effects(network, gt, options, weights.shape)
    for i, name in enumerate(names):
        if name in rows and area[i] > 0:
            rows[name]["lam_share"], rows[name]["lam_density"] = float(share[i]), float(share[i] / area[i])
            if effects is not None:
                rows[name]["cem_effect"] = float(effects[small == i].sum())
    return {"lam_verdict": lam.verdict, "lam_window": list(lam.window)}


def _on_grid(numbers: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Region numbers at the centres of the input's pixels."""
    rows, columns = (
        np.minimum((2 * np.arange(n) + 1) * m // (2 * n), m - 1) for n, m in zip(size, numbers.shape, strict=True)
    )
    grid: np.ndarray = numbers[np.ix_(rows, columns)]
    return grid


def _effects(network: sr_hooks.Network, gt: torch.Tensor, options: Any, size: tuple[int, ...]) -> np.ndarray | None:
    """(h,w) the CEM's effects in dB, each block's spread over its pixels; None where sr-hooks-cem is not installed."""
    try:
        import sr_hooks_cem  # noqa: F401
    except ImportError:
        return None
    if options.degradation != "clean":
        return None
    result: Any = sr_hooks.run("cem", network, gt, window=options.window, lam=False, fine=0)
    effect, side = np.nan_to_num(result.arrays["effect"]), int(result.scalars["block_side"])
    spread = np.repeat(np.repeat(effect, side, axis=0), side, axis=1) / side**2
    whole = np.zeros(size)
    height, width = (min(a, b) for a, b in zip(size, spread.shape, strict=True))
    whole[:height, :width] = spread[:height, :width]
    return whole
