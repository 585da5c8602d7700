"""One of everything that a plugin may contribute besides analyses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.attribution import ImagePath, Objective
from sr_hooks.degradations import Step
from sr_hooks.images import Window, luma, upsample
from sr_hooks.training import Sink

DIRECTIONS = (0, 45, 90, 135)


class EdgeDirections(nn.Module):
    """A downstream network: which way do the edges of an image run? (N,C,H,W) to logits (N,4), one for `DIRECTIONS`.

    Its weights are fixed: derivatives across each direction, squared, averaged over the image, log.
    """

    def __init__(self) -> None:
        super().__init__()
        dx = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
        across = [math.radians(direction + 90) for direction in DIRECTIONS]
        kernels = torch.stack([math.cos(a) * dx - math.sin(a) * dx.T for a in across])
        self.register_buffer("kernels", kernels[:, None])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        response = F.conv2d(luma(image), self.get_buffer("kernels").to(image))
        return 4 * (response.square().mean(dim=(2, 3)) + 1e-6).log()


class DownstreamLoss(Objective):
    """The cross-entropy of a downstream network's answer about the window; it needs at least 3x3 pixels."""

    def __init__(self, degrees: int) -> None:
        self.name, self.label = f"edge-direction:{degrees}", DIRECTIONS.index(degrees)
        self.downstream = EdgeDirections()

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        logits = self.downstream(window.crop(output))
        labels = torch.full((len(output),), self.label, device=output.device)
        return F.cross_entropy(logits, labels, reduction="none").double()


class FromGrey(ImagePath):
    """The straight line from the image's luma, in every channel, to the image."""

    name = "grey"

    def __call__(self, image: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        t = torch.tensor(times, dtype=image.dtype, device=image.device).view(-1, 1, 1, 1)
        start = luma(image).expand_as(image)
        return start * (1 - t) + image * t


def dead_pixels(argument: str | None) -> Step:
    """`dead:SHARE`: that share of the LR pixels is black."""
    share = float(argument or 0.01)
    if not 0 <= share <= 1:
        raise ValueError("the share of dead pixels is between 0 and 1")

    def apply(image: torch.Tensor, rng: np.random.Generator, size: tuple[int, int]) -> torch.Tensor:
        alive = rng.random(image.shape[-2:]) >= share
        return image * torch.from_numpy(alive).to(image)

    return Step("dead", apply, "lr", f"{share:g}", level=share)


class Bicubic(nn.Module):
    """Bicubic enlargement, of any channels."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return upsample(x, (x.shape[-2] * self.scale, x.shape[-1] * self.scale))


def load_bicubic(spec: str, arguments: Any = None, *, weights: Any = None, **facts: Any) -> sr_hooks.Network | None:
    """`bicubic:SCALE`; None for every other spec, which leaves it to other loaders."""
    name, _, scale = spec.partition(":")
    if name != "bicubic":
        return None
    if not (scale or "4").isdigit() or int(scale or 4) < 1:
        raise sr_hooks.SRHooksError(f"{spec}: the scale is a whole number from 1, e.g. bicubic:4")
    stated = {"scale": int(scale or 4), "multiple": 1, "channels": 3, "name": spec, **facts}
    return sr_hooks.Network(Bicubic(int(scale or 4)), **stated)


class JsonLines(Sink):
    """`results.jsonl` in the run's folder, a line a result; nothing where the run writes nothing."""

    def write(self, result: sr_hooks.Result, *, iteration: int, folder: str) -> None:
        if self.context.index is None:
            return
        line = {"iteration": iteration, "folder": folder, **result.headline(), "verdict": result.verdict}
        self.context.index.folder.mkdir(parents=True, exist_ok=True)
        with (self.context.index.folder / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def edge_direction(argument: str | None) -> Objective:
    """The factory behind `edge-direction:DEGREES`; a ValueError becomes a message with the option's name."""
    degrees = int(argument or 0)
    if degrees not in DIRECTIONS:
        raise ValueError(f"the directions are {', '.join(map(str, DIRECTIONS))} degrees")
    return DownstreamLoss(degrees)


def from_grey(argument: str | None, seed: int) -> ImagePath:
    if argument is not None:
        raise ValueError("it takes no argument")
    return FromGrey()


@sr_hooks.hookimpl
def register_objectives() -> Mapping[str, Callable[[str | None], Objective]]:
    return {"edge-direction": edge_direction}


@sr_hooks.hookimpl
def register_paths() -> Mapping[str, Callable[[str | None, int], ImagePath]]:
    return {"grey": from_grey}


@sr_hooks.hookimpl
def register_degradations() -> Mapping[str, Callable[[str | None], Step]]:
    return {"dead": dead_pixels}


@sr_hooks.hookimpl
def register_network_loaders() -> Mapping[str, Callable[..., sr_hooks.Network | None]]:
    return {"bicubic": load_bicubic}


@sr_hooks.hookimpl
def register_sinks() -> Mapping[str, type[Sink]]:
    return {"jsonl": JsonLines}
