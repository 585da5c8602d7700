"""Regions: parts of the output of any shape, a mask within its bounding window."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from sr_hooks.errors import ImageError, WindowError
from sr_hooks.images.windows import Window

__all__ = ["Region", "inside", "outline", "region_of_mask", "region_of_polygons", "region_psnr", "region_psnr_of_part"]

_HIGHEST_PSNR = 120.0  # dB, of equal images, as in `sr_hooks.images.metrics`


@dataclass(frozen=True)
class Region(Window):
    """A mask of output pixels. As a Window the region is the mask's bounding rectangle.

        region = region_of_mask(mask)              # (H,W) bool, as large as the output
        region.as_tuple(), region.area

    Attributes:
        bits: the mask within the bounding window, eight pixels a byte.
        canvas: height and width of the output that the mask was drawn for; None fits every output.
    """

    bits: bytes = field(repr=False)
    canvas: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"{super().__str__()}, a mask of {self.area} pixels"

    @cached_property
    def mask(self) -> np.ndarray:
        """(height,width) bool: the region within its bounding window."""
        flat = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=self.height * self.width)
        return flat.reshape(self.height, self.width).astype(bool)

    @cached_property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.mask.sum())

    @property
    def is_rectangle(self) -> bool:
        """Whether the region fills its bounding window, and so is that window."""
        return self.area == self.height * self.width

    def on_canvas(self, height: int, width: int) -> np.ndarray:
        """(height,width) bool: the region within the whole output."""
        whole = np.zeros((height, width), bool)
        whole[self.top : self.top + self.height, self.left : self.left + self.width] = self.mask
        return whole

    def check(self, height: int, width: int) -> None:
        """Refuse a region that is not inside an output of height x width pixels, or was drawn for another size."""
        if self.canvas not in (None, (height, width)):
            raise WindowError(
                f"the mask is {'x'.join(map(str, self.canvas or ()))}, and the output is {height}x{width}: a mask has "
                "a value for every output (not input) pixel"
            )
        super().check(height, width)

    def sha256(self) -> str:
        """SHA-256 of position, size and mask."""
        return hashlib.sha256(str(self.as_tuple()).encode() + self.bits).hexdigest()

    def as_plain(self) -> dict[str, Any]:
        """The region in provenance and keys: its bounding window and its hash."""
        return {"window": list(self.as_tuple()), "pixels": self.area, "sha256": self.sha256()}


def region_of_mask(mask: np.ndarray, *, fits_every_output: bool = False) -> Region:
    """The region of a mask (H,W) bool in output pixels.

    Raises:
        WindowError: the mask has no pixel.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise WindowError("the region is empty: its mask has no pixel")
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    bits = np.packbits(mask[top:bottom, left:right]).tobytes()
    canvas = None if fits_every_output else (int(mask.shape[0]), int(mask.shape[1]))
    return Region(top, left, bottom - top, right - left, bits, canvas)


def region_of_polygons(polygons: Sequence[np.ndarray]) -> Region:
    """The union of polygons, each (N,2) corners (y, x) in output pixels, pixel (0, 0) reaching from (0, 0) to (1, 1).

    A pixel belongs to a polygon if its centre lies inside. So the corners of a rectangle of pixels give that rectangle.

    Raises:
        WindowError: a polygon leaves the output at the top or left, or no centre of a pixel lies inside.
    """
    corners = np.concatenate(polygons)
    if not np.isfinite(corners).all() or corners.min() < 0 or corners.max() > 1e6:
        raise WindowError("a polygon has corners that are negative or not finite: corners are (y, x) in output pixels")
    height, width = (int(side) for side in np.ceil(corners.max(axis=0)))
    top, left = (int(side) for side in np.floor(corners.min(axis=0)))
    y, x = np.arange(top, height)[:, None] + 0.5, np.arange(left, width)[None, :] + 0.5
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        odd = np.zeros((height - top, width - left), bool)
        for (y0, x0), (y1, x1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if y0 != y1:  # a ray to the left crosses the edge
                odd ^= ((y0 <= y) != (y1 <= y)) & (x > x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        mask[top:, left:] |= odd
    return region_of_mask(mask, fits_every_output=True)


def inside(window: Window, values: torch.Tensor) -> torch.Tensor:
    """Values (...,height,width) of a window's pixels, 0 outside of a region's mask."""
    if not isinstance(window, Region) or window.is_rectangle:
        return values
    return values * torch.from_numpy(window.mask).to(values)


def region_psnr(output: torch.Tensor, target: torch.Tensor, window: Window) -> float:
    """PSNR in dB over the pixels of a window or region, all channels, of (1,C,H,W) in [0, 1]; white is 1.

    Raises:
        ImageError: the two have different shapes.
    """
    return region_psnr_of_part(output, (0, 0), (output.shape[-2], output.shape[-1]), target, window)


def region_psnr_of_part(
    part: torch.Tensor, at: tuple[int, int], size: tuple[int, int], target: torch.Tensor, window: Window
) -> float:
    """`region_psnr` of an output (H,W) of which only a part (1,C,h,w), with its top left corner `at`, is known.

    Raises:
        ImageError: output and ground truth have different shapes.
    """
    if target.shape[1] == 1:
        target = target.expand(-1, part.shape[1], -1, -1)
    shape = (*part.shape[:2], *size)
    if shape != target.shape:
        raise ImageError(f"the ground truth is {tuple(target.shape[1:])}, and the output {shape[1:]}")
    moved = replace(window, top=window.top - at[0], left=window.left - at[1])
    errors = inside(window, (moved.crop(part).double() - window.crop(target).double()).square())
    mean = float(errors.sum()) / (window.area * part.shape[1])
    return float(-10 * np.log10(max(mean, 10 ** (-_HIGHEST_PSNR / 10))))


def outline(region: Window) -> list[np.ndarray]:
    """The border of a window or region as closed lines along the edges of pixels, to be drawn.

    Returns:
        One (N,2) float64 for each border, outer ones and those of holes: corners (y, x) in output pixels, the last
        equal to the first. Pixel (0, 0) reaches from (0, 0) to (1, 1); for imshow subtract 0.5.
    """
    mask = region.mask if isinstance(region, Region) else np.ones((region.height, region.width), bool)
    padded = np.pad(mask, 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for (dy, dx), start, end in (  # the region is to the right of every edge
        ((-1, 0), (0, 0), (0, 1)),
        ((0, 1), (0, 1), (1, 1)),
        ((1, 0), (1, 1), (1, 0)),
        ((0, -1), (1, 0), (0, 0)),
    ):
        neighbour = padded[1 + dy : 1 + dy + mask.shape[0], 1 + dx : 1 + dx + mask.shape[1]]
        for y, x in np.argwhere(mask & ~neighbour).tolist():
            following.setdefault((y + start[0], x + start[1]), []).append((y + end[0], x + end[1]))
    borders = []
    while following:
        line = [next(iter(following))]
        while line[-1] in following:
            ends = following[line[-1]]
            step = ends.pop()
            if not ends:
                del following[line[-1]]
            line.append(step)
        borders.append(_corners(np.array(line, dtype=np.float64)) + np.array([region.top, region.left]))
    return borders


def _corners(line: np.ndarray) -> np.ndarray:
    """A closed line without the points at which it goes straight on."""
    steps = np.diff(line, axis=0)
    turns = np.any(steps != np.roll(steps, 1, axis=0), axis=1)
    corners = line[:-1][turns]
    closed: np.ndarray = np.concatenate([corners, corners[:1]])
    return closed
