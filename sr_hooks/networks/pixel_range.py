"""The pixel values that a network takes: range, mean, standard deviation, order of the channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sr_hooks.errors import NetworkError

__all__ = ["PixelValues", "channels_in_words", "checked_bands"]


def channels_in_words(channels: int, bands: Sequence[int] | None = None) -> str:
    """What the channels of an image are: "grey", "RGB", "a stereo pair" of left and right RGB, or a number of bands.

    Args:
        bands: those that pictures show; where they are stated, 6 channels are bands too.
    """
    if channels in (1, 3):
        return {1: "grey", 3: "RGB"}[channels]
    if bands is not None:
        return f"{channels} bands, shown {', '.join(map(str, bands))}"
    if channels == 6:
        return "a stereo pair, shown left"
    return f"{channels} bands, shown {'0, 1, 2' if channels > 2 else 'their mean'}"


def checked_bands(bands: Any) -> tuple[int, ...] | None:
    """The three bands that pictures show, from 0; None for the first three.

    Raises:
        NetworkError: anything else.
    """
    if bands is None:
        return None
    numbers = tuple(bands) if isinstance(bands, Sequence) and not isinstance(bands, str) else ()
    if len(numbers) != 3 or not all(type(band) is int and band >= 0 for band in numbers):
        raise NetworkError(f"bands is {bands!r}; give three numbers from 0, those shown as red, green and blue")
    return numbers


@dataclass(frozen=True)
class PixelValues:
    """Convert RGB in [0, 1] to the values that a network takes, and its output back.

    The network takes (image in the network's channel order - mean) / std * input_range.

    Attributes:
        input_range: the value of white, where mean is 0 and std 1.
        mean: one value, or one a channel in the network's order, in units of the image ([0, 1]); None for 0.
        std: the same, to divide by; None for 1.
        bgr: whether the network takes and gives blue, green, red.

    Raises:
        NetworkError: a value that is no finite number, or a range or std of 0 or less.
    """

    input_range: float = 1.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bgr: bool = False

    def __post_init__(self) -> None:
        if not self.input_range > 0:
            raise NetworkError(f"input_range is {self.input_range}; it is the value of white, 1 or 255")
        for name in ("mean", "std"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        if self.std is not None and min(self.std) <= 0:
            raise NetworkError(f"std is {list(self.std)}; it is divided by, and must be above 0")

    def inside(self, x: torch.Tensor) -> torch.Tensor:
        """(...,C,h,w) RGB in [0, 1] as the network takes it."""
        x = self._ordered(x)
        x = x - self._as(x, "mean") if self.mean is not None else x
        x = x / self._as(x, "std") if self.std is not None else x
        return x * self.input_range if self.input_range != 1 else x

    def outside(self, y: torch.Tensor) -> torch.Tensor:
        """(...,C,H,W) from the network as RGB, where white is 1."""
        y = y / self.input_range if self.input_range != 1 else y
        y = y * self._as(y, "std") if self.std is not None else y
        y = y + self._as(y, "mean") if self.mean is not None else y
        return self._ordered(y)

    def describe(self) -> dict[str, Any]:
        """What a result records of it."""
        return {"input_range": self.input_range, "mean": _listed(self.mean), "std": _listed(self.std), "bgr": self.bgr}

    def _ordered(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(-3) if self.bgr and x.shape[-3] == 3 else x

    def _as(self, x: torch.Tensor, name: str) -> torch.Tensor:
        values = getattr(self, name)
        if len(values) not in (1, x.shape[-3]):
            raise NetworkError(f"{name} has {len(values)} values, and there are {x.shape[-3]} channels")
        return torch.tensor(values, device=x.device, dtype=x.dtype).view(-1, 1, 1)


def _numbers(name: str, value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        values = tuple(float(v) for v in (value if isinstance(value, Sequence) else [value]))
    except (TypeError, ValueError):
        values = ()
    if not values or not all(map(math.isfinite, values)):
        raise NetworkError(f"{name} is {value!r}; give a number, or one a channel, in units of the image ([0, 1])")
    return values


def _listed(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)
