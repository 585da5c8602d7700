"""Sums over the pixels of regions, from which every number follows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from sr_hooks.images import best_shift, moved_back, ssim_map

__all__ = ["HIGHEST_PSNR", "Sums", "decibels", "shares_by_chance"]

HIGHEST_PSNR = 120.0  # dB, of equal images
_LEAST_SIDE = 11  # pixels that SSIM needs
_REACH = 5  # pixels that SSIM's window reaches beyond a pixel


class Sums:
    """Running sums over the pixels of each region, of one network.

    Attributes:
        pixels, squares, signed: (R,) number of pixels, squared error and signed error, each the mean over channels.
        shifts: of each image the shift (down, right) in output pixels that the shift-tolerant numbers undo.
    """

    def __init__(self, regions: int) -> None:
        self.pixels, self.squares, self.signed = (np.zeros(regions) for _ in range(3))
        self._ssim, self._ssim_pixels, self._shifted, self._shifted_pixels = (np.zeros(regions) for _ in range(4))
        self.shifts: list[tuple[float, float]] = []

    def add(self, output: torch.Tensor, gt: torch.Tensor, numbers: np.ndarray, shift: float) -> np.ndarray:
        """Add one image, (1,C,H,W) both, with (H,W) region numbers; returns the signed error (H,W) of the channels."""
        error = (output.double() - gt.double())[0]
        signed, squares = error.mean(dim=0).cpu().numpy(), error.square().mean(dim=0).cpu().numpy()
        self.pixels += self._sums(numbers)
        self.squares += self._sums(numbers, squares)
        self.signed += self._sums(numbers, signed)
        if min(numbers.shape) >= _LEAST_SIDE:
            similarity = ssim_map(output, gt)[0].mean(dim=0).cpu().numpy()
            inner = numbers[_REACH:-_REACH, _REACH:-_REACH]
            self._ssim += self._sums(inner, similarity)
            self._ssim_pixels += self._sums(inner)
        self._add_shifted(output, gt, numbers, shift)
        return signed

    def _add_shifted(self, output: torch.Tensor, gt: torch.Tensor, numbers: np.ndarray, largest: float) -> None:
        if min(numbers.shape) < 2 * math.ceil(largest) + _LEAST_SIDE or largest <= 0:
            return
        shift = best_shift(output, gt, largest)
        rows, columns = (
            slice(math.ceil(max(-d, 0)), n - math.ceil(max(d, 0))) for d, n in zip(shift, numbers.shape, strict=True)
        )
        error = (moved_back(output, shift) if any(shift) else output.double()) - gt.double()
        squares = error.square().mean(dim=(0, 1)).cpu().numpy()[rows, columns]
        self._shifted += self._sums(numbers[rows, columns], squares)
        self._shifted_pixels += self._sums(numbers[rows, columns])
        self.shifts.append(shift)

    def _sums(self, numbers: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        weights = None if values is None else values.ravel()
        return np.bincount(numbers.ravel(), weights, minlength=len(self.pixels)).astype(np.float64)

    def rows(self, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """Name of a region to its numbers; a region without a pixel is left out."""
        total = self.squares.sum()
        rows: dict[str, dict[str, Any]] = {}
        for i, name in enumerate(names):
            if not self.pixels[i]:
                continue
            row: dict[str, Any] = {
                "area": float(self.pixels[i] / self.pixels.sum()),
                "squared_error": float(self.squares[i] / self.pixels[i]),
                "share_of_error": float(self.squares[i] / total) if total > 0 else 0.0,
                "bias": float(self.signed[i] / self.pixels[i]),
                "psnr": decibels(self.squares[i] / self.pixels[i]),
            }
            if self._shifted_pixels[i]:
                row["psnr_shift"] = decibels(self._shifted[i] / self._shifted_pixels[i])
            if self._ssim_pixels[i]:
                row["ssim"] = float(self._ssim[i] / self._ssim_pixels[i])
            rows[name] = row
        return rows


def decibels(error: float) -> float:
    """PSNR in dB of a mean squared error, white at 1."""
    return -10 * math.log10(max(float(error), 10 ** (-HIGHEST_PSNR / 10)))


def shares_by_chance(
    squares: list[np.ndarray], numbers: list[np.ndarray], regions: int, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """(draws, R): each region's share of the squared error after its label image is displaced at random, cyclically.

    A displaced label image has the same areas and shapes, and nothing to do with the picture below.
    """
    total = sum(float(values.sum()) for values in squares)
    shares = np.zeros((draws, regions))
    for draw in range(draws):
        for values, labels in zip(squares, numbers, strict=True):
            offset = tuple(int(rng.integers(side)) for side in labels.shape)
            moved = np.roll(labels, offset, axis=(0, 1)).ravel()
            shares[draw] += np.bincount(moved, values.ravel(), minlength=regions)
    return shares / total if total > 0 else shares
