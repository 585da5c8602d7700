"""The figure of a grid in the layout of papers: a block for each image and window, with a row for each network.

The left columns show the ground truth with the window, the input, and the enlarged window. Each row shows the
attribution map with its diffusion index, the map's density over the input, and the window of the network's output.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sr_hooks.analyses.lam.figure import LamView, draw_attribution, draw_density, enlarged_window, published_look
from sr_hooks.figures.look import Look
from sr_hooks.figures.options import FigureOptions, read_figure_options
from sr_hooks.figures.sheet import SMALL, WIDTH, Sheet, fitted
from sr_hooks.figures.shrink import shrunk
from sr_hooks.figures.style import image_of, plain, region_outline
from sr_hooks.grid.report.matrix import Matrix, draw_block, matrix_of
from sr_hooks.grid.report.rows import MapsOfWindow, is_map, quality_texts
from sr_hooks.results.card import PASSES

if TYPE_CHECKING:
    from sr_hooks.analyses.lam.result import LamResult
    from sr_hooks.grid.plan import GridPlan
    from sr_hooks.grid.report.rows import GridRows, Row
    from sr_hooks.grid.report.warnings import ComparisonWarning

__all__ = ["Block", "Page", "draw_page", "pages"]

# Inches.
_MARGIN, _NAME, _GAP = 0.04, 0.2, 0.06
_UNIT = (WIDTH - 2 * _MARGIN - _NAME - 4 * _GAP) / 5
_CAPTION, _HEAD, _BARS, _NOTE, _CARD = 0.17, 0.2, 0.42, 0.12, 0.33
_HIGHEST = 9.2  # the largest height of a page
_MOST_ROWS = 6  # the largest number of rows of a block on one page
_PIXELS = 640  # the largest longer side of a picture: papers print no more


@dataclass(frozen=True)
class Block(MapsOfWindow):
    """The maps of one window of one image, with the heights of the usual layout in inches."""

    def height(self, check: bool) -> float:
        return _HEAD + len(self.cells) * self.row(check)

    def row(self, check: bool) -> float:
        return _UNIT * self.aspect + _CAPTION + (_CARD if check else 0)


@dataclass(frozen=True)
class Page:
    """The blocks of one page."""

    blocks: tuple[Block, ...]


def pages(plan: GridPlan) -> list[Page]:
    """Arrange the maps of a plan on pages; no page if the plan has no maps."""
    from sr_hooks.grid.loading import read_cached_image

    positions: dict[tuple[int, tuple[int, int, int, int]], list[int]] = {}
    for number, cell in enumerate(plan.cells):
        if is_map(cell) and cell.image is not None and cell.window is not None:
            positions.setdefault((cell.image, cell.window), []).append(number)
    blocks: list[Block] = []
    matrix = _matrix(plan)
    most = matrix.most if matrix else _MOST_ROWS
    for (image, window), cells in sorted(positions.items(), key=lambda position: position[0][0]):
        rows, columns = read_cached_image(plan.request.images[image]).shape[-2:]
        aspect = min(max(rows / columns, 0.5), 1.5)
        if crop := plan.request.figure.get("crop"):
            aspect = min(max(crop[2] / crop[3], 0.5), 1.5)
        for start in range(0, len(cells), most):
            blocks.append(Block(image, window, tuple(cells[start : start + most]), aspect))
    pages: list[list[Block]] = []
    room: float = 0.0
    for block in blocks:
        height = matrix.height(block) if matrix else block.height(plan.request.check)
        if height > room:
            pages.append([])
            room = _HIGHEST - _BARS
        pages[-1].append(block)
        room -= height
    return [Page(tuple(blocks)) for blocks in pages]


def draw_page(grid: GridRows, warnings: Sequence[ComparisonWarning], page: Page) -> Any:
    """Draw one page as a matplotlib Figure."""
    check, options, matrix = grid.plan.request.check, _options(grid.plan), _matrix(grid.plan)
    shown = {number for block in page.blocks for number in block.cells}
    width = _width(options)
    letters = int(21 * width)  # of a line of notes
    notes, marks = _notes(warnings, shown, letters)
    if matrix is not None:
        notes += _cards(grid, shown, letters)
    title = [] if not options.title else textwrap.wrap(plain(options.title, 300), int(15 * width))
    head = 0.17 * len(title) + (0.05 if title else 0.0)
    heights = [matrix.height(block) if matrix else block.height(check) for block in page.blocks]
    below: int = 0 if options.notes is False else len(notes)
    sheet = Sheet(head + sum(heights) + _BARS + below * _NOTE + 0.04, width)
    for line, text in enumerate(title):
        sheet.text(_MARGIN, 0.03 + 0.17 * line, text, size=9, ha="left")
    top = float(head)
    published = FigureOptions()
    first = grid.result(grid.plan.cells[page.blocks[0].cells[0]].key)
    if first is not None:
        published = published_look(cast("LamResult", first))
    look = Look(options.over(published), width)
    for block, height in zip(page.blocks, heights, strict=True):
        if matrix:
            draw_block(sheet, grid, block, top, {} if options.notes is False else marks, matrix)
        else:
            _draw_block(sheet, grid, block, top, {} if options.notes is False else marks)
        top += height
    bars = matrix.bars if matrix else [("map", _column(2), _UNIT), ("density", _column(3), _UNIT)]
    _draw_bars(sheet, look, top, bars)
    for line, note in enumerate(notes[:below]):
        sheet.text(_MARGIN, top + _BARS + line * _NOTE, note, size=SMALL, ha="left")
    sheet.figure.sr_hooks_notes = "\n".join(notes) if options.notes is False else ""
    return sheet.figure


def _draw_bars(sheet: Sheet, look: Look, top: float, bars: Sequence[tuple[str, float, float]]) -> None:
    """Draw a colour bar for the maps, and one for the densities."""
    from matplotlib.colors import Normalize

    for name, left, width in bars:
        if name == "map":
            sheet.bar("|attribution| / max", (look.colormap, look.norm(), look.ticks), left, top, width)
        else:
            sheet.bar("density / max", (look.colormap, Normalize(0, 1), [0, 0.5, 1]), left, top, width)


def _options(plan: GridPlan) -> FigureOptions:
    return read_figure_options(plan.request.figure, where="figure")


def _width(options: FigureOptions) -> float:
    return options.inches or WIDTH


def _matrix(plan: GridPlan) -> Matrix | None:
    options = _options(plan)
    return matrix_of(options, _width(options))


def _cards(grid: GridRows, shown: set[int], letters: int) -> list[str]:
    """The sentence of each map's checks, for the notes."""
    return [
        line
        for number in sorted(shown)
        if (card := grid.rows[number].card) is not None
        for line in textwrap.wrap(plain(f"{grid.rows[number].network}: {card.overall}", 400), letters)
    ]


