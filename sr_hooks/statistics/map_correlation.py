"""Rank correlation of two maps, also within rings around the window, and t intervals over random draws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sr_hooks.images.regions import Region
from sr_hooks.images.windows import Window
from sr_hooks.statistics import measures

__all__ = ["HALF", "distance_to_window", "half_width", "local_correlation", "rank_correlation_or_zero", "similarity"]

HALF = 0.7
"""A correlation of 0.7 means that half of the (rank) variance is common: 0.7^2 is 0.49."""

# Two-sided 95 % points of Student's t by degrees of freedom, up to 19; beyond, the normal's.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09)


def half_width(values: Sequence[float], *, of_next: bool = False) -> float:
    """Half the width of the 95 % t interval of the mean of some draws, or of one further draw (`of_next`)."""
    n = len(values)
    if n < 2:
        return math.inf
    t = _T[n - 2] if n - 2 < len(_T) else 2.0
    return t * float(np.std(values, ddof=1)) * math.sqrt(1 / n + (1 if of_next else 0))


def rank_correlation_or_zero(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of all entries; 0 if one of the two is constant."""
    return float(np.nan_to_num(measures.rank_correlation(a, b)))


def local_correlation(a: np.ndarray, b: np.ndarray, distance: np.ndarray) -> float:
    """Rank correlation of two (h,w) maps within rings of equal (rounded) distance, so that distance itself is no cause.

    Ranks are taken in each ring, centred, and divided by the ring's number of pixels; then one correlation over all.
    """
    rings = np.rint(distance).astype(int).ravel()
    a, b = a.ravel(), b.ravel()
    first, second = np.zeros(a.size), np.zeros(b.size)
    for ring in np.unique(rings):
        in_ring = rings == ring
        for source, target in ((a, first), (b, second)):
            target[in_ring] = measures.ranks(source[in_ring]) / in_ring.sum()
    return _correlation(first, second)


def similarity(a: np.ndarray, b: np.ndarray, distance: np.ndarray) -> float:
    """Correlate two (C,h,w) attributions: over all entries if both have signs, else within rings around the window.

    Every map is bright near its window and dark far away. So magnitudes of any two networks of like architecture have
    a rank correlation of up to 0.99. Signs do not.
    """
    if (a < 0).any() and (b < 0).any():
        return rank_correlation_or_zero(a, b)
    return local_correlation(np.abs(a.sum(axis=0)), np.abs(b.sum(axis=0)), distance)


def _distance_to_mask(height: int, width: int, region: Region, scale: float) -> np.ndarray:
    """From each pixel's centre to the nearest pixel of the mask, as `distance_to_window`."""
    import cv2

    rows = np.minimum(((np.arange(height) + 0.5) * scale).astype(int), round(height * scale) - 1)
    columns = np.minimum(((np.arange(width) + 0.5) * scale).astype(int), round(width * scale) - 1)
    outside = ~region.on_canvas(round(height * scale), round(width * scale))
    distances = cv2.distanceTransform(outside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distances[np.ix_(rows, columns)], dtype=np.float64) / scale


def distance_to_window(height: int, width: int, window: Window, scale: float) -> np.ndarray:
    """(h,w) float64: each pixel's distance to the window's rectangle or mask, in input pixels; 0 inside."""
    if isinstance(window, Region) and not window.is_rectangle:
        return _distance_to_mask(height, width, window, scale)
    y, x = np.mgrid[:height, :width] + 0.5
    top, left = window.top / scale, window.left / scale
    dy = np.maximum(np.maximum(top - y, y - top - window.height / scale), 0)
    dx = np.maximum(np.maximum(left - x, x - left - window.width / scale), 0)
    distance: np.ndarray = np.hypot(dy, dx)
    return distance


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    size = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0
