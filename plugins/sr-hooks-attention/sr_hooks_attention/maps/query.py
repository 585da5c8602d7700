"""The query from what a person writes: an input pixel, a window of the output, or auto."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sr_hooks
from sr_hooks.errors import WindowError
from sr_hooks.images import Window, parse_window
from sr_hooks_attention.maps.rows import Query

__all__ = ["query_of"]

_MOST = 4096  # pixels


def query_of(
    network: sr_hooks.Network, value: Any, size: tuple[int, int], lively: Window, frames: int = 0, frame: int = 0
) -> tuple[Query, Window]:
    """The query's input pixels, and the output window that they become.

    Args:
        value: (y, x) of an input pixel, "y,x", a window in output pixels as everywhere, or "auto".
        size: (h, w) of the input.
        lively: the output window in whose middle "auto" takes its pixel.
        frames, frame: of a clip, the number of its frames, and that of the query.

    Raises:
        WindowError: it is none of these, or leaves the image.
    """
    scale = network.scale
    if isinstance(value, str) and value.strip() != "auto":
        value = value.replace(",", " ").split()
    if isinstance(value, str):
        middle = (lively.top + lively.height / 2, lively.left + lively.width / 2)
        value = [min(int(v / scale), side - 1) for v, side in zip(middle, size, strict=True)]
    if isinstance(value, Sequence) and len(value) == 2:
        y, x = _pixel(value, size)
        side = max(round(scale), 1)
        return Query(((y, x),), size, frames, frame), Window(round(y * scale), round(x * scale), side, side)
    window = parse_window(value)
    window.check(*network.output_size(*size))
    rows, columns = (
        range(int(start / scale), min(int((start + length - 1) / scale) + 1, side))
        for start, length, side in zip(window.as_tuple()[:2], window.as_tuple()[2:], size, strict=True)
    )
    pixels = tuple((y, x) for y in rows for x in columns)
    if len(pixels) > _MOST:
        raise WindowError(f"query {window} covers {len(pixels)} input pixels: at most {_MOST} are averaged")
    return Query(pixels, size, frames, frame), window


def _pixel(value: Sequence[Any], size: tuple[int, int]) -> tuple[int, int]:
    try:
        y, x = (int(v) for v in value)
        if any(isinstance(v, float) and v != int(v) for v in value):
            raise ValueError("no whole numbers")
    except (TypeError, ValueError) as error:
        raise WindowError(
            f"query {value!r} is not understood: give (y, x) of an input pixel, or (top, left, size) in output pixels"
        ) from error
    if not (0 <= y < size[0] and 0 <= x < size[1]):
        raise WindowError(
            f"query ({y}, {x}) is no pixel of the input, which is {size[0]} pixels high and {size[1]} wide: choose "
            f"y in 0..{size[0] - 1} and x in 0..{size[1] - 1}"
        )
    return y, x