def _column(number: int) -> float:
    return _MARGIN + number * (_UNIT + _GAP) + (_NAME if number > 1 else 0)


def _draw_block(sheet: Sheet, grid: GridRows, block: Block, top: float, marks: dict[int, str]) -> None:
    rows = [grid.rows[number] for number in block.cells]
    results = [cast("LamResult | None", grid.result(row.cell.key)) for row in rows]
    height, step = _UNIT * block.aspect, block.row(grid.plan.request.check)
    _, _, high, wide = block.window
    names = "PSNR, SSIM" if any("PSNR" in quality_texts(row) for row in rows) else "PSNR-Y, SSIM-Y"
    heads = ["LAM", "density of the map, over LR", f"SR, {names}" if grid.plan.request.hr else "SR, the window"]
    for number, head in enumerate(heads, 2):
        sheet.text(_column(number) + _UNIT / 2, top + 0.055, head)
    position = f", window {high}×{wide} at ({block.window[0]}, {block.window[1]})"
    name, size = fitted(rows[0].image, 2 * _UNIT + _GAP, position)
    sheet.text(_column(0), top + 0.055, name, size=size, ha="left")
    first = next((result for result in results if result is not None), None)
    if first is not None:
        _reference(sheet, grid, rows[0], first, top + _HEAD, height, step, len(rows))
    for number, (row, result) in enumerate(zip(rows, results, strict=True)):
        row_top = top + _HEAD + number * step
        text, size = fitted(row.network, height)
        sheet.text(_column(2) - 0.04, row_top + height / 2, text, size=size, ha="right", va="center", rotation=90)
        if result is None:
            message = "\n".join(textwrap.wrap(plain(f"failed: {row.failure}", 300), 72))
            sheet.text(_column(2), row_top + height / 2, message, ha="left", va="center", size=SMALL)
        else:
            _draw_row(sheet, grid, row, result, row_top, height, marks.get(row.number, ""))


