"""Seeded, graded ways to spoil a ground-truth image into a network's input.

Written as `kind`, `kind:argument`, or several joined by `+`: `clean`, `blur:2`, `blur:2+noise:10`. Each kind works
before (`@hr`) or after (`@lr`) the downsampling, and has a usual place, so that `noise:20` is noise on the LR image
and `noise:20@hr` noise on the HR image. In a chain all that happens before comes first, then the downsampling, then
all that happens after; within each, the order is as written.

| written | what | usual place |
|---|---|---|
| clean | nothing but the bicubic downsampling | |
| blur:STD | isotropic Gaussian, std in pixels | hr |
| aniso:STD,STD,DEGREES | anisotropic Gaussian: std along a direction, std across, direction | hr |
| noise:STD | Gaussian, std of 255 | lr |
| poisson:STD | photon noise, std of 255 at white | lr |
| jpeg:QUALITY | JPEG compression, 1 to 100 | lr |
| down:KERNEL | the downsampling itself: bicubic, bilinear, area, nearest | |
| rain:DENSITY | streaks, 1 is two drops in 1000 pixels | hr |
| classical:LEVEL | blur, downsampling, noise, JPEG; strengths drawn for each image, in ranges that LEVEL stretches | |
| shuffled:LEVEL | those four in an order drawn for each image (after BSRGAN, arXiv 2103.14006) | |
| second:LEVEL | twice over with a resize between (after Real-ESRGAN, arXiv 2107.10833) | |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sr_hooks.core import registry as plugins
from sr_hooks.core.seeds import generator
from sr_hooks.degradations import operations as spoil
from sr_hooks.degradations.step import Degradation, Step
from sr_hooks.errors import ImageError, OptionError, nearest
from sr_hooks.images.clips import by_frames
from sr_hooks.images.image import as_batch

__all__ = ["make_lr", "parse_degradation", "parse_degradations"]


def parse_degradation(given: str | Degradation | Step | Callable[..., Any]) -> Degradation:
    """A Degradation from how it is written.

    Args:
        given: `kind:argument@place` joined by `+` (see the module), a Degradation, a Step, or a function
            (image (1,C,H,W) HR in [0, 1], NumPy generator) -> image of the same shape, run before the downsampling.

    Raises:
        OptionError: an unknown kind (with the nearest), a bad argument or place, or two downsamplings.
    """
    if isinstance(given, Degradation):
        return given
    if isinstance(given, Step):
        return Degradation((given,))
    if callable(given):
        return Degradation((_own(given),))
    if not isinstance(given, str) or not given.strip():
        raise OptionError(f"degradation {given!r} is not understood: write blur:2, noise:20 or blur:2+noise:10")
    steps = tuple(step for part in given.split("+") if (step := _parse_step(part.strip(), given)) is not None)
    if sum(step.place == "down" for step in steps) > 1:
        raise OptionError(f"degradation {given!r} downsamples twice: give one of down, classical, shuffled, second")
    return Degradation(steps)


def parse_degradations(given: Any) -> tuple[Degradation, ...]:
    """Several, or one, each as `parse_degradation` takes it; text may also separate them by blanks.

    Raises:
        OptionError: none, one that is not understood, or the same one twice.
    """
    if isinstance(given, str):
        given = given.split()
    items = given if isinstance(given, Sequence) else [given]
    found = tuple(parse_degradation(item) for item in items)
    names = [d.name for d in found]
    twice = [n for i, n in enumerate(names) if n in names[:i]]
    if twice:
        raise OptionError(f"the degradation {twice[0]} is given twice: give each once")
    if not found:
        raise OptionError("no degradation given: write for instance clean blur:2 noise:20")
    return found


def _parse_step(text: str, whole: str) -> Step | None:
    written, _, place = text.partition("@")
    kind, _, argument = written.partition(":")
    if kind == "clean" and not argument and not place:
        return None
    known = plugins.contributions("register_degradations")
    if kind not in known:
        raise OptionError(f"no degradation {kind!r} in {whole!r}; {nearest(kind, ['clean', *known])}")
    with plugins.blamed("register_degradations", kind, f"degradation {text}"):
        try:
            step = known[kind](argument or None)
            step = step if isinstance(step, Step) else replace(_own(step), kind=kind, argument=argument)
        except (ValueError, TypeError) as error:
            raise OptionError(f"degradation {text!r}: {error}") from None
    if not place:
        return step
    if place not in ("hr", "lr") or step.place == "down":
        said = "it is the downsampling itself" if step.place == "down" else "the places are @hr and @lr"
        raise OptionError(f"degradation {text!r}: {said}, before and after the downsampling")
    return replace(step, place=place, moved=place != step.place)  # type: ignore[arg-type]


def _own(function: Callable[..., Any]) -> Step:
    name = getattr(function, "__name__", type(function).__name__)

    def apply(image: torch.Tensor, rng: np.random.Generator, size: tuple[int, int]) -> torch.Tensor:
        out = function(image, rng)
        if not isinstance(out, torch.Tensor) or out.shape != image.shape:
            got = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            raise OptionError(f"the degradation {name} must return a tensor of shape {tuple(image.shape)}, not {got}")
        return out.float()

    return Step(name, apply, "hr")


def make_lr(
    hr: Any,
    degradation: str | Degradation | Step | Callable[..., Any],
    *,
    scale: float,
    seed: int = 0,
    first: int = 0,
    clip: bool = True,
    quantise: bool = False,
) -> torch.Tensor:
    """Spoil ground-truth images and shrink them by the scale (bicubic, antialiased) to a network's inputs.

    The randomness of image i depends on the seed, i and the degradation's name alone, and images are computed one
    by one: any split into batches gives the same bits.

    Not for: training data, where one wants speed and ever new draws.

    Args:
        hr: (N,C,H,W) or (C,H,W) float32 in [0, 1], or clips (N,T,C,H,W), whose frames are each an image of its own
            number, i * T + t: noise is new in each, and so are strengths that are drawn. Rows and columns beyond a
            multiple of the scale are cropped.
        degradation: see `parse_degradation`.
        scale: HR pixels per LR pixel; 1 shrinks nothing.
        seed: of all randomness, 0 or more.
        first: the index i of hr's first image, where hr is a part of a larger set.
        clip: to [0, 1] after each step, as an image file would; without, noise passes over. JPEG and downsampling
            clip either way.
        quantise: round the result to 8 bits, as an image file would.

    Returns:
        (N,C,h,w) float32, on hr's device.

    Raises:
        OptionError: the degradation is not understood, or the seed negative.
        ImageError: hr is no image in [0, 1], or too small for the scale.
    """
    chain = parse_degradation(degradation)
    if isinstance(hr, torch.Tensor) and hr.ndim == 5:
        given = {"scale": scale, "seed": seed, "first": first * hr.shape[1], "clip": clip, "quantise": quantise}
        return by_frames(lambda frames: make_lr(frames, chain, **given), hr)  # type: ignore[arg-type]
    batch = as_batch(hr, what="the HR image")
    if seed < 0 or first < 0:
        raise OptionError(f"seed {seed}, first {first}: both must be 0 or more")
    size = (math.floor(batch.shape[-2] / scale), math.floor(batch.shape[-1] / scale))
    if min(size) < 1:
        raise ImageError(f"an image of {batch.shape[-2]}x{batch.shape[-1]} pixels is too small to shrink by {scale:g}")
    whole = batch[..., : round(size[0] * scale), : round(size[1] * scale)].cpu()
    rngs = [generator(seed, first + i, chain.name) for i in range(len(whole))]
    lr = torch.cat([_spoil(image, chain, size, rng, clip) for image, rng in zip(whole.split(1), rngs, strict=True)])
    if quantise:
        lr = lr.mul(255).round().div(255)
    return lr.to(batch.device)


def _spoil(
    image: torch.Tensor, chain: Degradation, size: tuple[int, int], rng: np.random.Generator, clip: bool
) -> torch.Tensor:
    before, after = ([s for s in chain.steps if s.place == place] for place in ("hr", "lr"))
    down = [s for s in chain.steps if s.place == "down"] or [_BICUBIC]
    for step in (*before, *down, *after):
        image = step.apply(image, rng, size)
        if clip:
            image = image.clamp(0, 1)
    return image


_BICUBIC = Step("down", lambda image, rng, size: spoil.shrink(image, size), "down", "bicubic")
