"""PSNR and SSIM as BasicSR computes them, the luma that both may be measured on, and rounding to 8 bits."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

from sr_hooks.errors import ImageError, OptionError
from sr_hooks.images.image import gaussian_kernel

__all__ = [
    "HIGHEST_PSNR",
    "SMALLEST_SSIM",
    "Colour",
    "check_pair",
    "cropped",
    "luma",
    "psnr",
    "quantise",
    "ssim",
    "ssim_map",
]

Colour = Literal["rgb", "y"]

HIGHEST_PSNR = 120.0
"""dB given for equal images, so that differences and sums of PSNR stay finite."""

SMALLEST_SSIM = 11
"""The smallest side in pixels for `ssim`: that of its Gaussian window."""

_SSIM_STD = 1.5


def psnr(output: torch.Tensor, target: torch.Tensor, *, border: int = 0, colour: Colour = "rgb") -> torch.Tensor:
    """Peak signal-to-noise ratio in dB, -10 log10(MSE) for white at 1, of each image of a batch.

    Equal to BasicSR's `calculate_psnr` on images of white 255, but for equal images: `HIGHEST_PSNR`, not infinity.

    Args:
        output, target: (N,C,H,W) in [0, 1], equal shapes; N of either may be 1. Nothing is clipped or rounded: see
            `quantise` for what an image file would hold.
        border: rows and columns left out at every edge, usually the scale.
        colour: "rgb" over all channels, or "y" over `luma`. A grey image is its own luma.

    Returns:
        (N,) float64, on the output's device, with the autograd graph of the inputs.

    Raises:
        ImageError: shapes that differ, or a border that leaves nothing.
    """
    a, b = _pair(output, target, border, colour, least=1)
    error = (a - b).square().mean(dim=(1, 2, 3))
    return -10 * error.clamp(min=10 ** (-HIGHEST_PSNR / 10)).log10()


def ssim(output: torch.Tensor, target: torch.Tensor, *, border: int = 0, colour: Colour = "rgb") -> torch.Tensor:
    """Structural similarity (Wang et al. 2004) of each image of a batch, the mean over channels and positions.

    Gaussian window of 11 pixels and std 1.5, only where it lies inside the image, K1 = 0.01, K2 = 0.03: equal to
    BasicSR's `calculate_ssim` on images of white 255.

    Args:
        output, target, border, colour: as for `psnr`.

    Returns:
        (N,) float64, at most 1, for equal images.

    Raises:
        ImageError: shapes that differ, or fewer than 11 pixels a side within the border.
    """
    return ssim_map(output, target, border=border, colour=colour).mean(dim=(1, 2, 3))


def ssim_map(output: torch.Tensor, target: torch.Tensor, *, border: int = 0, colour: Colour = "rgb") -> torch.Tensor:
    """The values whose mean is `ssim`: (N,C,H-10,W-10) float64, each of the window of 11 pixels around a pixel.

    Args:
        output, target, border, colour: as for `psnr`; H and W are the sides within the border.

    Raises:
        ImageError: as for `ssim`.
    """
    a, b = _pair(output, target, border, colour, least=SMALLEST_SSIM)
    kernel = gaussian_kernel(_SSIM_STD, SMALLEST_SSIM).to(a)
    channels = a.shape[1]
    rows = kernel.view(1, 1, -1, 1).expand(channels, -1, -1, -1)
    columns = kernel.view(1, 1, 1, -1).expand(channels, -1, -1, -1)

    def mean(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.conv2d(x, rows, groups=channels), columns, groups=channels)

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a.square(), mean(b * b) - mean_b.square()
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    brightness = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return brightness * structure


def luma(image: torch.Tensor) -> torch.Tensor:
    """(N,3,H,W) RGB in [0, 1] to (N,1,H,W), Y of ITU-R BT.601 in [16, 235] / 255; a grey image comes back as it is."""
    if image.shape[1] == 1:
        return image
    weights = image.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    return ((image * weights).sum(dim=1, keepdim=True) + 16) / 255


def quantise(image: torch.Tensor) -> torch.Tensor:
    """Clipped to [0, 1] and rounded to 8 bits, as an image file holds it and BasicSR's validation measures it."""
    return image.clamp(0, 1).mul(255).round().div(255)


def _pair(
    output: torch.Tensor, target: torch.Tensor, border: int, colour: Colour, least: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in float64, cropped, in the colour asked for."""
    check_pair(output, target)
    if colour not in ("rgb", "y"):
        raise OptionError(f"colour is {colour!r}: rgb or y")
    a, b = (cropped(image.double(), border, least) for image in (output, target))
    return (luma(a), luma(b)) if colour == "y" else (a, b)


def check_pair(output: torch.Tensor, target: torch.Tensor) -> None:
    one_to_many = 1 in (len(output), len(target)) or len(output) == len(target)
    if output.ndim != 4 or output.shape[1:] != target.shape[1:] or not one_to_many:
        raise ImageError(
            f"images of shapes {tuple(output.shape)} and {tuple(target.shape)} cannot be compared: both must be "
            "(N,C,H,W), of one size"
        )


def cropped(image: torch.Tensor, border: int, least: int) -> torch.Tensor:
    height, width = image.shape[-2] - 2 * border, image.shape[-1] - 2 * border
    if border < 0 or min(height, width) < least:
        raise ImageError(
            f"border {border} leaves {max(height, 0)}x{max(width, 0)} pixels of {image.shape[-2]}x{image.shape[-1]}, "
            f"where at least {least} a side are needed"
        )
    return image[..., border : border + height, border : border + width]
