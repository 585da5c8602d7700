"""The figure of a grid in the layout of papers: a block an image and window, in it a row a network.

At the left the ground truth with the window, the input, the window enlarged; in each row the attribution map with its
diffusion index, its density over the input, and the window of the network's output.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import torch

from sr_hooks.figures.sheet import SMALL, WIDTH, Sheet, fitted
from sr_hooks.figures.style import INK, MAP_COLOURS, PAPER_COLOURS, image_of, plain, window_box
from sr_hooks.images.image import upsample
from sr_hooks.results.card import PASSES

if TYPE_CHECKING:
    from sr_hooks.analyses.lam.result import LamResult
    from sr_hooks.grid.plan import Plan
    from sr_hooks.grid.report.rows import Gathered, Row
    from sr_hooks.grid.report.warnings import Caution

__all__ = ["Block", "Page", "draw_page", "pages"]

# Inches.
_MARGIN, _NAME, _GAP = 0.04, 0.2, 0.06
_UNIT = (WIDTH - 2 * _MARGIN - _NAME - 4 * _GAP) / 5
_CAPTION, _HEAD, _BARS, _NOTE, _CARD = 0.17, 0.2, 0.42, 0.115, 0.32
_HIGHEST = 9.2  # of a page
_MOST_ROWS = 6  # of a block on one page
_PIXELS = 640  # of the longer side of a picture, at most: papers print no more


@dataclass(frozen=True)
class Block:
    """Networks that are asked about one window of one image: numbers of cells in the plan."""

    image: int
    window: tuple[int, int, int, int]
    cells: tuple[int, ...]
    aspect: float

    def height(self, check: bool) -> float:
        return _HEAD + len(self.cells) * self.row(check)

    def row(self, check: bool) -> float:
        return _UNIT * self.aspect + _CAPTION + (_CARD if check else 0)


@dataclass(frozen=True)
class Page:
    """Blocks that stand on one page."""

    blocks: tuple[Block, ...]


def pages(plan: Plan) -> list[Page]:
    """How the maps of a plan are laid out; none where it asks for none."""
    from sr_hooks.grid.plan import image_of as read
    from sr_hooks.grid.report.rows import is_map

    places: dict[tuple[int, tuple[int, int, int, int]], list[int]] = {}
    for number, cell in enumerate(plan.cells):
        if is_map(cell) and cell.image is not None and cell.window is not None:
            places.setdefault((cell.image, cell.window), []).append(number)
    blocks = []
    for (image, window), cells in sorted(places.items(), key=lambda place: place[0][0]):
        height, width = read(plan.asked.images[image].file).shape[-2:]
        aspect = min(max(height / width, 0.5), 1.5)
        for start in range(0, len(cells), _MOST_ROWS):
            blocks.append(Block(image, window, tuple(cells[start : start + _MOST_ROWS]), aspect))
    found: list[list[Block]] = []
    room = 0.0
    for block in blocks:
        if block.height(plan.asked.check) > room:
            found.append([])
            room = _HIGHEST - _BARS
        found[-1].append(block)
        room -= block.height(plan.asked.check)
    return [Page(tuple(blocks)) for blocks in found]


def draw_page(gathered: Gathered, cautions: Sequence[Caution], page: Page) -> Any:
    """A matplotlib Figure of one page."""
    check = gathered.plan.asked.check
    shown = {number for block in page.blocks for number in block.cells}
    notes, marks = _notes(cautions, shown)
    height = sum(block.height(check) for block in page.blocks) + _BARS + len(notes) * _NOTE + 0.04
    sheet = Sheet(height)
    top = 0.0
    for block in page.blocks:
        _draw_block(sheet, gathered, block, top, marks)
        top += block.height(check)
    published = gathered.rows[page.blocks[0].cells[0]].provenance.get("options", {}).get("compat")
    _bars(sheet, top, PAPER_COLOURS if published else MAP_COLOURS)
    for line, note in enumerate(notes):
        sheet.text(_MARGIN, top + _BARS + line * _NOTE, note, size=SMALL, ha="left")
    return sheet.figure


def _column(number: int) -> float:
    return _MARGIN + number * (_UNIT + _GAP) + (_NAME if number > 1 else 0)


def _draw_block(sheet: Sheet, gathered: Gathered, block: Block, top: float, marks: dict[int, str]) -> None:
    rows = [gathered.rows[number] for number in block.cells]
    found = [cast("LamResult | None", gathered.result(row.cell.key)) for row in rows]
    height, step = _UNIT * block.aspect, block.row(gathered.plan.asked.check)
    _, _, high, wide = block.window
    heads = ["LAM", "density of the map, over LR", "SR, the window"]
    for number, head in enumerate(heads, 2):
        sheet.text(_column(number) + _UNIT / 2, top + 0.055, head)
    where = f", window {high}×{wide} at ({block.window[0]}, {block.window[1]})"
    name, size = fitted(rows[0].image, 2 * _UNIT + _GAP, where)
    sheet.text(_column(0), top + 0.055, name, size=size, ha="left")
    first = next((result for result in found if result is not None), None)
    if first is not None:
        _reference(sheet, gathered, rows[0], first, top + _HEAD, height, step, len(rows))
    for number, (row, result) in enumerate(zip(rows, found, strict=True)):
        here = top + _HEAD + number * step
        text, size = fitted(row.network, height)
        sheet.text(_column(2) - 0.04, here + height / 2, text, size=size, ha="right", va="center", rotation=90)
        if result is None:
            message = "\n".join(textwrap.wrap(plain(f"failed: {row.failure}", 300), 72))
            sheet.text(_column(2), here + height / 2, message, ha="left", va="center", size=SMALL)
        else:
            _draw_row(sheet, row, result, here, height, marks.get(row.number, ""))


def _draw_row(sheet: Sheet, row: Row, result: LamResult, top: float, height: float, mark: str) -> None:
    from matplotlib.colors import PowerNorm

    from sr_hooks.grid.report.rows import shown_of

    boxes = [(_column(number), top, _UNIT, height) for number in (2, 3, 4)]
    colours = PAPER_COLOURS if result.provenance["options"]["compat"] else MAP_COLOURS
    shown = shown_of(result)
    values = shown.map / max(float(shown.map.max()), 1e-30)
    sup = f" [{mark}]" if mark else ""
    small = _small_window(result)
    axes = sheet.picture(
        values, boxes[0], f"DI {result.diffusion_index:.2f}{sup}", cmap=colours, norm=PowerNorm(0.5, 0, 1)
    )
    window_box(axes, small, thin=True)
    share = shown.density / max(float(shown.density.max()), 1e-30)
    grey = np.repeat(image_of(shown.lr).mean(axis=2, keepdims=True), 3, axis=2)
    axes = sheet.picture(grey, boxes[1], "")
    axes.imshow(
        share, cmap=colours, alpha=np.clip(np.sqrt(share), 0, 0.85), vmin=0, vmax=1, interpolation="none", aspect="auto"
    )
    quality = f"PSNR-Y {row.numbers['psnr_y']:.2f} dB" if "psnr_y" in row.numbers else ""
    sheet.picture(_cut(shown.output, result.window), boxes[2], quality)
    if row.card is not None:
        _card(sheet, row.card, top + height + _CAPTION)


def _card(sheet: Sheet, card: Any, top: float) -> None:
    """The verdicts in words, and the overall sentence."""
    told = card.overall
    if card.word != PASSES:  # or else the sentence names them all
        told += " (" + ", ".join(f"{verdict.name} {verdict.word}" for verdict in card.verdicts) + ")"
    lines = textwrap.wrap(plain(told, 330), 105)[:3]
    sheet.text(_column(2), top + 0.02, "\n".join(lines), size=5.4, ha="left", linespacing=1.15)


def _reference(
    sheet: Sheet, gathered: Gathered, row: Row, result: LamResult, top: float, height: float, step: float, rows: int
) -> None:
    """What all rows of a block have in common, in the two columns at the left."""
    from sr_hooks.grid.report.rows import shown_of

    truth = gathered.truth(row.cell)
    shown = shown_of(result)
    output, lr = shown.output, shown.lr
    whole = output if truth is None else truth[0, :, : output.shape[-2], : output.shape[-1]].numpy()
    enlarged = upsample(torch.from_numpy(lr)[None], (output.shape[-2], output.shape[-1]))[0].numpy()
    whole_name = "HR with the window" if truth is not None else f"SR of {plain(row.network, 20)}"
    patch = ("HR, the window", _cut(whole, result.window)) if truth is not None else None
    interpolated = ("bicubic, the window", _cut(enlarged, result.window))
    scale = f"{gathered.plan.networks[row.cell.network]['scale']:g}"
    lr_name = f"LR, {lr.shape[-2]}×{lr.shape[-1]}, for ×{scale}"

    def box(line: int, column: int, span: int = 1) -> tuple[float, float, float, float]:
        return (_column(column), top + line * step, span * _UNIT + (span - 1) * _GAP, (span - 1) * step + height)

    def show(image: np.ndarray, place: tuple[float, float, float, float], name: str, window: Any = None) -> None:
        picture, shrunk = _printed(image)
        axes = sheet.picture(picture, place, name)
        if window is not None:
            window_box(axes, tuple(side * shrunk for side in window))

    large = 2 if rows > 2 else 1
    show(whole, box(0, 0, large), whole_name, result.window)
    if large == 1:
        show(lr, box(0, 1), lr_name, _small_window(result))
    patches = [p for p in (patch, interpolated) if p is not None]
    line = large if large == 2 else 1
    if large == 2 and rows >= 5:
        show(lr, box(2, 0, 2), lr_name, _small_window(result))
        line = 4
    elif large == 2:
        show(lr, box(2, 0), lr_name, _small_window(result))
        sheet.picture(patches[0][1], box(2, 1), patches[0][0])
        patches, line = patches[1:], 3
    if line < rows:
        for column, (name, image) in enumerate(patches):
            sheet.picture(image, box(line, column), name)


def _small_window(result: LamResult) -> tuple[float, float, float, float]:
    zoom = result.arrays["output"].shape[-1] / result.arrays["lr"].shape[-1]
    top, left, height, width = result.window
    return (top / zoom, left / zoom, height / zoom, width / zoom)


def _cut(image: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    top, left, height, width = window
    return image_of(image[:, top : top + height, left : left + width])


def _printed(image: np.ndarray) -> tuple[np.ndarray, float]:
    """(C,H,W) as (H,W,3) with no more pixels than print shows, and by how much it was shrunk."""
    shown = image_of(image)
    shrunk = min(1.0, _PIXELS / max(shown.shape[:2]))
    if shrunk < 1:
        size = (round(shown.shape[1] * shrunk), round(shown.shape[0] * shrunk))
        shown = np.clip(cv2.resize(shown.astype(np.float32), size, interpolation=cv2.INTER_AREA), 0, 1)
    return shown, shrunk


def _bars(sheet: Sheet, top: float, colours: str) -> None:
    """One colour bar under the maps, one under the densities."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize, PowerNorm

    for column, label, norm, ticks in (
        (2, "|attribution| / max", PowerNorm(0.5, 0, 1), [0, 0.1, 0.5, 1]),
        (3, "density / max", Normalize(0, 1), [0, 0.5, 1]),
    ):
        axes = sheet.axes(_column(column) + 0.06, top + 0.05, _UNIT - 0.12, 0.07)
        bar = sheet.figure.colorbar(
            ScalarMappable(norm, colormaps[colours]), cax=axes, orientation="horizontal", ticks=ticks
        )
        bar.set_label(label, fontsize=SMALL, color=INK, labelpad=1)
        bar.outline.set_linewidth(0.4)
        bar.ax.set_xticklabels([f"{tick:g}" for tick in ticks])
        bar.ax.tick_params(labelsize=SMALL, width=0.4, length=2, pad=1.5)


def _notes(cautions: Sequence[Caution], shown: set[int]) -> tuple[list[str], dict[int, str]]:
    """Lines for the foot of the page, and the mark of each row that one of them is about."""
    lines: list[str] = []
    marks: dict[int, str] = {}
    for caution in cautions:
        if not caution.applies(shown):
            continue
        text = caution.sentence
        if caution.single:
            mark = str(len(set(marks.values())) + 1)
            marks.update(dict.fromkeys(caution.rows & shown, mark))
            text = f"[{mark}] {text}"
        lines += textwrap.wrap(plain(text, 600), 150)
    return lines, marks
