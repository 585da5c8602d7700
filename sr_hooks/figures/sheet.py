"""`Sheet`, a figure whose images and texts are placed in inches, for figures of many small images."""

from __future__ import annotations

from typing import Any

import numpy as np

from sr_hooks.core.text import one_line
from sr_hooks.figures.options import COLUMN_WIDTHS, LEAST_POINTS
from sr_hooks.figures.style import INK, figure_class, plain

__all__ = ["SMALL", "TEXT", "WIDTH", "Sheet", "fitted"]

WIDTH = COLUMN_WIDTHS["double"]
_LEAST, SMALL, TEXT = LEAST_POINTS, 6.0, 7.0  # points
_DPI = 300


class Sheet:
    """A figure whose images and texts are placed in inches from the top left corner."""

    def __init__(self, height: float, width: float = WIDTH) -> None:
        self.height, self.width = height, width
        self.figure = figure_class()(figsize=(width, height), dpi=_DPI)

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_linewidth(0.4)
        return axes

    def text(self, x: float, y: float, text: str, *, size: float = TEXT, ha: str = "center", **more: Any) -> None:
        """Write text with its upper edge at y."""
        self.figure.text(
            x / self.width, 1 - y / self.height, text, fontsize=size, ha=ha, va=more.pop("va", "top"), color=INK, **more
        )

    def picture(self, image: np.ndarray, box: tuple[float, float, float, float], under: str, **how: Any) -> Any:
        """Draw (H,W,3) or (H,W) as large as it fits into a box (left, top, width, height), with a text under it."""
        axes = self.framed(image.shape[0] / image.shape[1], box, under)
        axes.imshow(image, aspect="auto", **{"interpolation": "none", **how})
        return axes

    def framed(self, aspect: float, box: tuple[float, float, float, float], under: str) -> Any:
        """Axes of an aspect (height / width) as large as they fit into a box, with a text under them."""
        left, top, width, height = box
        wide = min(width, height / aspect)
        high = wide * aspect
        if under:
            text, size = fitted(under, width + 0.05)
            self.text(left + width / 2, top + (height + high) / 2 + 0.035, text, size=size)
        return self.axes(left + (width - wide) / 2, top + (height - high) / 2, wide, high)

    def bar(self, label: str, colours: tuple[Any, Any, list[float]], left: float, top: float, width: float) -> None:
        """Draw a horizontal colour bar of a colour map, a norm and ticks."""
        from matplotlib.cm import ScalarMappable

        colormap, norm, ticks = colours
        axes = self.axes(left + 0.06, top + 0.05, width - 0.12, 0.07)
        bar = self.figure.colorbar(ScalarMappable(norm, colormap), cax=axes, orientation="horizontal", ticks=ticks)
        bar.set_label(label, fontsize=SMALL, color=INK, labelpad=1)
        bar.outline.set_linewidth(0.4)
        bar.ax.minorticks_off()
        bar.ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        bar.ax.tick_params(labelsize=SMALL, width=0.4, length=2, pad=1.5)


def fitted(name: str, room: float, after: str = "", *, most: float = TEXT) -> tuple[str, float]:
    """Fit a name and a suffix into a width in inches; return text and font size. Long texts are smaller, then cut."""
    wide = 0.62  # mean width of a character, as a share of the font size
    letters = max(int(72 * room / (wide * _LEAST)) - len(after), 4)
    text = plain(one_line(name))
    text = (text if len(text) <= letters else text[: letters - 3] + "...") + after
    return text, min(most, max(_LEAST, 72 * room / (wide * len(text))))
