"""Whole chains of degradations whose strengths, and for one their order, are drawn for each image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from sr_hooks.degradations import operations as spoil
from sr_hooks.degradations.step import Step

__all__ = ["chain_step"]

Act = Callable[[torch.Tensor], torch.Tensor]


def chain_step(kind: str, level: float) -> Step:
    """`classical`, `shuffled` or `second`, of a level: 1 draws what the literature draws, 2 twice as strong."""
    run = {"classical": _classical, "shuffled": _shuffled, "second": _second}[kind]
    return Step(kind, lambda image, rng, size: run(image, rng, size, level), "down", f"{level:g}", level)


def _draw_blur(rng: np.random.Generator, level: float) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """Isotropic or not, at even odds; std of 0.2 to 3 HR pixels. Takes the share of the HR size that the image has."""
    along, across, degrees = rng.uniform(0.2, 3) * level, rng.uniform(0.2, 3) * level, rng.uniform(0, 180)
    if rng.random() < 0.5:
        return lambda image, share: spoil.blur(image, along * share)
    return lambda image, share: spoil.anisotropic_blur(image, along * share, across * share, degrees)


def _draw_noise(rng: np.random.Generator, level: float) -> Act:
    """Gaussian or Poisson at even odds, std of 1 to 25 of 255."""
    std, make = rng.uniform(1, 25) * level, (spoil.gaussian_noise if rng.random() < 0.5 else spoil.poisson_noise)
    return lambda image: make(image, std, rng).clamp(0, 1)


def _draw_jpeg(rng: np.random.Generator, level: float) -> Act:
    """Quality of 95 down to 30."""
    quality = max(round(95 - rng.uniform(0, 65) * level), 5)
    return lambda image: spoil.jpeg(image, quality)


def _share(image: torch.Tensor, whole: int) -> float:
    return image.shape[-2] / whole


def _classical(image: torch.Tensor, rng: np.random.Generator, size: tuple[int, int], level: float) -> torch.Tensor:
    smooth, grain, pack = _draw_blur(rng, level), _draw_noise(rng, level), _draw_jpeg(rng, level)
    return pack(grain(spoil.shrink(smooth(image, 1.0), size)))


def _shuffled(image: torch.Tensor, rng: np.random.Generator, size: tuple[int, int], level: float) -> torch.Tensor:
    smooth, grain, pack = _draw_blur(rng, level), _draw_noise(rng, level), _draw_jpeg(rng, level)
    whole = image.shape[-2]
    acts: list[Act] = [
        lambda x: smooth(x, _share(x, whole)),  # std in HR pixels, wherever in the order it comes
        lambda x: spoil.shrink(x, size),
        grain,
        pack,
    ]
    for place in rng.permutation(len(acts)):
        image = acts[place](image)
    return image


def _second(image: torch.Tensor, rng: np.random.Generator, size: tuple[int, int], level: float) -> torch.Tensor:
    whole = image.shape[-2]
    share = rng.uniform(0.5, 1)
    between = tuple(max(round(s + (full - s) * share), 1) for s, full in zip(size, image.shape[-2:], strict=True))
    for target in ((between[0], between[1]), size):
        smooth, grain, pack = _draw_blur(rng, level), _draw_noise(rng, level), _draw_jpeg(rng, level)
        kernel = ("bicubic", "bilinear", "area")[int(rng.integers(3))]
        image = pack(grain(spoil.shrink(smooth(image, _share(image, whole)), target, kernel)))
    return image
