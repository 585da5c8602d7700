"""Windows: rectangles of output pixels that an analysis explains, read from numbers or text and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from sr_hooks.errors import WindowError, shortened
from sr_hooks.images.image import blur, upsample

__all__ = [
    "MOST_WINDOWS",
    "Box",
    "Window",
    "parse_window",
    "parse_windows",
    "split_windows",
    "upsample_window",
    "window_with_most_edges",
]

_GREY = (0.299, 0.587, 0.114)
_KERNEL = 4  # input pixels at each side that a bicubic enlargement depends on, and some more
_SIDE = 32  # pixels for every 256 of the shorter side

MOST_WINDOWS = 1000  # windows of one request
_ONE_WORD = re.compile(r"-?\d+(,-?\d+){2,3}")


@dataclass(frozen=True)
class Window:
    """A rectangle of the output: top, left, height, width in output pixels."""

    top: int
    left: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"({self.top}, {self.left}, {self.height}, {self.width})"

    def as_tuple(self) -> tuple[int, int, int, int]:
        return (self.top, self.left, self.height, self.width)

    @property
    def area(self) -> int:
        """Pixels."""
        return self.height * self.width

    @property
    def is_rectangle(self) -> bool:
        """Whether all pixels of the rectangle are meant; only a `sr_hooks.images.Region` may have fewer."""
        return True

    def check(self, height: int, width: int) -> None:
        """Refuse a window that is not wholly inside an output of height x width pixels."""
        if self.height > height or self.width > width:
            raise WindowError(
                f"window of {self.height}x{self.width} pixels is larger than the output, which is {height}x{width}"
            )
        if self.top < 0 or self.left < 0 or self.top + self.height > height or self.left + self.width > width:
            raise WindowError(
                f"window (top={self.top}, left={self.left}, height={self.height}, width={self.width}) leaves the "
                f"output, which is {height} pixels high and {width} wide: choose top in 0..{height - self.height} and "
                f"left in 0..{width - self.width}, in output (not input) pixels"
            )

    def crop(self, output: torch.Tensor, margin: int = 0) -> torch.Tensor:
        """The window of (...,H,W), with up to `margin` more rows below and columns to the right where there are any."""
        return output[..., self.top : self.top + self.height + margin, self.left : self.left + self.width + margin]


def parse_window(value: Any) -> Window:
    """(top, left, size) or (top, left, height, width), or "top,left,size", as a Window."""
    if isinstance(value, Window):
        if not value.is_rectangle:
            raise WindowError(f"window {value}: only rectangles can be used here: top, left, height, width")
        return value
    is_mask = isinstance(value, (str, Mapping)) or getattr(value, "ndim", 0) > 1
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    try:
        numbers = [_whole(v) for v in value] if len(value) <= 4 else []
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) not in (3, 4):
        text = shortened(" ".join(repr(value).split()), 200)
        masks = "; a mask can be given to analyses that take one, as lam does" if is_mask else ""
        raise WindowError(
            f"window {text} is not understood: give (top, left, size) or (top, left, height, width), whole numbers of "
            f"output pixels{masks}"
        )
    top, left, height, width = (*numbers, numbers[2]) if len(numbers) == 3 else numbers
    if height < 1 or width < 1:
        raise WindowError(f"window {tuple(numbers)} is empty: its size must be at least 1 pixel")
    return Window(top, left, height, width)


def parse_windows(value: Any) -> tuple[list[Window], bool]:
    """One window or several; the second value says whether several can be meant: a sequence, or a text with ";".

    One grammar for Python, option files and the command line: (top, left, size), "96,120,16", "96,120,16;0,0,32", and
    sequences of these.
    """
    value = split_windows(value)
    if isinstance(value, Sequence) and not isinstance(value, str) and value and all(map(_is_window, value)):
        if len(value) > MOST_WINDOWS:
            raise WindowError(f"{len(value)} windows are given: at most {MOST_WINDOWS} are explained at once")
        return [parse_window(v) for v in value], True
    return [parse_window(value)], False


def split_windows(value: Any) -> Any:
    """A list of windows where a text, or a text in a sequence, holds several: "96,120,16;0,0,32"; else the value."""
    if isinstance(value, str):
        parts = _parts(value)
        return parts if ";" in value or len(parts) > 1 else value
    if isinstance(value, (list, tuple)) and any(isinstance(item, str) and _is_window(item) for item in value):
        return [part for item in value for part in (_parts(item) if isinstance(item, str) else [item])]
    return value


def _parts(text: str) -> list[str]:
    """The windows of a text: what ";" divides, or spaces between windows that are written with commas alone."""
    parts = [part.strip() for part in text.split(";") if part.strip()]
    return [
        window for part in parts for window in (part.split() if all(map(_ONE_WORD.fullmatch, part.split())) else [part])
    ]


def _is_window(value: Any) -> bool:
    """Whether an element of a sequence is itself a window, not one of its numbers."""
    if isinstance(value, str):
        return not value.strip().lstrip("-").isdigit()
    return isinstance(value, (Window, Sequence))


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError(value)
    number = float(value)
    if not number.is_integer():
        raise ValueError(value)
    return int(number)


def window_with_most_edges(image: torch.Tensor) -> Window:
    """Return the square of (1,C,H,W) with the largest mean gradient of the grey image.

    The side is 32 pixels for every 256 of the shorter side. The corner lies on multiples of a quarter of the side.
    The square stays one side away from the border if the image is large enough, because the border cuts a map off.
    """
    height, width = image.shape[-2:]
    side = min(_SIDE * max(1, round(min(height, width) / 256)), height, width)
    weights = image.new_tensor(_GREY) if image.shape[1] == 3 else image.new_ones(image.shape[1]) / image.shape[1]
    grey = image if image.shape[1] == 1 else (image * weights.view(1, -1, 1, 1)).sum(1, keepdim=True)
    smooth = blur(grey, [1.0])
    dy, dx = smooth[..., 1:, :-1] - smooth[..., :-1, :-1], smooth[..., :-1, 1:] - smooth[..., :-1, :-1]
    edges = F.pad((dx.square() + dy.square()).sqrt(), (0, 1, 0, 1))
    margin = side if min(height, width) >= 3 * side else 0
    inner = edges[..., margin : height - margin, margin : width - margin]
    step = max(side // 4, 1)
    means = F.avg_pool2d(inner, side, stride=step)[0, 0]
    top, left = divmod(int(means.argmax()), means.shape[1])
    return Window(margin + top * step, margin + left * step, side, side)


def upsample_window(lr: torch.Tensor, size: tuple[int, int], window: Window) -> torch.Tensor:
    """(N,C,height,width): `upsample` to size (H,W) inside a window, without an array of that size.

    Where the factor is no whole number, the whole image is enlarged.
    """
    (h, w), factor = lr.shape[-2:], size[0] // lr.shape[-2]
    if factor < 1 or size != (factor * h, factor * w):
        return window.crop(upsample(lr, size))
    first, last = _span_of_input(window.top, window.height, factor, h)
    start, end = _span_of_input(window.left, window.width, factor, w)
    part = upsample(lr[..., first:last, start:end], (factor * (last - first), factor * (end - start)))
    return Window(window.top - factor * first, window.left - factor * start, window.height, window.width).crop(part)


def _span_of_input(start: int, length: int, factor: int, side: int) -> tuple[int, int]:
    """The rows of the input that these rows of its enlargement depend on."""
    return max(start // factor - _KERNEL, 0), min(-(-(start + length) // factor) + _KERNEL, side)


class Box(NamedTuple):
    """Rows top to bottom and columns left to right, ends excluded, of a value's last two dimensions."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, as an index of the last two dimensions."""
        return slice(self.top, self.bottom), slice(self.left, self.right)
