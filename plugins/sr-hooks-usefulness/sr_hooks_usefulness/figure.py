"""The figure: each metric's rank correlation with its interval, and the scatter of the first three metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, INK, plain

__all__ = ["usefulness_figure"]

_SCATTERS = 3


def usefulness_figure(result: sr_hooks.Result, options: FigureOptions | None = None) -> Any:
    """The panels are called correlations, and scatter_0 and so on."""
    rows = [row for row in result.scalars["metrics"] if row["spearman"] is not None]
    height = max(0.5, 0.09 * len(rows))
    panels = [Panel("correlations", lambda slot: _correlations(slot, rows), aspect=height, least=3.0, extra=0.8)]
    for i, row in enumerate(result.scalars["metrics"][:_SCATTERS]):
        if row["spearman"] is not None:
            panels.append(_scatter_panel(result, i, row))
    title = f"Which metric ranks networks as {plain(result.scalars['score'], 40)} does?"
    return compose(panels, options, title=title, notes=result.verdict, width=11)


def _scatter_panel(result: sr_hooks.Result, index: int, row: Any) -> Panel:
    return Panel(f"scatter_{index}", lambda slot: _scatter(slot, result, index, row), aspect=0.9, least=2.4, extra=0.8)


def _correlations(slot: Slot, rows: Any) -> None:
    axes, look = slot.axes, slot.look
    for position, row in enumerate(rows):
        axes.plot([row["low"], row["high"]], [position] * 2, color=COLOURS[1], linewidth=2)
        axes.plot(row["spearman"], position, "o", color=INK, markersize=4)
    axes.axvline(0, color="#999999", linewidth=1)
    axes.set_xlim(-1.05, 1.05)
    axes.set_yticks(range(len(rows)), [plain(row["metric"], 24) for row in rows], fontsize=look.small)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("Spearman's correlation over networks,\n95 % over networks and images", fontsize=look.small)
    open_axes(axes, look)


def _scatter(slot: Slot, result: sr_hooks.Result, index: int, row: Any) -> None:
    axes, look = slot.axes, slot.look
    values, score = result.arrays[f"values_{index}"], result.arrays["score"]
    use = np.isfinite(values).all(axis=0) & np.isfinite(score).all(axis=0)
    axes.plot(values[:, use].mean(1), score[:, use].mean(1), "o", color=COLOURS[5], markersize=4)
    axes.set_xlabel(plain(row["metric"], 24), fontsize=look.small)
    axes.set_ylabel(plain(result.scalars["score"], 28), fontsize=look.small)
    axes.margins(0.1)
    open_axes(axes, look)
