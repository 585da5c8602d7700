"""Measures of a map or of an array: Gini, diffusion index, kernel density, rank correlation, bootstrap interval."""

from __future__ import annotations

import numpy as np

__all__ = [
    "attribution_map",
    "diffusion_index",
    "effective_number",
    "frame_shares",
    "gini",
    "interval",
    "kde",
    "rank_correlation",
    "rank_correlation_interval",
    "ranks",
]

_RESAMPLES = 2000
_AT_ONCE = 1 << 20  # pixels of a map that are summed at once


def attribution_map(attribution: np.ndarray) -> np.ndarray:
    """(...,C,h,w) signed attribution to its (...,h,w) map |sum over C|, not normalised (arXiv 2011.11036)."""
    *before, _, height, width = attribution.shape
    values = np.empty((*before, height, width), np.float32)
    rows = max(1, _AT_ONCE // max(width, 1))
    for start in range(0, height, rows):  # in float64, but not of a large map at once
        band = (..., slice(start, start + rows), slice(None))
        values[band] = np.abs(attribution[band].sum(axis=-3, dtype=np.float64))
    return values


def frame_shares(values: np.ndarray) -> np.ndarray:
    """(T,h,w) non-negative map of a clip to each frame's share of its sum, (T,) float64; zeros where all are zero."""
    sums: np.ndarray = np.asarray(values, dtype=np.float64).sum(axis=(1, 2))
    total = sums.sum()
    shares: np.ndarray = sums / total if total > 0 else sums
    return shares


def effective_number(shares: np.ndarray) -> float:
    """The effective number of shares, exp(-sum p ln p): from 1 (all in one share) to their number; 0 for no shares.

    The Hill number of order 1 (M. O. Hill, Ecology 54, 1973; L. Jost, Oikos 113, 2006): the exponential of Shannon's
    entropy. The inverse Simpson index 1 / sum p^2 (order 2) leans to the largest share and is never above it.
    """
    p = np.asarray(shares, dtype=np.float64)
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum())) if p.size else 0.0


def gini(values: np.ndarray) -> float:
    """Gini coefficient of non-negative values: 0 if all are equal, near 1 if one holds everything, 0 if all are zero.

    sum_i (2i - n - 1) a_i / (n sum a) for a_1 <= ... <= a_n.
    """
    flat = np.sort(np.asarray(values, dtype=np.float64).ravel())
    total = flat.sum()
    if not total > 0:
        return 0.0
    n = flat.size
    return float(((2 * np.arange(1, n + 1) - n - 1) * flat).sum() / (n * total))


def diffusion_index(values: np.ndarray) -> float:
    """LAM's DI, (1 - Gini) * 100. It depends on the canvas: compare only maps of equal size."""
    return (1 - gini(values)) * 100


def kde(values: np.ndarray, bandwidth: float = 0.25) -> np.ndarray:
    """Weighted Gaussian kernel density of a map, at its own pixels.

    Equal to `scipy.stats.gaussian_kde(pixels, bw_method=bandwidth, weights=values)` evaluated at the pixels,
    which on a regular grid is one convolution: O(N log N) by FFT instead of O(N^2).

    Args:
        values: (h,w), non-negative.
        bandwidth: the kernel's covariance is bandwidth^2 times that of the weighted pixels.

    Returns:
        (h,w) float64 density per square pixel. A map without extent in some direction (a single pixel, a line) has no
        such kernel; then each pixel's share of the sum is returned.
    """
    weights: np.ndarray = np.asarray(values, dtype=np.float64)
    total = weights.sum()
    if not total > 0:
        return np.zeros_like(weights)
    weights = weights / total
    if np.count_nonzero(weights) < 2:
        return weights
    h, w = weights.shape
    y, x = np.mgrid[:h, :w]
    positions = np.stack([y.ravel(), x.ravel()]).astype(np.float64)
    covariance = np.atleast_2d(np.cov(positions, bias=False, aweights=weights.ravel())) * bandwidth**2
    determinant = np.linalg.det(covariance)
    if not np.isfinite(determinant) or determinant <= 1e-12:
        return weights
    dy, dx = np.mgrid[-(h - 1) : h, -(w - 1) : w].astype(np.float64)
    inverse = np.linalg.inv(covariance)
    distance = inverse[0, 0] * dy**2 + 2 * inverse[0, 1] * dy * dx + inverse[1, 1] * dx**2
    kernel = np.exp(-0.5 * distance) / (2 * np.pi * np.sqrt(determinant))
    shape = (3 * h - 2, 3 * w - 2)
    product = np.fft.rfft2(weights, shape) * np.fft.rfft2(kernel, shape)
    full = np.fft.irfft2(product, shape)
    return np.maximum(full[h - 1 : 2 * h - 1, w - 1 : 2 * w - 1], 0.0)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays of equal size, in [-1, 1]; ties have their mean rank.

    Equal to `scipy.stats.spearmanr(a, b).statistic`. NaN if an array is constant or holds NaN: then the correlation is
    undefined.
    """
    x, y = (ranks(np.asarray(values, dtype=np.float64).ravel()) for values in (a, b))
    if x.shape != y.shape:
        raise ValueError(f"arrays of {x.size} and {y.size} values have no rank correlation")
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else float("nan")


def ranks(values: np.ndarray) -> np.ndarray:
    """Centred ranks, ties at their mean rank; all NaN if one value is NaN."""
    if not values.size or np.isnan(values).any():
        return np.full(values.shape, np.nan)
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[which] - (values.size - 1) / 2


def interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % percentile-bootstrap interval of the mean of (N,) values; infinite for N = 1."""
    if len(values) < 2:
        return (-np.inf, np.inf)
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return (float(low), float(high))


def rank_correlation_interval(correlation: float, count: int) -> tuple[float, float]:
    """95 % interval of Spearman's rank correlation of `count` independent pairs; (-1, 1) for fewer than four.

    Fisher's transformation with the variance of Bonett and Wright (2000), (1 + r² / 2) / (n - 3). Of a perfect
    correlation, whose variance cannot be estimated, the inner end is that of the largest one below 1.
    """
    if count < 4 or np.isnan(correlation):
        return (-1.0, 1.0)
    largest = 1 - 12 / (count * (count**2 - 1))  # one pair of neighbours is exchanged
    inner = float(np.clip(correlation, -largest, largest))
    width = 1.959964 * np.sqrt((1 + inner**2 / 2) / (count - 3))
    low, high = (float(np.tanh(np.arctanh(inner) + side * width)) for side in (-1, 1))
    return (low, 1.0) if correlation > largest else (-1.0, high) if correlation < -largest else (low, high)
