"""The figures of FAIG: where filters for each degradation sit, what masking them does, what turning them up does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_hooks.figures.style import COLOURS, HATCHES, INK, caption, image_of, new_figure, panel, plain

if TYPE_CHECKING:
    from sr_hooks.analyses.faig.result import FaigResult

__all__ = ["faig_figure", "picture_grid"]

_TOP = 0.01
_LABELS = 48  # layers that can be named below the axis before names run into each other


def faig_figure(result: FaigResult) -> Any:
    """Layer by layer: how many of each degradation's top 1 % of filters it holds, and its share of all scores."""
    layers = result.filters.layers
    names = result.degradations
    figure = new_figure(11, 6.6)
    upper, lower = figure.subplots(2, 1, sharex=True)
    positions = np.arange(len(layers))
    width = 0.84 / len(names)
    for row, name in enumerate(names):
        scores = result.arrays["scores"][row].astype(np.float64)
        top = np.zeros(len(scores))
        top[result.ranking(name)[: max(1, round(_TOP * len(scores)))]] = 1
        sums = np.array([[v[result.filters.span(layer)].sum() for layer in layers] for v in (top, scores)])
        shares = np.divide(100 * sums[1], sums[1].sum(), out=np.zeros_like(sums[1]), where=sums[1].sum() > 0)
        x = positions + (row - (len(names) - 1) / 2) * width
        style = {"color": COLOURS[row % 8], "hatch": HATCHES[row % 8], "edgecolor": "white", "linewidth": 0.3}
        upper.bar(x, sums[0], width, label=plain(name), **style)
        lower.bar(x, shares, width, label=plain(name), **style)
    upper.set_ylabel("filters of the top 1 %", fontsize=9, color=INK)
    lower.set_ylabel("share of the layer\nin all scores, %", fontsize=9, color=INK)
    upper.legend(fontsize=8, frameon=False, title="degradation", title_fontsize=8)
    _name_layers(lower, [layer.name for layer in layers])
    for axes in (upper, lower):
        axes.margins(x=0.01)
        axes.tick_params(axis="y", labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    network = result.provenance["network"]["name"]
    title = f"{network}: which layers hold the filters for each degradation?"
    figure.suptitle(
        plain(title) if len(title) > 110 else title.replace("$", r"\$"), fontsize=11, color=INK, x=0.01, ha="left"
    )
    caption(figure, result.verdict, width=165)
    return figure


def _name_layers(axes: Any, names: Sequence[str]) -> None:
    every = -(-len(names) // _LABELS)
    axes.set_xticks(np.arange(0, len(names), every), [plain(n) for n in names[::every]], rotation=90, fontsize=7)
    axes.set_xlabel(
        "layer, from input to output" + (f"; every {every}th named" if every > 1 else ""), fontsize=9, color=INK
    )


def picture_grid(figure: Any, pictures: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str) -> None:
    """(R,C,3,h,w) uint8 as a grid, rows named at the left and columns above."""
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            grid[r][c].imshow(image_of(pictures[r, c] / 255.0), interpolation="nearest")
            panel(grid[r][c], column if r == 0 else "")
        grid[r][0].set_ylabel(row, fontsize=8, color=INK, rotation=0, ha="right", va="center")
    figure.suptitle(title, fontsize=9, color=INK, x=0.01, ha="left")
