"""The figure of a grid with a column for each network, as LAM's authors set it; or, if the page is narrow, with rows.

A block shows one window of one image: the whole image with the window, then for each network the window of its output,
the attribution map, and the diffusion index below.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sr_hooks.analyses.lam.figure import (
    LamView,
    common_zoom,
    draw_attribution,
    draw_density,
    draw_output,
    draw_window,
    enlarged_window,
    published_look,
)
from sr_hooks.errors import OptionError, nearest
from sr_hooks.figures.look import Look
from sr_hooks.figures.sheet import Sheet, fitted
from sr_hooks.figures.shrink import show
from sr_hooks.figures.style import plain
from sr_hooks.grid.report.rows import quality_texts

if TYPE_CHECKING:
    from sr_hooks.analyses.lam.result import LamResult
    from sr_hooks.figures.options import FigureOptions
    from sr_hooks.grid.report.rows import GridRows, MapsOfWindow, Row

__all__ = ["PANELS", "Matrix", "draw_block", "matrix_of"]

PANELS = ("window", "map", "zoom", "density")
_MARGIN, _GAP = 0.04, 0.06  # inches
_NARROWEST, _HIGHEST = 0.78, 8.0  # inches of a picture, and of the pictures of a block


@dataclass(frozen=True)
class Matrix:
    """The layout of blocks: networks across and panels down, or panels across and networks down.

    Attributes:
        names: the panels, in order.
        turned: True for a row for each network.
    """

    look: Look
    names: tuple[str, ...]
    turned: bool = False

    @property
    def width(self) -> float:
        return self.look.width

    @property
    def most(self) -> int:
        """The largest number of networks in a block."""
        return 6 if self.turned else max(int((self.width - 2 * _MARGIN) / (_NARROWEST + _GAP)) - 1, 1)

    @property
    def line(self) -> float:
        """Height of a line of text in inches."""
        return self.look.small * 1.25 / 72

    @property
    def bars(self) -> list[tuple[str, float, float]]:
        """What each colour bar below the blocks is of, its left end and its width in inches."""
        side = min(1.5, 0.42 * self.width)
        return [("map", _MARGIN + 0.05, side), *([("density", _MARGIN + 0.2 + side, side)] * ("density" in self.names))]

    def unit(self, networks: int) -> float:
        """Width of a picture."""
        columns = len(self.names) if self.turned else networks + 1
        unit = (self.width - 2 * _MARGIN - (columns - 1) * _GAP - (self.line * 1.4 if self.turned else 0)) / columns
        if not self.turned and unit <= 1.8:
            return min(unit, 1.68)  # two blocks of squares fit on a page
        return unit if self.turned else min(unit, _HIGHEST / len(self.names))

    def heights(self, block: MapsOfWindow) -> list[float]:
        """Of the lines of pictures, each with its text below: a line for each panel, or for each network."""
        unit = self.unit(len(block.cells))
        window = min(max(block.window[2] / block.window[3], 0.4), 1.5)
        aspects = {"window": window, "map": block.aspect, "zoom": 1.0, "density": block.aspect}
        text = {"window": 3.4, "map": 1.6, "zoom": 1.6, "density": 1.6}
        heights = [unit * aspects[name] + text[name] * self.line for name in self.names]
        if not self.turned:
            return heights
        return [self.reference(block)] + [max(heights)] * len(block.cells)

    def reference(self, block: MapsOfWindow) -> float:
        """Height of the line with the shared images, if there is a row for each network."""
        return (self.width / 3 - _GAP) * block.aspect + 3.0 * self.line

    def height(self, block: MapsOfWindow) -> float:
        """Height of a whole block: the names above, and the lines."""
        return 2.6 * self.line + sum(self.heights(block)) + 0.06


def matrix_of(options: FigureOptions, width: float) -> Matrix | None:
    """The layout that the options ask for; None for the usual one, a row for each network beside the shared images.

    Raises:
        OptionError: a panel that a grid's figure does not have.
    """
    for name in options.panels or ():
        if name not in PANELS:
            raise OptionError(f"figure: no panel {name!r} in a grid; {nearest(name, PANELS)}")
    narrow = width < 6
    if options.columns != "networks" and not narrow and options.panels is None and not options.zoom:
        return None
    look = Look(options, width)
    names = ["window", "map", *(["zoom"] if options.zoom else []), *([] if look.overlay == "red" else ["density"])]
    return Matrix(look, options.panels or tuple(names), options.columns != "networks")


def draw_block(
    sheet: Sheet, grid: GridRows, block: MapsOfWindow, top: float, marks: dict[int, str], matrix: Matrix
) -> None:
    """Draw the images that the networks share, and the pictures of each network."""
    rows = [grid.rows[number] for number in block.cells]
    results = [cast("LamResult | None", grid.result(row.cell.key)) for row in rows]
    position = f", window {block.window[2]}×{block.window[3]} at ({block.window[0]}, {block.window[1]})"
    name, size = fitted(rows[0].image, matrix.width - 2 * _MARGIN, position, most=matrix.look.text)
    sheet.text(_MARGIN, top + 0.02, name, size=size, ha="left")
    first = next((result for result in results if result is not None), None)
    if matrix.look.options.zoom is True or "zoom" in matrix.names:
        options = replace(matrix.look.options, zoom=common_zoom(results, matrix.look.options))
        matrix = replace(matrix, look=replace(matrix.look, options=options))
    page = _Page(sheet, grid, block, matrix, top)
    if first is not None:
        page.shared(rows[0], first)
    for number, (row, result) in enumerate(zip(rows, results, strict=True)):
        page.network(number, row, result, marks.get(row.number, ""))


@dataclass(frozen=True)
class _Page:
    """One block being drawn at its height on the sheet."""

    sheet: Sheet
    grid: GridRows
    block: MapsOfWindow
    matrix: Matrix
    top: float

    def _box(self, column: int, line: int) -> tuple[float, float, float, float]:
        """(left, top, width, height with text) of a picture."""
        heights = self.matrix.heights(self.block)
        unit = self.matrix.unit(len(self.block.cells))
        left = _MARGIN + column * (unit + _GAP) + (self.matrix.line * 1.4 if self.matrix.turned else 0)
        above = 2.6 if not self.matrix.turned else 1.3
        return left, self.top + above * self.matrix.line + sum(heights[:line]), unit, heights[line]

    def _picture(self, box: tuple[float, float, float, float], aspect: float, text: str, lines: float) -> Any:
        """Axes for a picture as large as it fits, with its text below."""
        left, top, width, height = box
        most = height - lines * self.matrix.line
        wide, high = (width, width * aspect) if width * aspect <= most + 1e-9 else (most / aspect, most)
        axes = self.sheet.axes(left + (width - wide) / 2, top, wide, high)
        if text:
            letters = max(int(width * 72 / (self.matrix.look.small * 0.56)), 8)
            wrapped = "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, letters))
            self.sheet.text(left + width / 2, top + high + 0.03, wrapped, size=self.matrix.look.small, linespacing=1.1)
        return axes

    def shared(self, row: Row, result: LamResult) -> None:
        """Draw the whole image with the window, the window of the ground truth, and the bicubic enlargement."""
        truth, kind = self._whole(row, result)
        view = LamView(result, self.matrix.look.options)
        pictures = {"map": self._image, "window": self._window, "zoom": self._enlarged, "density": self._input}
        if not self.matrix.turned:
            for line, name in enumerate(self.matrix.names):
                pictures[name](self._box(0, line), view, truth, kind)
            return
        side = self.matrix.width / 3
        height = self.matrix.heights(self.block)[0]
        top = self.top + 1.3 * self.matrix.line
        for number, draw in enumerate((self._image, self._window, self._enlarged)):
            draw((_MARGIN + number * side, top, side - _GAP, height - 1.0 * self.matrix.line), view, truth, kind)

    def _whole(self, row: Row, result: LamResult) -> tuple[np.ndarray | None, str]:
        """The ground truth, or None, and what the whole image is."""
        truth, (height, width) = self.grid.truth(row.cell), result.output_size
        if truth is None:
            return None, f"SR of {plain(row.network, 20)}"
        return truth[0, :, :height, :width].numpy(), "HR"

    def _image(self, box: Any, view: LamView, truth: np.ndarray | None, kind: str) -> None:
        axes = self._picture(box, view.aspect, self._short(f"{kind} with the window", kind, box), 1.6)
        if truth is None:
            draw_output(axes, view)
        else:
            show(axes, truth, view.crop, interpolation="antialiased")
        axes.set_aspect("auto")
        view.outline(axes, view.size[1])

    def _short(self, text: str, shorter: str, box: Any) -> str:
        """The text, or the shorter one if the text is too long for a line below the picture."""
        return text if len(text) * 0.56 * self.matrix.look.small / 72 <= box[2] else shorter

    def _window(self, box: Any, view: LamView, truth: np.ndarray | None, kind: str) -> None:
        aspect = min(max(self.block.window[2] / self.block.window[3], 0.4), 1.5)
        if truth is None:
            return self._enlarged(box, view, truth, kind)
        names = "PSNR-Y and SSIM-Y" if truth.shape[0] in (1, 3) else "PSNR and SSIM"
        text = "HR, the window" if self.matrix.turned else f"HR, the window\n{names} of the window:"
        axes = self._picture(box, aspect, text, 3.4)
        show(axes, truth, view.window)
        axes.set_aspect("auto")
        return None

    def _enlarged(self, box: Any, view: LamView, truth: np.ndarray | None, kind: str) -> None:
        aspect = min(max(self.block.window[2] / self.block.window[3], 0.4), 1.5)
        axes = self._picture(box, aspect, self._short("bicubic, the window", "bicubic", box), 1.6)
        show(axes, enlarged_window(view))
        axes.set_aspect("auto")

    def _input(self, box: Any, view: LamView, truth: np.ndarray | None, kind: str) -> None:
        axes = self._picture(box, view.aspect, f"LR, {view.lr.shape[-2]}×{view.lr.shape[-1]}", 1.6)
        show(axes, view.lr, view.small(view.crop))
        axes.set_aspect("auto")
        view.outline(axes, view.lr.shape[-1])

    def network(self, number: int, row: Row, result: LamResult | None, mark: str) -> None:
        """Draw the pictures of one network, with its name above them or at their left."""
        turned, matrix = self.matrix.turned, self.matrix
        boxes = {
            name: self._box(place, number + 1) if turned else self._box(number + 1, place)
            for place, name in enumerate(matrix.names)
        }
        left, top, width, height = boxes[matrix.names[0]]
        if turned:
            text, size = fitted(row.network, height - 2.5 * matrix.line, most=matrix.look.text)
            self.sheet.text(left - 0.03, top, text, size=size, ha="right", va="top", rotation=90)
        else:
            text, size = fitted(row.network, width, most=matrix.look.text)
            self.sheet.text(left + width / 2, top - 0.03, text, size=size, va="bottom")
        if result is None:
            letters = max(int(width * 72 / (matrix.look.small * 0.6)), 12)
            message = "\n".join(textwrap.wrap(plain(f"failed: {row.failure}", 160), letters)[:8])
            self.sheet.text(left, top + 0.1, message, size=matrix.look.small, ha="left")
            return
        truth, _ = self._whole(row, result)
        options = matrix.look.options.over(published_look(result))
        view = LamView(result, options, truth)
        look = Look(options, matrix.width)
        for name, box in boxes.items():
            _DRAWN[name](self, box, view, look, row, f" [{mark}]" if mark else "")

    def own_window(self, box: Any, view: LamView, look: Look, row: Row, mark: str) -> None:
        aspect = min(max(self.block.window[2] / self.block.window[3], 0.4), 1.5)
        axes = self._picture(box, aspect, self._quality(row), 3.4)
        draw_window(axes, view)
        axes.set_aspect("auto")

    def _quality(self, row: Row) -> str:
        """PSNR and SSIM of the window; the names stand once in the column of shared images, or here in a row."""
        texts = quality_texts(row)
        if not texts:
            return ""
        if not self.matrix.turned:
            return ", ".join(texts.values())
        return "window:\n" + "\n".join(f"{name} {text}" for name, text in texts.items())

    def own_map(self, box: Any, view: LamView, look: Look, row: Row, mark: str) -> None:
        word = f", checks: {row.card.word}" if row.card is not None else ""
        axes = self._picture(box, view.aspect, f"DI {view.result.diffusion_index:.2f}{mark}{word}", 1.6)
        draw_attribution(axes, look, view, view.crop)
        axes.set_aspect("auto")

    def own_zoom(self, box: Any, view: LamView, look: Look, row: Row, mark: str) -> None:
        region = view.small(view.zoom) or (0.0, 0.0, float(view.values.shape[0]), float(view.values.shape[1]))
        axes = self._picture(box, region[2] / region[3], f"map, {round(region[2])}×{round(region[3])} LR px", 1.6)
        draw_attribution(axes, look, view, view.zoom)
        axes.set_aspect("auto")

    def own_density(self, box: Any, view: LamView, look: Look, row: Row, mark: str) -> None:
        axes = self._picture(box, view.aspect, "density of the map", 1.6)
        draw_density(axes, look, view, view.small(view.crop))
        axes.set_aspect("auto")


_DRAWN: dict[str, Callable[..., None]] = {
    "window": _Page.own_window,
    "map": _Page.own_map,
    "zoom": _Page.own_zoom,
    "density": _Page.own_density,
}
