"""Random chains of degradations (classical, shuffled, second, aeris): what they do is drawn for each image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from sr_hooks.degradations import operations
from sr_hooks.degradations.step import Step

__all__ = ["aeris_step", "chain_step"]

Operation = Callable[[torch.Tensor], torch.Tensor]


def chain_step(kind: str, level: float) -> Step:
    """The step `classical`, `shuffled` or `second`. Level 1 draws the literature's strengths, 2 twice as strong."""
    run = {"classical": _classical, "shuffled": _shuffled, "second": _second}[kind]
    return Step(kind, lambda image, rng, size: run(image, rng, size, level), "down", f"{level:g}", level)


def _draw_blur(rng: np.random.Generator, level: float) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """Isotropic or anisotropic blur at equal odds, std of 0.2 to 3 HR pixels; `share` is image size over HR size."""
    along, across, degrees = rng.uniform(0.2, 3) * level, rng.uniform(0.2, 3) * level, rng.uniform(0, 180)
    if rng.random() < 0.5:
        return lambda image, share: operations.blur(image, along * share)
    return lambda image, share: operations.anisotropic_blur(image, along * share, across * share, degrees)


def _draw_noise(rng: np.random.Generator, level: float) -> Operation:
    """Gaussian or Poisson noise at equal odds, std of 1 to 25 of 255."""
    std, make = (
        rng.uniform(1, 25) * level,
        (operations.gaussian_noise if rng.random() < 0.5 else operations.poisson_noise),
    )
    return lambda image: make(image, std, rng).clamp(0, 1)


def _draw_jpeg(rng: np.random.Generator, level: float) -> Operation:
    """JPEG compression of quality 95 down to 30."""
    quality = max(round(95 - rng.uniform(0, 65) * level), 5)
    return lambda image: operations.jpeg(image, quality)


def _share(image: torch.Tensor, whole: int) -> float:
    return image.shape[-2] / whole


def _classical(image: torch.Tensor, rng: np.random.Generator, size: tuple[int, int], level: float) -> torch.Tensor:
    smooth, grain, pack = _draw_blur(rng, level), _draw_noise(rng, level), _draw_jpeg(rng, level)
    return pack(grain(operations.shrink(smooth(image, 1.0), size)))


def _shuffled(image: torch.Tensor, rng: np.random.Generator, size: tuple[int, int], level: float) -> torch.Tensor:
    smooth, grain, pack = _draw_blur(rng, level), _draw_noise(rng, level), _draw_jpeg(rng, level)
    whole = image.shape[-2]
    steps: list[Operation] = [
        lambda x: smooth(x, _share(x, whole)),  # std in HR pixels, at any position in the order
        lambda x: operations.shrink(x, size),
        grain,
        pack,
    ]
    for index in rng.permutation(len(steps)):
        image = steps[index](image)
    return image


def _second(image: torch.Tensor, rng: np.random.Generator, size: tuple[int, int], level: float) -> torch.Tensor:
    whole = image.shape[-2]
    share = rng.uniform(0.5, 1)
    between = tuple(max(round(s + (full - s) * share), 1) for s, full in zip(size, image.shape[-2:], strict=True))
    for target in ((between[0], between[1]), size):
        smooth, grain, pack = _draw_blur(rng, level), _draw_noise(rng, level), _draw_jpeg(rng, level)
        kernel = ("bicubic", "bilinear", "area")[int(rng.integers(3))]
        image = pack(grain(operations.shrink(smooth(image, _share(image, whole)), target, kernel)))
    return image


def aeris_step(smallest: float, largest: float) -> Step:
    """The step `aeris`: the generator of AERIS (Cui et al., ECCV 2022, arXiv 2208.03062), for a network of any scale.

    Drawn for each image: no blur, isotropic or anisotropic Gaussian blur at equal odds, in a kernel of 7 to 21 pixels;
    a scale, uniform between `smallest` and `largest` (1 and 4 in the paper); nearest, bilinear or bicubic resizing
    without antialiasing; Gaussian noise of a std of 0 to 25 of 255. AERIS gives a detector images of every size. A
    network takes one size: the image is then resized, bicubic, to the size of its input.

    All is computed in float64 and rounded to 8 bits, so that one seed gives one image on every machine.
    """

    def run(image: torch.Tensor, rng: np.random.Generator, size: tuple[int, int]) -> torch.Tensor:
        return _aeris(image.double(), rng, size, smallest, largest).to(image.dtype)

    return Step("aeris", run, "down", f"{smallest:g},{largest:g}")


def _aeris(
    image: torch.Tensor, rng: np.random.Generator, size: tuple[int, int], smallest: float, largest: float
) -> torch.Tensor:
    blurred, mode = ("none", "iso", "aniso")[rng.integers(3)], ("nearest", "bilinear", "bicubic")[rng.integers(3)]
    taps, scale = 7 + 2 * int(rng.integers(8)), rng.uniform(smallest, largest)
    variance, degrees, std = rng.uniform(0.1, 2.4), rng.uniform(0, 180), rng.uniform(0, 25)
    along = rng.uniform(0.5, 6)
    across = rng.uniform(0.5, along)
    if blurred != "none":
        first, second = (variance, variance) if blurred == "iso" else (along, across)
        image = operations.anisotropic_blur(image, math.sqrt(first), math.sqrt(second), degrees, taps=taps)
    reduced = [max(round(n / scale), 1) for n in image.shape[-2:]]
    image = F.interpolate(image, size=reduced, mode=mode)
    image = image + torch.from_numpy(rng.standard_normal(tuple(image.shape))) * (std / 255)
    return operations.shrink(image, size).clamp(0, 1).mul(255).round().div(255)
