"""The figures of FAIG: where filters for each degradation sit, what masking them does, what turning them up does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_hooks.figures.look import Look
from sr_hooks.figures.options import FigureOptions
from sr_hooks.figures.panels import Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, HATCHES, INK, image_of, plain

if TYPE_CHECKING:
    from sr_hooks.analyses.faig.result import FaigResult

__all__ = ["faig_figure", "picture_grid"]

_TOP = 0.01
_LABELS = 48  # layers that can be named below the axis before names run into each other


def faig_figure(result: FaigResult, options: FigureOptions | None = None) -> Any:
    """Layer by layer: how many of each degradation's top 1 % of filters it holds, and its share of all scores.

    The panels are called top and scores.
    """
    width = 11.0
    room = (options.inches if options else None) or width
    aspect = min(2.3 / room, 0.8)
    shown = (options.panels if options else None) or ("top", "scores")
    panels = [
        Panel(
            name,
            partial(_bars, result, top=name == "top", named=name == shown[-1]),
            aspect=aspect,
            least=room,
            extra=1.0 if name == shown[-1] else 0.1,
        )
        for name in ("top", "scores")
    ]
    title = f"{result.provenance['network']['name']}: which layers hold the filters for each degradation?"
    return compose(panels, options, title=title, notes=result.verdict, width=width)


def _bars(result: FaigResult, slot: Slot, *, top: bool, named: bool) -> None:
    """A bar for each layer and degradation: filters of the top 1 %, or the share in all scores.

    The lowest panel names the layers.
    """
    layers, names, axes, look = result.filters.layers, result.degradations, slot.axes, slot.look
    positions, width = np.arange(len(layers)), 0.84 / len(names)
    for row, name in enumerate(names):
        scores = result.arrays["scores"][row].astype(np.float64)
        if top:
            values = np.zeros(len(scores))
            values[result.ranking(name)[: max(1, round(_TOP * len(scores)))]] = 1
        else:
            total = scores.sum()
            values = 100 * scores / total if total > 0 else np.zeros_like(scores)
        sums = np.array([values[result.filters.span(layer)].sum() for layer in layers])
        x = positions + (row - (len(names) - 1) / 2) * width
        style = {"color": COLOURS[row % 8], "hatch": HATCHES[row % 8], "edgecolor": "white", "linewidth": 0.3}
        axes.bar(x, sums, width, label=plain(name), **style)
    axes.set_ylabel(
        "filters of the top 1 %" if top else "share of the layer\nin all scores, %", fontsize=look.text, color=INK
    )
    if top:
        axes.legend(fontsize=look.small, frameon=False, title="degradation", title_fontsize=look.small)
    if named:
        _name_layers(axes, [layer.name for layer in layers], look)
    else:
        axes.set_xticks(positions[:0])
    axes.margins(x=0.01)
    open_axes(axes, look)


def _name_layers(axes: Any, names: Sequence[str], look: Look) -> None:
    every = -(-len(names) // max(int(_LABELS * look.width / 11), 4))
    axes.set_xticks(np.arange(0, len(names), every), [plain(n) for n in names[::every]], rotation=90)
    axes.set_xlabel(
        "layer, from input to output" + (f"; one in {every} named" if every > 1 else ""), fontsize=look.text, color=INK
    )


def picture_grid(slot: Slot, pictures: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str) -> None:
    """(R,C,3,h,w) uint8 as a grid, rows named at the left and columns above."""
    grid, look = slot.captioned_grid(len(rows), len(columns), title), slot.look
    narrow = look.width < 6
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            grid[r][c].imshow(image_of(pictures[r, c] / 255.0), interpolation="nearest")
            slot.title(column if r == 0 else "", grid[r][c])
            grid[r][c].title.set_fontsize(look.small)
        how = {} if narrow else {"rotation": 0, "ha": "right", "va": "center"}
        grid[r][0].set_ylabel(row, fontsize=look.small, color=INK, **how)
