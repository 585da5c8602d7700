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
    """The objective of LAM (arXiv 2011.11036), `gradient`: the sum of gradient magnitudes over window and channels.

    The magnitude at a pixel is sqrt(dy^2 + dx^2 + e^2) - e, with forward differences dy and dx, and e = `smoothing`.
    The output is cropped before the root is taken, so that flat areas outside the window cannot give
    infinite gradients.
    At the last row and column of the output the missing difference counts as zero.

    Examples:
        >>> import torch
        >>> from sr_hooks.attribution import make_objective
        >>> from sr_hooks.images import Window
        >>> edge = torch.zeros(1, 1, 4, 4)
        >>> edge[..., 2:] = 1  # a vertical edge, 4 pixels long
        >>> round(float(make_objective("gradient")(edge, edge, Window(0, 0, 4, 4))), 1)
        4.0
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
    """The objective `intensity`: the sum of all values in the window.

    Examples:
        >>> import torch
        >>> from sr_hooks.attribution import make_objective
        >>> from sr_hooks.images import Window
        >>> white = torch.ones(1, 3, 8, 8)
        >>> float(make_objective("intensity")(white, white, Window(0, 0, 4, 4)))
        48.0
    """

    takes_regions = True

    name = "intensity"

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        return inside(window, window.crop(output)).sum(dim=(1, 2, 3), dtype=torch.float64)


class Channel(Objective):
    """The objective `channel:K`: the sum of channel K of the output over the window; K counts from 0.

    Raises:
        OptionError: the output has no channel K.

    Examples:
        >>> import torch
        >>> from sr_hooks.attribution import make_objective
        >>> from sr_hooks.images import Window
        >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
        >>> [float(make_objective(f"channel:{k}")(red, red, Window(0, 0, 4, 4))) for k in range(3)]
        [16.0, 0.0, 0.0]
    """

    takes_regions = True

    def __init__(self, channel: int) -> None:
        self.name = f"channel:{channel}"
        self.channel = channel

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        if self.channel >= output.shape[1]:
            raise OptionError(f"objective {self.name}: the output has channels 0 to {output.shape[1] - 1}")
        return inside(window, window.crop(output)[:, self.channel]).sum(dim=(1, 2), dtype=torch.float64)


class Gabor(Objective):
    """The objective `gabor:ANGLE`: the energy of the response of an even Gabor filter, summed over the window.

    The filter responds to stripes with a period of 4 output pixels. The stripes change along the direction `angle`, in
    degrees. The standard deviation of its envelope is 2 output pixels. Flat areas give 0.

    Examples:
        >>> import torch
        >>> from sr_hooks.attribution import make_objective
        >>> from sr_hooks.images import Window
        >>> stripes = (torch.arange(16) % 4 < 2).float().expand(1, 1, 16, 16)  # vertical: they change along 0 degrees
        >>> along, across = [float(make_objective(f"gabor:{a}")(stripes, None, Window(4, 4, 8, 8))) for a in (0, 90)]
        >>> along > 100 * across
        True
    """

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
    """The objective `residual`: the sum over the window of (output - bicubic enlargement of the input)^2.

    Examples:
        >>> import torch
        >>> from sr_hooks.attribution import make_objective
        >>> from sr_hooks.images import Window, upsample
        >>> lr = torch.rand(1, 3, 4, 4)
        >>> float(make_objective("residual")(upsample(lr, (16, 16)), lr, Window(4, 4, 8, 8)))
        0.0
    """

    takes_regions = True

    name = "residual"

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        bicubic = upsample(inputs, (output.shape[-2], output.shape[-1]))
        added = (window.crop(output) - window.crop(bicubic)).square()
        return inside(window, added).sum(dim=(1, 2, 3), dtype=torch.float64)


class Loss(Objective):
    """The objectives `loss:l1` and `loss:l2`: the sum of absolute or squared differences from a truth.

    Args:
        target: the ground truth, (1,C,H,W) in [0, 1], of the size of the output.
        kind: "l1" for absolute, "l2" for squared differences.

    Raises:
        OptionError: another kind.
        ImageError: the ground truth and the output differ in size.

    Examples:
        >>> import torch
        >>> from sr_hooks.attribution import make_objective
        >>> from sr_hooks.images import Window
        >>> output, truth = torch.full((1, 1, 8, 8), 0.5), torch.ones(1, 1, 8, 8)
        >>> [float(make_objective(k, gt=truth)(output, output, Window(0, 0, 4, 4))) for k in ("loss:l1", "loss:l2")]
        [8.0, 4.0]
    """

    takes_regions = True

    def __init__(self, target: Any, kind: str = "l2") -> None:
        if kind not in ("l1", "l2"):
            raise OptionError(f"objective loss:{kind}: the kinds are l1 and l2")
        self.name, self.kind = f"loss:{kind}", kind
        self.target = as_batch(target, what="the ground truth", bands="any")

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
