"""Parse a degradation from text, and apply a degradation to ground truth to make a network's input.

A degradation is written as `kind`, `kind:argument`, or several joined by `+`: `clean`, `blur:2`, `blur:2+noise:10`.
Each kind works before (`@hr`) or after (`@lr`) the downsampling. Each kind has a usual stage: `noise:20` is noise on
the LR image, `noise:20@hr` is noise on the HR image. In a chain all HR steps come first, then the downsampling, then
all LR steps; within a stage, the order is as written.

| written | what | usual stage |
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
| aeris:SMALLEST,LARGEST | kernel, scale between the two (1 and 4), noise: drawn for each image (arXiv 2208.03062) | |
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sr_hooks.core import registry as plugins
from sr_hooks.core.seeds import generator
from sr_hooks.degradations import operations
from sr_hooks.degradations.step import Degradation, Step
from sr_hooks.errors import ImageError, OptionError, nearest
from sr_hooks.images.clips import by_frames
from sr_hooks.images.image import as_batch

__all__ = ["make_lr", "parse_degradation", "parse_degradations"]


def parse_degradation(degradation: str | Degradation | Step | Callable[..., Any]) -> Degradation:
    """Return the Degradation that a text, a step or a function stands for.

    Args:
        degradation: `kind:argument@stage` joined by `+` (see the module), a Degradation, a Step, or a function
            (image (1,C,H,W) HR in [0, 1], NumPy generator) -> image of the same shape, run before the downsampling.

    Raises:
        OptionError: an unknown kind (the message names the nearest), a bad argument or stage, or two downsamplings.

    Examples:
        >>> from sr_hooks.degradations import parse_degradation
        >>> [parse_degradation(text).level for text in ("clean", "blur:2", "jpeg:30", "blur:2+noise:10")]
        [0.0, 2.0, 70.0, None]
        >>> parse_degradation("noise:20").steps[0].stage, parse_degradation("noise:20@hr").steps[0].stage
        ('lr', 'hr')
    """
    if isinstance(degradation, Degradation):
        return degradation
    if isinstance(degradation, Step):
        return Degradation((degradation,))
    if callable(degradation):
        return Degradation((_from_function(degradation),))
    if not isinstance(degradation, str) or not degradation.strip():
        raise OptionError(f"degradation {degradation!r} is not understood: write blur:2, noise:20 or blur:2+noise:10")
    steps = tuple(
        step for part in degradation.split("+") if (step := _parse_step(part.strip(), degradation)) is not None
    )
    if sum(step.stage == "down" for step in steps) > 1:
        raise OptionError(
            f"degradation {degradation!r} downsamples twice: give one of down, classical, shuffled, second, aeris"
        )
    return Degradation(steps)


def parse_degradations(degradations: Any) -> tuple[Degradation, ...]:
    """Parse one or several degradations, each as `parse_degradation` takes it; text may separate them by blanks.

    Raises:
        OptionError: no degradation, one that is not understood, or the same one twice.

    Examples:
        >>> from sr_hooks.degradations import parse_degradations
        >>> [str(degradation) for degradation in parse_degradations("clean blur:2 noise:20")]
        ['clean', 'blur:2', 'noise:20']
    """
    if isinstance(degradations, str):
        degradations = degradations.split()
    items = degradations if isinstance(degradations, Sequence) else [degradations]
    parsed = tuple(parse_degradation(item) for item in items)
    names = [d.name for d in parsed]
    duplicates = [n for i, n in enumerate(names) if n in names[:i]]
    if duplicates:
        raise OptionError(f"the degradation {duplicates[0]} is given twice: give each once")
    if not parsed:
        raise OptionError("no degradation given: write for instance clean blur:2 noise:20")
    return parsed


def _parse_step(text: str, whole: str) -> Step | None:
    written, _, stage = text.partition("@")
    kind, _, argument = written.partition(":")
    if kind == "clean" and not argument and not stage:
        return None
    known = plugins.contributions("register_degradations")
    if kind not in known:
        raise OptionError(f"no degradation {kind!r} in {whole!r}; {nearest(kind, ['clean', *known])}")
    with plugins.blamed("register_degradations", kind, f"degradation {text}"):
        try:
            step = known[kind](argument or None)
            step = step if isinstance(step, Step) else replace(_from_function(step), kind=kind, argument=argument)
        except (ValueError, TypeError) as error:
            raise OptionError(f"degradation {text!r}: {error}") from None
    if not stage:
        return step
    if stage not in ("hr", "lr") or step.stage == "down":
        reason = "it is the downsampling itself" if step.stage == "down" else "the stages are @hr and @lr"
        raise OptionError(f"degradation {text!r}: {reason}, before and after the downsampling")
    return replace(step, stage=stage, moved=stage != step.stage)  # type: ignore[arg-type]


def _from_function(function: Callable[..., Any]) -> Step:
    name = getattr(function, "__name__", type(function).__name__)
    with suppress(ValueError):  # a function of C has no signature
        signature = inspect.signature(function)
        try:
            signature.bind(None, None)
        except TypeError:
            raise OptionError(
                f"the degradation {name}{signature} must take two arguments, an image (1,C,H,W) and a NumPy generator: "
                "lambda image, rng: ..."
            ) from None

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
    """Degrade ground-truth images and shrink them by the scale (bicubic, antialiased) to a network's inputs.

    The randomness of image i depends only on the seed, on i and on the degradation's name. Images are computed one by
    one, so any split into batches gives the same bits.

    Not for: training data, which needs speed and new random draws in every epoch.

    Args:
        hr: (N,C,H,W) or (C,H,W) float32 in [0, 1], or clips (N,T,C,H,W). Frame t of clip i is the image with index
            i * T + t: each frame has its own noise and its own drawn strengths. Rows and columns beyond a multiple of
            the scale are cropped.
        degradation: see `parse_degradation`.
        scale: HR pixels per LR pixel; 1 keeps the size.
        seed: the seed of all randomness, 0 or more.
        first: the index i of hr's first image, if hr is part of a larger set.
        clip: clip to [0, 1] after each step, as an image file does; without it, noise may leave [0, 1]. JPEG and
            downsampling always clip.
        quantise: round the result to 8 bits, as an image file does.

    Returns:
        (N,C,h,w) float32, on hr's device.

    Raises:
        OptionError: the degradation is not understood, or the seed is negative.
        ImageError: hr is no image in [0, 1], or too small for the scale.

    Examples:
        >>> import torch
        >>> from sr_hooks.degradations import make_lr
        >>> hr = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> make_lr(hr, "blur:2+noise:10", scale=4).shape
        torch.Size([2, 3, 8, 8])
        >>> torch.equal(make_lr(hr, "noise:10", scale=4)[1:], make_lr(hr[1:], "noise:10", scale=4, first=1))
        True
        >>> kinds = "aniso:3,1,45 poisson:5 jpeg:30 down:area rain:1 classical:1 shuffled:1 second:1 aeris:1,4"
        >>> {tuple(make_lr(hr, kind, scale=4).shape) for kind in kinds.split()}
        {(2, 3, 8, 8)}
    """
    chain = parse_degradation(degradation)
    if isinstance(hr, torch.Tensor) and hr.ndim == 5:
        options = {"scale": scale, "seed": seed, "first": first * hr.shape[1], "clip": clip, "quantise": quantise}
        return by_frames(lambda frames: make_lr(frames, chain, **options), hr)  # type: ignore[arg-type]
    bands = hr.shape[-3] if isinstance(hr, torch.Tensor) and hr.ndim > 2 else None  # the network's own number
    batch = as_batch(hr, what="the HR image", bands=bands)
    if seed < 0 or first < 0:
        raise OptionError(f"seed {seed}, first {first}: both must be 0 or more")
    size = (math.floor(batch.shape[-2] / scale), math.floor(batch.shape[-1] / scale))
    if min(size) < 1:
        raise ImageError(f"an image of {batch.shape[-2]}x{batch.shape[-1]} pixels is too small to shrink by {scale:g}")
    whole = batch[..., : round(size[0] * scale), : round(size[1] * scale)].cpu()
    rngs = [generator(seed, first + i, chain.name) for i in range(len(whole))]
    lr = torch.cat(
        [_degrade(image, chain, size, rng, clip) for image, rng in zip(torch.split(whole, 1), rngs, strict=True)]
    )
    if quantise:
        lr = lr.mul(255).round().div(255)
    return lr.to(batch.device)


def _degrade(
    image: torch.Tensor, chain: Degradation, size: tuple[int, int], rng: np.random.Generator, clip: bool
) -> torch.Tensor:
    before, after = ([s for s in chain.steps if s.stage == stage] for stage in ("hr", "lr"))
    down = [s for s in chain.steps if s.stage == "down"] or [_BICUBIC]
    for step in (*before, *down, *after):
        image = step.apply(image, rng, size)
        if clip:
            image = image.clamp(0, 1)
    return image


_BICUBIC = Step("down", lambda image, rng, size: operations.shrink(image, size), "down", "bicubic")
