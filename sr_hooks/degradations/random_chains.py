"""Random chains of degradations (classical, shuffled, second): strengths and order are drawn for each image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from sr_hooks.degradations import operations
from sr_hooks.degradations.step import Step

__all__ = ["chain_step"]

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
