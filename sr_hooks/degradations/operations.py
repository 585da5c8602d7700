"""The operations that degradations consist of: blur, noise, JPEG, rain and shrinking of one image.

Every function takes one image (1,C,H,W) float32 and returns float32 with the same channels. Random operations take a
NumPy generator and draw everything from it, so the output depends on the generator's seed alone. No operation clips,
except `jpeg` and `shrink`, which clip by definition.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from sr_hooks.images import image as images
from sr_hooks.images.image import reflect_pad

__all__ = ["anisotropic_blur", "blur", "gaussian_noise", "jpeg", "poisson_noise", "rain", "shrink"]

_TAPS = 21  # the kernel of the DDR paper (arXiv 2108.00406), enough for a std of 4


def _taps(std: float) -> int:
    return max(_TAPS, 2 * math.ceil(2.5 * std) + 1)


def blur(image: torch.Tensor, std: float) -> torch.Tensor:
    """Isotropic Gaussian blur, std in pixels, border mirrored; 21x21 taps, more only above a std of 4."""
    return images.blur(image, [std], size=_taps(std))


def anisotropic_blur(
    image: torch.Tensor, along: float, across: float, degrees: float, *, taps: int | None = None
) -> torch.Tensor:
    """Gaussian blur: std `along` in a direction (degrees counterclockwise from the right), `across` at 90° to it.

    The kernel has `taps` x `taps` values, an odd number; None takes enough for the larger std.
    """
    taps = taps or _taps(max(along, across))
    axis = torch.arange(taps, dtype=torch.float64) - taps // 2
    down, right = torch.meshgrid(axis, axis, indexing="ij")
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    first, second = right * cos - down * sin, right * sin + down * cos
    kernel = torch.exp(-0.5 * ((first / along) ** 2 + (second / across) ** 2))
    weight = (kernel / kernel.sum()).to(image.dtype).view(1, 1, taps, taps)
    half = taps // 2
    padded = reflect_pad(image, half, half, half, half).transpose(0, 1)
    return F.conv2d(padded, weight).transpose(0, 1).contiguous()


def gaussian_noise(image: torch.Tensor, std: float, rng: np.random.Generator) -> torch.Tensor:
    """Add independent Gaussian noise, std in units of 1/255."""
    return image + torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32)) * (std / 255)


def poisson_noise(image: torch.Tensor, std: float, rng: np.random.Generator) -> torch.Tensor:
    """Photon noise: Poisson counts whose std at white is `std`/255, and falls as the root of the intensity."""
    photons = (255 / std) ** 2
    counts = rng.poisson(image.clamp(min=0).double().numpy() * photons)
    return torch.from_numpy((counts / photons).astype(np.float32))


def jpeg(image: torch.Tensor, quality: int) -> torch.Tensor:
    """Encode as JPEG and decode, with OpenCV's chroma subsampling; the result is clipped to [0, 1] and has 8 bits."""
    array = image[0].permute(1, 2, 0).clamp(0, 1).mul(255).round().byte().numpy()
    grey = array.shape[2] == 1
    bgr = np.ascontiguousarray(array[:, :, 0] if grey else array[:, :, ::-1])
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    back: Any = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    back = back[:, :, None] if grey else back[:, :, ::-1]
    return torch.from_numpy(np.ascontiguousarray(back.transpose(2, 0, 1)))[None].float() / 255


def rain(image: torch.Tensor, density: float, rng: np.random.Generator) -> torch.Tensor:
    """Add bright streaks: density 1 is two drops in 1000 pixels; all streaks of an image share one slant and length.

    This is a cheap picture of rain for tests of a network, not a physical model.
    """
    height, width = image.shape[-2:]
    slant, length = rng.uniform(-25, 25), int(rng.integers(9, 22))
    half = length // 2
    x, y = half * math.sin(math.radians(slant)), half * math.cos(math.radians(slant))
    streak = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    ends = [(round(half + s * x), round(half + s * y)) for s in (-1, 1)]
    cv2.line(streak, ends[0], ends[1], 1.0, 1)
    # Drops are drawn beyond the border too, so that streaks enter from outside.
    drops = (rng.random((height + 2 * half, width + 2 * half)) < 0.002 * density).astype(np.float32)
    drops *= rng.uniform(0.3, 1, drops.shape).astype(np.float32)
    streaks = cv2.GaussianBlur(cv2.filter2D(drops, -1, streak), (3, 3), 0.6)[half : half + height, half : half + width]
    veil = torch.from_numpy(np.ascontiguousarray(streaks)).clamp(0, 0.9)
    return 1 - (1 - image) * (1 - veil)


def shrink(image: torch.Tensor, size: tuple[int, int], kernel: str = "bicubic") -> torch.Tensor:
    """Resize to size (h,w): bicubic or bilinear with antialiasing, area, or nearest (one pixel a cell); clipped."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    if kernel in ("bicubic", "bilinear"):
        return F.interpolate(image, size=size, mode=kernel, antialias=True).clamp(0, 1)
    return F.interpolate(image, size=size, mode="nearest-exact" if kernel == "nearest" else "area").clamp(0, 1)
