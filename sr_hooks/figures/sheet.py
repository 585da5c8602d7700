"""`Sheet`, a figure whose images and texts are placed in inches, for figures of many small images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sr_hooks.core.text import one_line
from sr_hooks.figures.style import INK, plain

__all__ = ["SMALL", "TEXT", "WIDTH", "Sheet", "fitted", "save_sheet"]

WIDTH = 7.16  # inches: a page of two columns
_LEAST, SMALL, TEXT = 4.8, 5.8, 7.0  # points
_DPI = 300


class Sheet:
    """A figure whose images and texts are placed in inches from the top left corner."""

    def __init__(self, height: float) -> None:
        from matplotlib.figure import Figure

        self.height = height
        self.figure = Figure(figsize=(WIDTH, height), dpi=_DPI, facecolor="white")

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        box = (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        axes = self.figure.add_axes(box)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_linewidth(0.4)
        return axes

    def text(self, x: float, y: float, text: str, *, size: float = TEXT, ha: str = "center", **more: Any) -> None:
        """Write text with its upper edge at y."""
        self.figure.text(
            x / WIDTH, 1 - y / self.height, text, fontsize=size, ha=ha, va=more.pop("va", "top"), color=INK, **more
        )

    def picture(self, image: np.ndarray, box: tuple[float, float, float, float], under: str, **how: Any) -> Any:
        """Draw (H,W,3) or (H,W) as large as it fits into a box (left, top, width, height), with a text under it."""
        left, top, width, height = box
        rows, columns = image.shape[:2]
        side = min(width / columns, height / rows)
        wide, high = columns * side, rows * side
        axes = self.axes(left + (width - wide) / 2, top + (height - high) / 2, wide, high)
        axes.imshow(image, aspect="auto", **{"interpolation": "none", **how})
        if under:
            self.text(left + width / 2, top + (height + high) / 2 + 0.035, under)
        return axes


def fitted(name: str, room: float, after: str = "") -> tuple[str, float]:
    """Fit a name and a suffix into a width in inches; return text and font size. Long texts are smaller, then cut."""
    wide = 0.62  # mean width of a character, as a share of the font size
    most = int(72 * room / (wide * _LEAST)) - len(after)
    text = plain(one_line(name))
    text = (text if len(text) <= most else text[: most - 3] + "...") + after
    return text, min(TEXT, max(_LEAST, 72 * room / (wide * len(text))))


def save_sheet(figure: Any, path: Path, suffix: str) -> None:
    """Save the figure as PDF (text as text, without a date) or as PNG with 300 dots per inch."""
    import matplotlib

    with matplotlib.rc_context({"pdf.fonttype": 42}):
        metadata = {"CreationDate": None} if suffix == "pdf" else None
        figure.savefig(path, format=suffix, dpi=_DPI, metadata=metadata)