def _draw_row(sheet: Sheet, grid: GridRows, row: Row, result: LamResult, top: float, height: float, mark: str) -> None:
    boxes = [(_column(number), top, _UNIT, height) for number in (2, 3, 4)]
    options = _options(grid.plan).over(published_look(result))
    view, look = LamView(result, options), Look(options, sheet.width)
    sup = f" [{mark}]" if mark else ""
    axes = sheet.framed(view.aspect, boxes[0], f"DI {result.diffusion_index:.2f}{sup}")
    draw_attribution(axes, look, view, view.crop)
    axes.set_aspect("auto")
    axes = sheet.framed(view.aspect, boxes[1], "")
    draw_density(axes, look, view, view.small(view.crop))
    axes.set_aspect("auto")
    sheet.picture(image_of(result.window_output), boxes[2], _quality(row))
    if row.card is not None:
        _card(sheet, row.card, top + height + _CAPTION)


def _quality(row: Row) -> str:
    """PSNR and SSIM of the window, as far as they are known; the head of the column names them."""
    parts = quality_texts(row).values()
    return "window: " + ", ".join(parts) if parts else ""


def _card(sheet: Sheet, card: Any, top: float) -> None:
    """Write the card's overall sentence, and its verdicts unless all checks pass."""
    sentence = card.overall
    if card.word != PASSES:  # the overall sentence of a passed card names all checks
        sentence += " (" + ", ".join(f"{verdict.name} {verdict.word}" for verdict in card.verdicts) + ")"
    lines = textwrap.wrap(plain(sentence, 330), 96)[:3]
    sheet.text(_column(2), top + 0.02, "\n".join(lines), size=SMALL, ha="left", linespacing=1.15)


def _reference(
    sheet: Sheet, grid: GridRows, row: Row, result: LamResult, top: float, height: float, step: float, rows: int
) -> None:
    """Draw the images that all rows of a block share, in the two columns at the left."""
    truth = grid.truth(row.cell)
    view = LamView(result, FigureOptions())
    lr, (high, wide) = view.lr, result.output_size
    whole = result.picture if truth is None else truth[0, :, :high, :wide].numpy()
    whole_name = "HR with the window" if truth is not None else f"SR of {plain(row.network, 20)}"
    patch = ("HR, the window", _cut(whole, result.window)) if truth is not None else None
    interpolated = ("bicubic, the window", image_of(enlarged_window(view)))
    scale = f"{grid.plan.networks[row.cell.network]['scale']:g}"
    lr_name = f"LR, {lr.shape[-2]}×{lr.shape[-1]}, for ×{scale}"

    def box(line: int, column: int, span: int = 1) -> tuple[float, float, float, float]:
        return (_column(column), top + line * step, span * _UNIT + (span - 1) * _GAP, (span - 1) * step + height)

    def show(image: np.ndarray, place_box: tuple[float, float, float, float], name: str, factor: float = 0) -> None:
        picture, extent = shrunk(image, most=_PIXELS)
        axes = sheet.picture(picture, place_box, name, extent=extent)
        if factor:
            region_outline(axes, result.region, factor=factor)

    large = 2 if rows > 2 else 1
    show(whole, box(0, 0, large), whole_name, 1.0)
    if large == 1:
        show(lr, box(0, 1), lr_name, view.factor)
    patches = [p for p in (patch, interpolated) if p is not None]
    line = large if large == 2 else 1
    if large == 2 and rows >= 5:
        show(lr, box(2, 0, 2), lr_name, view.factor)
        line = 4
    elif large == 2:
        show(lr, box(2, 0), lr_name, view.factor)
        sheet.picture(patches[0][1], box(2, 1), patches[0][0])
        patches, line = patches[1:], 3
    if line < rows:
        for column, (name, image) in enumerate(patches):
            sheet.picture(image, box(line, column), name)


def _cut(image: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    top, left, height, width = window
    return image_of(image[:, top : top + height, left : left + width])


def _notes(warnings: Sequence[ComparisonWarning], shown: set[int], letters: int) -> tuple[list[str], dict[int, str]]:
    """The lines at the foot of the page, and the mark of each row that a line concerns."""
    lines: list[str] = []
    marks: dict[int, str] = {}
    for warning in warnings:
        if not warning.applies(shown):
            continue
        text = warning.sentence
        if warning.single:
            mark = str(len(set(marks.values())) + 1)
            marks.update(dict.fromkeys(warning.rows & shown, mark))
            text = f"[{mark}] {text}"
        lines += textwrap.wrap(plain(text, 600), letters)
    return lines, marks
