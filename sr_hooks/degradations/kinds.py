"""The built-in kinds of degradation: `blur:2` and the like to a `Step`. A new built-in kind belongs here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sr_hooks.degradations import operations
from sr_hooks.degradations.random_chains import aeris_step, chain_step
from sr_hooks.degradations.step import Step
from sr_hooks.hookspecs import hookimpl

__all__ = ["KINDS"]


def _numbers(argument: str | None, what: str, default: Sequence[float] | None = None) -> list[float]:
    """Parse as many numbers as `what` names. Each must be above 0, except an angle in DEGREES."""
    names = what.split(",")
    if argument is None and default is not None:
        return list(default)
    try:
        values = [float(v) for v in (argument or "").split(",")]
    except ValueError:
        values = []
    if len(values) != len(names) or not all(math.isfinite(v) for v in values):
        raise ValueError(f"it takes {what}" + (", a number" if len(names) == 1 else ", numbers separated by commas"))
    for name, value in zip(names, values, strict=True):
        if value <= 0 and name != "DEGREES":
            raise ValueError(f"{name} must be above 0 (clean is none)")
    return values


def _plain(values: Sequence[float]) -> str:
    return ",".join(f"{v:g}" for v in values)


def _blur(argument: str | None) -> Step:
    (std,) = _numbers(argument, "STD")
    return Step("blur", lambda image, rng, size: operations.blur(image, std), "hr", _plain([std]), std)


def _aniso(argument: str | None) -> Step:
    values = _numbers(argument, "STD,STD,DEGREES")
    return Step("aniso", lambda image, rng, size: operations.anisotropic_blur(image, *values), "hr", _plain(values))


def _noise(argument: str | None) -> Step:
    (std,) = _numbers(argument, "STD")
    return Step("noise", lambda image, rng, size: operations.gaussian_noise(image, std, rng), "lr", _plain([std]), std)


def _poisson(argument: str | None) -> Step:
    (std,) = _numbers(argument, "STD")
    return Step("poisson", lambda image, rng, size: operations.poisson_noise(image, std, rng), "lr", _plain([std]), std)


def _jpeg(argument: str | None) -> Step:
    (quality,) = _numbers(argument, "QUALITY")
    if not quality.is_integer() or quality > 100:
        raise ValueError("QUALITY must be a whole number of 1 to 100")
    whole = int(quality)
    return Step("jpeg", lambda image, rng, size: operations.jpeg(image, whole), "lr", str(whole), 100 - quality)


def _down(argument: str | None) -> Step:
    kernel = argument or "bicubic"
    if kernel not in ("bicubic", "bilinear", "area", "nearest"):
        raise ValueError("the kernels are bicubic, bilinear, area and nearest")
    return Step("down", lambda image, rng, size: operations.shrink(image, size, kernel), "down", kernel)


def _rain(argument: str | None) -> Step:
    (density,) = _numbers(argument, "DENSITY", [1.0])
    return Step("rain", lambda image, rng, size: operations.rain(image, density, rng), "hr", _plain([density]), density)


def _chain(kind: str) -> Callable[[str | None], Step]:
    return lambda argument: chain_step(kind, *_numbers(argument, "LEVEL", [1.0]))


def _aeris(argument: str | None) -> Step:
    smallest, largest = _numbers(argument, "SMALLEST,LARGEST", [1.0, 4.0])
    if not 1 <= smallest <= largest:
        raise ValueError("the scale is drawn between SMALLEST and LARGEST: at least 1, and in this order")
    return aeris_step(smallest, largest)


KINDS: dict[str, Callable[[str | None], Step]] = {
    "blur": _blur,
    "aniso": _aniso,
    "noise": _noise,
    "poisson": _poisson,
    "jpeg": _jpeg,
    "down": _down,
    "rain": _rain,
    **{kind: _chain(kind) for kind in ("classical", "shuffled", "second")},
    "aeris": _aeris,
}


@hookimpl
def register_degradations() -> dict[str, Callable[[str | None], Step]]:
    return KINDS
