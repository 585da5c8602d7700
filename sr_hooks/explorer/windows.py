"""Windows as the mouse and the fields of the page state them: a click, a drag, a text, another size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sr_hooks.errors import WindowError
from sr_hooks.images.windows import Window, parse_window

__all__ = ["LEAST_SIDE", "around", "of_mouse", "of_text", "resized"]

LEAST_SIDE = 2  # pixels: what a drag selects at least; a gradient needs two


def around(y: float, x: float, size: int, height: int, width: int) -> Window:
    """The square around a point, moved into an output of height x width pixels, and made smaller if it must be."""
    size = max(min(int(size), height, width), 1)
    return Window(_inside(y - size / 2, size, height), _inside(x - size / 2, size, width), size, size)


def of_mouse(event: Mapping[str, Any], size: int, height: int, width: int) -> Window:
    """The window of a mouse event of the page.

    Args:
        event: two corners of a drag, as shares of the picture's sides: top, left, bottom, right, each of [0, 1]; a
            click has both corners in one point.
        size: side of the square around a click, in output pixels.
        height, width: of the output.

    Raises:
        WindowError: the event is not understood.
    """
    try:
        top, left, bottom, right = (min(max(float(event[key]), 0.0), 1.0) for key in ("top", "left", "bottom", "right"))
    except (KeyError, TypeError, ValueError):
        raise WindowError(f"the mouse event {dict(event)!r} is not understood") from None
    if (top, left) == (bottom, right):
        return around(top * height, left * width, size, height, width)
    (first, rows), (second, columns) = _span(top, bottom, height), _span(left, right, width)
    return Window(first, second, rows, columns)


def _span(one: float, other: float, full: int) -> tuple[int, int]:
    """The first pixel and the number of pixels between two shares of a side."""
    start, end = math.floor(min(one, other) * full), math.ceil(max(one, other) * full)
    count = min(max(end - start, LEAST_SIDE), full)
    return _inside(start, count, full), count


def of_text(text: str, height: int, width: int) -> Window:
    """The window of a text "top, left, size" or "top, left, height, width", inside the output.

    Raises:
        WindowError: the text is not understood, or the window leaves the output.
    """
    window = parse_window(text)
    window.check(height, width)
    return window


def resized(window: Window, size: int, height: int, width: int) -> Window:
    """The square of another size around the middle of a window."""
    return around(window.top + window.height / 2, window.left + window.width / 2, size, height, width)


def _inside(start: float, count: int, full: int) -> int:
    return int(min(max(math.floor(start + 0.5), 0), full - count))
