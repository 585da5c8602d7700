"""Objectives computed from the window's values: intensity, gradient magnitude, Gabor energy, residual, loss."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F

from sr_hooks.attribution.objectives.objective import Objective
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.images.image import as_batch, upsample
from sr_hooks.images.regions import inside
from sr_hooks.images.windows import Window

__all__ = ["Channel", "Gabor", "GradientMagnitude", "Intensity", "Loss", "Residual"]


class GradientMagnitude(Objective):
    """LAM's objective (arXiv 2011.11036): the sum over window and channels of sqrt(dy^2 + dx^2), forward differences.

    Cropped before the root is taken, so that a flat spot elsewhere has no say, and smoothed: sqrt(d^2 + e^2) - e.
    At the output's last row and column the missing difference counts as zero.
    """

    takes_regions = True

    name = "gradient"
    margin = 1

    def __init__(self, smoothing: float = 1e-3) -> None:
        self.smoothing = smoothing

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        patch = window.crop(output, margin=1)
        below, right = window.height + 1 - patch.shape[-2], window.width + 1 - patch.shape[-1]
        if below or right:
            patch = F.pad(patch, (0, right, 0, below), mode="replicate")
        dy = patch[..., :-1, :-1] - patch[..., 1:, :-1]
        dx = patch[..., :-1, :-1] - patch[..., :-1, 1:]
        magnitude = (dy * dy + dx * dx + self.smoothing**2).sqrt() - self.smoothing
        return inside(window, magnitude).sum(dim=(1, 2, 3), dtype=torch.float64)


class Intensity(Objective):
    """The sum of the window's values."""

    takes_regions = True

    name = "intensity"

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        return inside(window, window.crop(output)).sum(dim=(1, 2, 3), dtype=torch.float64)


class Channel(Objective):
    """The sum of one output channel over the window."""

    takes_regions = True

    def __init__(self, channel: int) -> None:
        self.name = f"channel:{channel}"
        self.channel = channel

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        if self.channel >= output.shape[1]:
            raise OptionError(f"objective {self.name}: the output has channels 0 to {output.shape[1] - 1}")
        return inside(window, window.crop(output)[:, self.channel]).sum(dim=(1, 2), dtype=torch.float64)


class Gabor(Objective):
    """The energy of an even Gabor filter's response: stripes across `angle` degrees, period 4 output pixels, std 2."""

    takes_regions = True

    margin = 4

    def __init__(self, angle: float = 0.0) -> None:
        self.name = f"gabor:{angle:g}"
        y, x = torch.meshgrid(*[torch.arange(-4, 5, dtype=torch.float64)] * 2, indexing="ij")
        along = x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))
        envelope = torch.exp(-(x**2 + y**2) / (2 * 2.0**2))
        wave = torch.cos(2 * math.pi * along / 4) * envelope
        kernel = wave - envelope * (wave.sum() / envelope.sum())  # no answer to a flat region
        self.kernel = (kernel / kernel.abs().sum()).float()

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        m, (height, width) = self.margin, output.shape[-2:]
        top, left = max(window.top - m, 0), max(window.left - m, 0)
        bottom, right = min(window.top + window.height + m, height), min(window.left + window.width + m, width)
        lacking = (
            m - (window.left - left),
            m - (right - window.left - window.width),
            m - (window.top - top),
            m - (bottom - window.top - window.height),
        )
        patch = F.pad(output[..., top:bottom, left:right], lacking, mode="replicate")
        kernel = self.kernel.to(patch).expand(patch.shape[1], 1, 9, 9)
        energy = F.conv2d(patch, kernel, groups=patch.shape[1]).square()
        return inside(window, energy).sum(dim=(1, 2, 3), dtype=torch.float64)


class Residual(Objective):
    """The sum over the window of (output minus bicubic of the input) squared: what the network added."""

    takes_regions = True

    name = "residual"

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        bicubic = upsample(inputs, (output.shape[-2], output.shape[-1]))
        added = (window.crop(output) - window.crop(bicubic)).square()
        return inside(window, added).sum(dim=(1, 2, 3), dtype=torch.float64)


class Loss(Objective):
    """The window's loss against a ground truth: `l2` the sum of squared, `l1` of absolute differences.

    Args:
        target: (1,C,H,W) in [0, 1], as large as the output.
    """

    takes_regions = True

    def __init__(self, target: Any, kind: str = "l2") -> None:
        if kind not in ("l1", "l2"):
            raise OptionError(f"objective loss:{kind}: the kinds are l1 and l2")
        self.name, self.kind = f"loss:{kind}", kind
        self.target = as_batch(target, what="the ground truth")

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        if self.target.shape[1] == 1 and output.shape[1] == 3:
            self.target = self.target.expand(-1, 3, -1, -1)  # grey, as the network's input is then
        if self.target.shape[-3:] != output.shape[-3:]:
            raise ImageError(
                f"the ground truth is {tuple(self.target.shape[-3:])}, the output {tuple(output.shape[-3:])}"
            )
        difference = window.crop(output) - window.crop(self.target.to(output))
        values = difference.abs() if self.kind == "l1" else difference.square()
        return inside(window, values).sum(dim=(1, 2, 3), dtype=torch.float64)
