"""The figure: the maps from all baselines, their diffusion indices, and the rank correlations between them."""

from __future__ import annotations

from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, MapView, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, INK, plain
from sr_hooks.images import Window
from sr_hooks_baselines.words import short

__all__ = ["baselines_figure"]


def baselines_figure(result: sr_hooks.Result, options: FigureOptions | None = None) -> Any:
    """The panels are called output, map_0 and so on, index and correlations."""
    rows = result.scalars["baselines"]
    output = result.arrays["output"]
    view = MapView(output.shape[-2:], options, image=result.arrays["lr"], window=Window(*result.scalars["window"]))
    panels = [view.image_panel("output", output, "output, window", extra=0.35)]
    for i, row in enumerate(rows):
        values = np.abs(result.arrays[f"attribution_{i}"].sum(axis=0))
        title = f"{plain(short(row['baseline']), 22)}, DI {row['diffusion_index']:.1f}"
        panels += view.map_panels(f"map_{i}", values, title, "|attribution| / max", zoomed=False)
    panels += [
        Panel("index", lambda slot: _indices(slot, rows), aspect=0.8, least=2.6, extra=0.6),
        Panel("correlations", lambda slot: _correlations(slot, result), aspect=1.0, least=2.8, extra=1.0),
    ]
    title = f"{plain(result.provenance['network']['name'])}: the map from every baseline"
    return compose(panels, options, title=title, notes=result.verdict, width=11)


def _names(rows: Any) -> list[str]:
    return [plain(short(row["baseline"]).removeprefix("linear:"), 16) for row in rows]


def _indices(slot: Slot, rows: Any) -> None:
    axes, look = slot.axes, slot.look
    axes.barh(range(len(rows)), [row["diffusion_index"] for row in rows], color=COLOURS[1])
    axes.set_yticks(range(len(rows)), _names(rows), fontsize=look.small)
    axes.invert_yaxis()
    axes.set_xlabel("diffusion index", fontsize=look.small)
    open_axes(axes, look)


def _correlations(slot: Slot, result: sr_hooks.Result) -> None:
    """Above the diagonal over all pixels, below it among pixels of equal distance to the window."""
    axes, look = slot.axes, slot.look
    everywhere, nearby = (np.array(result.scalars[key]) for key in ("rank_correlations", "local_correlations"))
    values = np.triu(everywhere) + np.tril(nearby, -1)
    names = _names(result.scalars["baselines"])
    axes.imshow(values, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    for i in range(len(names)):
        for j in range(len(names)):
            if i != j:
                colour = "white" if values[i, j] < 0.5 else INK
                axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=look.small, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=look.small)
    axes.set_yticks(range(len(names)), names, fontsize=look.small)
    axes.set_title("rank correlation\n(below: at equal distance)", fontsize=look.text, color=INK)
