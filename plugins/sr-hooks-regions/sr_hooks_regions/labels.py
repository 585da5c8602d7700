"""The regions of an image: edges, flat and texture from its structure tensor, degraded pixels, or a label image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from sr_hooks.errors import OptionError, WindowError, nearest
from sr_hooks.images import label_map, luma, parse_regions

__all__ = ["MADE", "Labels", "labels_of", "texture_labels"]

MADE = ("texture", "degraded")
"""The words for regions that are made from the image."""

TEXTURE = ("flat", "edges", "texture")
FLAT = 0.02  # root mean square gradient per pixel, white at 1: below it a place is flat
COHERENT = 0.5  # squared coherence above which gradients have one direction, as at an edge
DEGRADED = 1.5 / 255  # an input pixel that differs from the clean one by more, in any channel, is degraded
MOST_LABELS = 40


@dataclass(frozen=True)
class Labels:
    """The regions of one image.

    Attributes:
        names: of the regions, in the order of their numbers.
        numbers: (H,W) int, as large as the ground truth: the number of each pixel's region.
    """

    names: tuple[str, ...]
    numbers: np.ndarray


def labels_of(
    value: Any, gt: torch.Tensor, lr: torch.Tensor, clean: torch.Tensor, index: int, base: Path | None = None
) -> Labels:
    """The regions of one image.

    Args:
        value: "texture", "degraded", the file or array of a label image or a mask, a mapping from name to region (as
            `parse_regions` takes one), or a list with one of these for each image.
        gt: (1,C,H,W) ground truth. lr, clean: (1,C,h,w) the network's input, and that of the clean degradation.
        index: the image's number.

    Raises:
        OptionError: a word that is not known, regions that overlap, more than 40, or too short a list.
        WindowError: a label image that cannot be read, or is not as large as the ground truth.
    """
    height, width = gt.shape[-2:]
    if isinstance(value, list):
        if index >= len(value):
            raise OptionError(f"regions lists {len(value)} label images, and there are more images: give one for each")
        value = value[index]
    if isinstance(value, str) and value == "texture":
        return Labels(TEXTURE, texture_labels(luma(gt)[0].mean(dim=0).cpu().numpy()))
    if isinstance(value, str) and value == "degraded":
        return Labels(("rest", "degraded"), _degraded(lr, clean, height, width))
    if isinstance(value, Mapping):
        return _named(value, height, width, base)
    if isinstance(value, str) and not Path(value).suffix and not Path(value).exists():
        raise OptionError(f"regions: no file and no word {value!r}; {nearest(value, MADE)}")
    numbers = label_map(value, base=base)
    if numbers.shape != (height, width):
        raise WindowError(
            f"the label image is {numbers.shape[0]}x{numbers.shape[1]}, and the ground truth {height}x{width}: a label "
            "image has a label for every ground-truth pixel"
        )
    present = np.unique(numbers)
    if len(present) > MOST_LABELS:
        raise OptionError(f"the label image has {len(present)} labels: at most {MOST_LABELS} regions are compared")
    if present.tolist() in ([0, 1], [0, 255]):
        return Labels(("rest", "mask"), (numbers != 0).astype(np.int64))
    return Labels(tuple(f"label {n}" for n in present), np.searchsorted(present, numbers))


def texture_labels(grey: np.ndarray) -> np.ndarray:
    """(H,W) in [0, 1] to (H,W) int: 0 flat, 1 edges, 2 texture, by the structure tensor.

    The tensor is the outer product of the gradient (Gaussian derivatives of std 1) averaged by a Gaussian of std 2. A
    place is flat where the root of its trace is below 0.02 a pixel. Elsewhere it is an edge where the squared coherence
    ((a - b) / (a + b))^2 of the eigenvalues a, b is above 0.5, and texture where gradients point several ways.
    """
    down, right = (ndimage.gaussian_filter(grey.astype(np.float64), 1.0, order=order) for order in ((1, 0), (0, 1)))
    yy, xx, yx = (ndimage.gaussian_filter(product, 2.0) for product in (down * down, right * right, down * right))
    trace = yy + xx
    coherence = ((yy - xx) ** 2 + 4 * yx**2) / np.maximum(trace**2, 1e-12)
    return np.where(np.sqrt(trace) < FLAT, 0, np.where(coherence > COHERENT, 1, 2))


def _degraded(lr: torch.Tensor, clean: torch.Tensor, height: int, width: int) -> np.ndarray:
    if lr.shape != clean.shape:
        raise OptionError("regions: degraded compares the input with the clean one: their sizes must agree")
    mask = ((lr - clean).abs().amax(dim=1)[0] > DEGRADED).cpu().numpy()
    rows, columns = (
        np.minimum((np.arange(n) * m) // n, m - 1) for n, m in zip((height, width), mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)].astype(np.int64)


def _named(value: Mapping[Any, Any], height: int, width: int, base: Path | None) -> Labels:
    numbers = np.zeros((height, width), np.int64)
    for number, (name, region) in enumerate(value.items(), start=1):
        parsed, _ = parse_regions(region, base=base)
        for part in parsed:
            if isinstance(part, str):
                raise OptionError(f"region {name}: auto is no region here: give a rectangle, polygons or a mask")
            part.check(height, width)
            mask = _mask(part, height, width)
            if (numbers[mask] > 0).any():
                other = list(value)[int(numbers[mask].max()) - 1]
                raise OptionError(f"region {name} overlaps {other}: a pixel has one region")
            numbers[mask] = number
    return Labels(("rest", *map(str, value)), numbers)


def _mask(part: Any, height: int, width: int) -> np.ndarray:
    if hasattr(part, "on_canvas"):
        canvas: np.ndarray = part.on_canvas(height, width)
        return canvas
    mask = np.zeros((height, width), bool)
    mask[part.top : part.top + part.height, part.left : part.left + part.width] = True
    return mask
