"""Metrics of two images: PSNR and SSIM as BasicSR computes them, and pyiqa's metrics by name where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn import functional as F

from sr_hooks.errors import ImageError, OptionError, nearest
from sr_hooks.images.image import gaussian_kernel

__all__ = ["HIGHEST_PSNR", "SMALLEST_SSIM", "Metric", "luma", "make_metric", "psnr", "quantise", "ssim"]

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
    return (brightness * structure).mean(dim=(1, 2, 3))


def luma(image: torch.Tensor) -> torch.Tensor:
    """(N,3,H,W) RGB in [0, 1] to (N,1,H,W), Y of ITU-R BT.601 in [16, 235] / 255; a grey image comes back as it is."""
    if image.shape[1] == 1:
        return image
    weights = image.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    return ((image * weights).sum(dim=1, keepdim=True) + 16) / 255


def quantise(image: torch.Tensor) -> torch.Tensor:
    """Clipped to [0, 1] and rounded to 8 bits, as an image file holds it and BasicSR's validation measures it."""
    return image.clamp(0, 1).mul(255).round().div(255)


@dataclass(frozen=True)
class Metric:
    """A metric by name, made by `make_metric`. Call it with outputs and, where it needs them, targets.

    Attributes:
        name: as the caller wrote it.
        needs_target: whether it compares with a ground truth.
        higher_is_better: which way is good.
    """

    name: str
    needs_target: bool
    higher_is_better: bool
    function: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]

    def __call__(self, output: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
        """(N,C,H,W) in [0, 1], and targets as large, to (N,) float64.

        Raises:
            ImageError: no target where one is needed, or one of another shape.
        """
        if self.needs_target and target is None:
            raise ImageError(f"the metric {self.name} compares with a ground truth: give one")
        return self.function(output, target)


def make_metric(name: str, *, border: int = 0, device: torch.device | str | None = None) -> Metric:
    """A metric by name: psnr, psnr_y, ssim, ssim_y, or any that pyiqa knows.

    pyiqa's learned metrics download their weights at first use; without a network connection only those can be had
    whose weights are on this machine already.

    Args:
        border: rows and columns left out at every edge, of both images.
        device: where pyiqa's metric is put; the CPU by default.

    Raises:
        OptionError: no such name, pyiqa is not installed, or it cannot make this metric (no connection).
    """
    if name in _OWN:
        measure, colour = _OWN[name]

        def function(output: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
            return measure(output, target, border=border, colour=colour)

        return Metric(name, True, True, function)
    return _from_pyiqa(name, border, device)


_OWN: dict[str, tuple[Callable[..., torch.Tensor], Colour]] = {
    "psnr": (psnr, "rgb"),
    "psnr_y": (psnr, "y"),
    "ssim": (ssim, "rgb"),
    "ssim_y": (ssim, "y"),
}


def _from_pyiqa(name: str, border: int, device: torch.device | str | None) -> Metric:
    try:
        import pyiqa
    except ImportError as error:
        raise OptionError(
            f"the metric {name!r} is not one of {', '.join(_OWN)}, and pyiqa, which has more, cannot be imported "
            f"({error}): pip install pyiqa"
        ) from None
    known = pyiqa.list_models()
    if name not in known:
        raise OptionError(f"no metric {name!r}; {nearest(name, [*_OWN, *known])}")
    try:
        made: Any = pyiqa.create_metric(name, device=torch.device(device or "cpu"))
    except Exception as error:
        raise OptionError(
            f"pyiqa cannot make the metric {name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}. Where "
            "its weights must be downloaded, this needs a connection once"
        ) from error
    compares = made.metric_mode == "FR"

    def function(output: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
        if compares:
            assert target is not None
            _check(output, target)
            target = _cropped(target.float(), border, 1).expand(len(output), -1, -1, -1)
        with torch.no_grad():
            scores = [
                made(image, *([target[i : i + 1]] if compares and target is not None else []))
                for i, image in enumerate(_cropped(output.float().clamp(0, 1), border, 1).split(1))
            ]
        return torch.stack([torch.as_tensor(score).reshape(()) for score in scores]).double()

    return Metric(name, compares, not made.lower_better, function)


def _pair(
    output: torch.Tensor, target: torch.Tensor, border: int, colour: Colour, least: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in float64, cropped, in the colour asked for."""
    _check(output, target)
    if colour not in ("rgb", "y"):
        raise OptionError(f"colour is {colour!r}: rgb or y")
    a, b = (_cropped(image.double(), border, least) for image in (output, target))
    return (luma(a), luma(b)) if colour == "y" else (a, b)


def _check(output: torch.Tensor, target: torch.Tensor) -> None:
    one_to_many = 1 in (len(output), len(target)) or len(output) == len(target)
    if output.ndim != 4 or output.shape[1:] != target.shape[1:] or not one_to_many:
        raise ImageError(
            f"images of shapes {tuple(output.shape)} and {tuple(target.shape)} cannot be compared: both must be "
            "(N,C,H,W), of one size"
        )


def _cropped(image: torch.Tensor, border: int, least: int) -> torch.Tensor:
    height, width = image.shape[-2] - 2 * border, image.shape[-1] - 2 * border
    if border < 0 or min(height, width) < least:
        raise ImageError(
            f"border {border} leaves {max(height, 0)}x{max(width, 0)} pixels of {image.shape[-2]}x{image.shape[-1]}, "
            f"where at least {least} a side are needed"
        )
    return image[..., border : border + height, border : border + width]
