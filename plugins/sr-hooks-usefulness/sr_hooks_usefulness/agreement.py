"""How well a metric agrees with a score: rank correlations over networks, with intervals, and over all pairs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import optimize, stats

__all__ = ["FEWEST", "agreement", "holm"]

FEWEST = 6  # networks; with fewer nothing can be told
_FIT = 10  # points below which four parameters would fit anything
_LEAST = 4  # different networks that a draw needs


def agreement(metric: np.ndarray, score: np.ndarray, *, draws: int, rng: np.random.Generator) -> Mapping[str, Any]:
    """Correlations of a metric with a score, both (N,M) for N networks and M images.

    Over networks, of means over the images that both have for every network: Spearman's `spearman` with a 95 %
    bootstrap interval over networks and images, and its permutation p; Kendall's `kendall`; Pearson's `pearson` after
    the logistic fit of image quality papers (VQEG's four parameters) from 10 networks on, plain below. Over all pairs
    of network and image, as PIPAL counts: `spearman_pairs`, `kendall_pairs`, `pearson_pairs`.
    """
    use = np.isfinite(metric).all(axis=0) & np.isfinite(score).all(axis=0)
    x, y = metric[:, use], score[:, use]
    if x.shape[1] == 0 or np.ptp(x.mean(1)) == 0 or np.ptp(y.mean(1)) == 0:
        return {"images": int(use.sum()), "spearman": None}
    means = x.mean(1), y.mean(1)
    observed = _spearman(*means)
    drawn = [_draw(x, y, rng) for _ in range(draws)]
    drawn = [value for value in drawn if np.isfinite(value)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) >= 20 else (-1.0, 1.0)
    shuffled = [abs(_spearman(means[0], rng.permutation(means[1]))) for _ in range(draws)]
    p = (1 + sum(value >= abs(observed) - 1e-12 for value in shuffled)) / (1 + draws)
    by_image = bool((np.ptp(x, axis=1) > 0).any() and (np.ptp(y, axis=1) > 0).any())
    flat = x.ravel(), y.ravel()
    return {
        "images": int(use.sum()),
        "spearman": observed,
        "low": float(low),
        "high": float(high),
        "p": p,
        "kendall": float(stats.kendalltau(*means).statistic),
        "pearson": _fitted(*means),
        "spearman_pairs": _spearman(*flat) if by_image else None,
        "kendall_pairs": float(stats.kendalltau(*flat).statistic) if by_image else None,
        "pearson_pairs": _fitted(*flat) if by_image else None,
    }


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """p values corrected for that there are several (Holm 1979)."""
    corrected, largest = {}, 0.0
    for position, name in enumerate(sorted(p, key=lambda key: p[key])):
        largest = max(largest, min(1.0, (len(p) - position) * p[name]))
        corrected[name] = largest
    return corrected


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    x, y = stats.rankdata(x), stats.rankdata(y)
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / size) if size > 0 else float("nan")


def _draw(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> float:
    rows, columns = rng.integers(len(x), size=len(x)), rng.integers(x.shape[1], size=x.shape[1])
    if len(np.unique(rows)) < _LEAST:
        return float("nan")
    return _spearman(x[rows][:, columns].mean(1), y[rows][:, columns].mean(1))


def _fitted(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of y with the logistic curve through x that fits best; of x itself for few points."""
    straight = float(np.corrcoef(x, y)[0, 1])
    if len(x) < _FIT:
        return straight
    scaled = (x - x.mean()) / x.std()
    start = [y.max(), y.min(), 0.0, np.copysign(1.0, straight)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optimize.OptimizeWarning)  # no covariance is asked for
            found, _ = optimize.curve_fit(_logistic, scaled, y, p0=start, maxfev=5000)
    except RuntimeError:
        return straight
    curve = _logistic(scaled, *found)
    return float(np.corrcoef(curve, y)[0, 1]) if np.ptp(curve) > 0 else straight


def _logistic(x: np.ndarray, high: float, low: float, middle: float, slope: float) -> np.ndarray:
    values: np.ndarray = low + (high - low) / (1 + np.exp(np.clip(-slope * (x - middle), -50, 50)))
    return values
