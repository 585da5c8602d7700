"""Effective receptive field: how far around itself an output pixel looks, on average over images.

Luo et al., Understanding the Effective Receptive Field in Deep Convolutional Neural Networks (arXiv 1701.04128); as
super-resolution papers show it: the gradient of the centre output pixel, its negative part cut off, summed over
channels, averaged over images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import sr_hooks
from sr_hooks.errors import ImageError
from sr_hooks.execution import calibrate
from sr_hooks.images import as_batch

SHARES = (0.2, 0.5, 0.9, 0.99)


@dataclass(frozen=True)
class ErfOptions:
    """Options of ERF."""

    size: int = sr_hooks.option(120, "side of the centre crop taken of each image, in input pixels")

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"size is {self.size}: it must be at least 2 pixels")


class Erf(sr_hooks.Analysis):
    """How far around itself does an output pixel look?"""

    name = "erf"
    options_type = ErfOptions
    together = True

    def run(self, network: sr_hooks.Network, images: Any, options: ErfOptions) -> sr_hooks.Result:
        crops = centre_crops(network, images, options.size)
        total = np.zeros((options.size, options.size))
        plan = calibrate(network, (network.channels, options.size, options.size))
        with network.channels_last(plan.channels_last):
            for batch in torch.cat(crops).split(plan.batch):
                x = plan.lay_out(batch.to(network.device)).requires_grad_()
                gradient = network.differentiate(lambda x=x: centre_gradient(network, x))
                total += gradient.clamp(min=0).sum(dim=(0, 1)).double().cpu().numpy()
        field = total / len(crops)
        sides = {f"side_{share:.0%}".replace("%", ""): side_of(field, share) for share in SHARES}
        scalars = {**sides, "images": len(crops)}
        return sr_hooks.Result("erf", {"field": field.astype(np.float32)}, scalars, {}, verdict(field, sides))

    @classmethod
    def figure(cls, result: sr_hooks.Result) -> Any:
        from sr_hooks.figures.style import MAP_COLOURS, caption, colour_bar, new_figure, panel, plain, window_box

        field = result.arrays["field"]
        size = field.shape[0]
        figure = new_figure(5.2, 5.2)
        axes = figure.subplots()
        shown = axes.imshow((field / max(float(field.max()), 1e-30)) ** 0.25, cmap=MAP_COLOURS, vmin=0, vmax=1)
        for key, side in result.scalars.items():
            if key.startswith("side_"):
                window_box(axes, (size // 2 - side // 2, size // 2 - side // 2, side, side), thin=True)
        found = "/".join(str(result.scalars[f"side_{share:.0%}"[:-1]]) for share in SHARES)
        panel(axes, f"squares of {found} px hold 20/50/90/99 %")
        colour_bar(figure, shown, axes, "(gradient / max)$^{0.25}$", [0, 0.5, 1])
        figure.suptitle(plain(f"{result.provenance['network']['name']}: effective receptive field"), fontsize=10)
        caption(figure, result.verdict, width=80)
        return figure


def centre_crops(network: sr_hooks.Network, images: Any, size: int) -> list[torch.Tensor]:
    """(1,C,size,size) from the middle of each image of a batch or a list of images."""
    several = images if isinstance(images, Sequence) and not isinstance(images, str) else [images]
    crops = []
    for image in several:
        batch = as_batch(image)
        network.check(batch)
        top, left = (batch.shape[-2] - size) // 2, (batch.shape[-1] - size) // 2
        if top < 0 or left < 0:
            raise ImageError(f"an image of {batch.shape[-2]}x{batch.shape[-1]} pixels is smaller than size {size}")
        crops += batch[..., top : top + size, left : left + size].split(1)
    return crops


def centre_gradient(network: sr_hooks.Network, x: torch.Tensor) -> torch.Tensor:
    """d(sum over channels of the centre output pixel) / dx of each image of the batch."""
    with torch.enable_grad():
        output = network(x)
    height, width = output.shape[-2:]
    return torch.autograd.grad(output[..., height // 2, width // 2].sum(), x)[0]


def side_of(field: np.ndarray, share: float) -> int:
    """Side in input pixels of the smallest centred square that holds this share of the field; 0 of an empty one."""
    size, total = field.shape[0], field.sum()
    for side in range(1, size + 1):
        start = size // 2 - side // 2
        if total > 0 and field[start : start + side, start : start + side].sum() >= share * total:
            return side
    return size if total > 0 else 0


def verdict(field: np.ndarray, sides: dict[str, int]) -> str:
    """Whether the field is there, and inside the crop."""
    if not field.sum() > 0:
        return "degenerate: no positive gradient reaches the input."
    if sides["side_99"] >= field.shape[0] - 2:
        return "cut off: 99 % of the field reaches the border of the crop; take a larger size."
    return f"sound: 99 % of the field lies within {sides['side_99']} of {field.shape[0]} pixels."


@sr_hooks.hookimpl
def register_analyses() -> list[type[sr_hooks.Analysis]]:
    return [Erf]
