"""Radial spectra of feature maps: windowed, transformed, summed in rings of equal spatial frequency."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

__all__ = ["HALF_NYQUIST", "RingSums", "fsds", "rings_of", "tapered"]

HALF_NYQUIST = math.pi / 2
"""Radians a pixel: stripes of period 4. `high_share` is the share of energy above."""

_TINY = 1e-30
_ROUNDING = 1e-12  # of the energy: float32 rounds to 6e-8 of the amplitude
_FLAT = 1e-7  # standard deviation of an image that is constant but for rounding


def tapered(maps: torch.Tensor, window: str | None) -> torch.Tensor:
    """(C,h,w) float64, each channel's mean removed, times a separable Hann window or as it is.

    Without a window the jump between opposite edges of a map is read as high frequencies.
    """
    maps = maps.double() - maps.double().mean(dim=(1, 2), keepdim=True)
    if window is None:
        return maps
    rows, columns = (torch.hann_window(n, dtype=torch.float64, device=maps.device) for n in maps.shape[1:])
    return maps * rows[:, None] * columns


def rings_of(height: int, width: int, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Radius in radians a pixel (h,w), and the number of its ring: `bins` of equal width up to pi, -1 beyond."""
    down, right = (2 * np.pi * np.fft.fftfreq(n) for n in (height, width))
    radius = np.hypot(down[:, None], right)
    rings = np.minimum((radius / np.pi * bins).astype(int), bins - 1)
    return radius, np.where(radius <= np.pi * (1 + 1e-12), rings, -1)


@dataclass
class RingSums:
    """Running sums over images and channels for one layer.

    Attributes:
        energy, counts: (bins,) sum of the power |FFT|^2 in a ring, and the number of its values.
        shares: of each image, the share of energy above pi/2, corners beyond pi included.
    """

    bins: int
    energy: np.ndarray = field(init=False)
    counts: np.ndarray = field(init=False)
    shares: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.energy, self.counts = np.zeros(self.bins), np.zeros(self.bins)

    def add(self, maps: torch.Tensor, window: str | None) -> None:
        """Add one image's (C,h,w) maps. Maps that are constant but for rounding have no share."""
        power = torch.fft.fft2(tapered(maps, window)).abs().square().cpu().numpy()
        rounding = _ROUNDING * float(maps.double().square().sum()) * maps[0].numel()  # of an FFT, by Parseval
        radius, rings = rings_of(*power.shape[1:], self.bins)
        used = (rings >= 0) & (radius > 0)
        index = rings[used]
        values = power[:, used]
        self.energy += np.bincount(index, values.sum(axis=0), minlength=self.bins)
        self.counts += np.bincount(index, minlength=self.bins) * len(power)
        total = float(power[:, radius > 0].sum())
        self.shares.append(
            float(power[:, radius > HALF_NYQUIST + 1e-9].sum()) / total if total > rounding else math.nan
        )

    def log_power(self) -> np.ndarray:
        """(bins,) natural log of the mean power in each ring; NaN in a ring without a frequency.

        Scripts that are handed round average log(1 + power). The mean of the power comes first here, so that noise
        behind a filter shows the filter's own curve, whatever the size of the map.
        """
        return np.where(self.counts > 0, np.log(self.energy / np.maximum(self.counts, 1) + _TINY), np.nan)


def fsds(output: torch.Tensor, target: torch.Tensor) -> float:
    """FSDS in dB (arXiv 2405.07919) of (1,C,H,W) images: high where spectra are distributed alike; 120 if equal.

    NaN if one of the images is constant, since it cannot be standardised.

    Both images are standardised over all channels. The real FFT's rows are split into halves of positive and negative
    frequencies; each is summed up cumulatively from frequency 0 along both axes. FSDS is -10 log10 of the summed
    squared difference over the target's summed squares. An odd height is padded by a row of zeros, as published.
    """
    if any(float(image.double().std()) < _FLAT for image in (output, target)):
        return math.nan
    ours, theirs = (_cumulative(image[0].double()) for image in (output, target))
    error = sum(float((a - b).abs().square().sum()) for a, b in zip(ours, theirs, strict=True))
    size = sum(float(b.abs().square().sum()) for b in theirs)
    return -10 * math.log10(max(error / max(size, _TINY), 1e-12))


def _cumulative(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    image = (image - image.mean()) / image.std().clamp(min=_TINY)
    if image.shape[1] % 2:
        image = torch.cat([image, image.new_zeros(image.shape[0], 1, image.shape[2])], dim=1)
    spectrum = torch.fft.rfft2(image)
    half = image.shape[1] // 2
    first, second = spectrum[:, :half], spectrum[:, half:].flip(1)
    return tuple(part.cumsum(dim=1).cumsum(dim=2) for part in (first, second))  # type: ignore[return-value]
