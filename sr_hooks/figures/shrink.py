"""Images and maps made as small as print shows them, before they are drawn; large arrays are read piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import cv2
import numpy as np

__all__ = ["MOST_PIXELS", "rgb_of", "show", "showing_bands", "shrunk", "shrunk_map", "thinned"]

_shown: ContextVar[tuple[int, ...] | None] = ContextVar("shown bands", default=None)

MOST_PIXELS = 1280  # the largest longer side of a picture: a full page at 180 dots per inch

Region = tuple[float, float, float, float]


def shrunk(image: np.ndarray, region: Region | None = None, most: int = MOST_PIXELS) -> tuple[np.ndarray, Any]:
    """Cut a region (top, left, height, width) out of (C,H,W) and shrink it; return (h,w,3) in [0, 1] and its extent.

    An image that is not larger than `most` keeps its pixels. The extent is in the image's own pixels, so that boxes
    are drawn in the same numbers on the whole and on the shrunk image. Memory: the shrunk image and a band of rows.
    """
    top, left, bottom, right = _clipped(image.shape[-2:], region)
    part = image[:, top:bottom, left:right]
    factor = max(1.0, max(part.shape[-2:]) / most)
    extent = (left - 0.5, right - 0.5, bottom - 0.5, top - 0.5)
    if factor == 1:
        return _drawable(part), extent
    height, width = max(round(part.shape[-2] / factor), 1), max(round(part.shape[-1] / factor), 1)
    result = np.empty((height, width, 3), np.float32)
    edges = np.linspace(0, part.shape[-2], height + 1).round().astype(int)
    step = max(1, int(64 / factor))  # target rows at a time
    for first in range(0, height, step):
        last = min(first + step, height)
        band = _drawable(part[:, edges[first] : edges[last]])
        band = cv2.resize(band.astype(np.float32), (width, last - first), interpolation=cv2.INTER_AREA)
        result[first:last] = np.clip(band, 0, 1)
    return result, extent


def shrunk_map(values: np.ndarray, region: Region | None = None, most: int = MOST_PIXELS) -> tuple[np.ndarray, Any]:
    """Cut a region out of a map (h,w) and shrink it by the largest value of each block, so that a dot stays seen."""
    top, left, bottom, right = _clipped(values.shape, region)
    part = values[top:bottom, left:right]
    factor = -(-max(part.shape) // most)
    if factor > 1:
        part = _blocks(part, factor, np.maximum)
        bottom, right = top + factor * part.shape[0], left + factor * part.shape[1]
    return part, (left - 0.5, right - 0.5, bottom - 0.5, top - 0.5)


def _blocks(values: np.ndarray, factor: int, join: np.ufunc) -> np.ndarray:
    """Join blocks of factor x factor values (less at the lower and right edge), without a copy of a large array."""
    rows = join.reduceat(values, np.arange(0, values.shape[0], factor), axis=0)
    result: np.ndarray = join.reduceat(rows, np.arange(0, values.shape[1], factor), axis=1)
    return result


def thinned(values: np.ndarray, most: int = 480) -> np.ndarray:
    """The sums of blocks of a map (h,w) with at most `most` blocks a side; the map itself if it is not larger."""
    factor = -(-max(values.shape) // most)
    if factor <= 1:
        return values
    return _blocks(values, factor, np.add)


def show(axes: Any, image: np.ndarray, region: Region | None = None, *, grey: bool = False, **how: Any) -> Any:
    """Draw (C,H,W), shrunk if it is large, in the image's own pixel coordinates."""
    pixels, extent = shrunk(image, region)
    if grey:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    return axes.imshow(pixels, extent=extent, **{"interpolation": "nearest", **how})


def _clipped(shape: tuple[int, ...], region: Region | None) -> tuple[int, int, int, int]:
    height, width = shape
    if region is None:
        return 0, 0, height, width
    top, left = max(int(np.floor(region[0])), 0), max(int(np.floor(region[1])), 0)
    top, left = min(top, height - 1), min(left, width - 1)
    bottom = min(max(int(np.ceil(region[0] + region[2])), top + 1), height)
    right = min(max(int(np.ceil(region[1] + region[3])), left + 1), width)
    return top, left, bottom, right


def _drawable(part: np.ndarray) -> np.ndarray:
    """(C,h,w) to (h,w,3) in [0, 1]."""
    image: np.ndarray = np.clip(rgb_of(part), 0, 1).transpose(1, 2, 0)
    return image


def rgb_of(image: np.ndarray) -> np.ndarray:
    """(C,h,w) as (3,h,w): grey repeated, two bands as their mean, of more bands the chosen ones or the first three."""
    if image.shape[0] < 3:
        return np.repeat(image.mean(axis=0, keepdims=True), 3, axis=0)
    bands = _shown.get()
    return image[list(bands)] if bands and image.shape[0] > max(3, *bands) else image[:3]


@contextmanager
def showing_bands(bands: Sequence[int] | None) -> Iterator[None]:
    """Show these bands of images with more than three as red, green and blue; None for the first three."""
    token = _shown.set(None if bands is None else tuple(bands))
    try:
        yield
    finally:
        _shown.reset(token)
