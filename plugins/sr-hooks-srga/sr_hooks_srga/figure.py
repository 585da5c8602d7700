"""The figure of SRGA: a patch of each set, the distributions with their fits, and the indices beside the floor."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import INK, image_of, plain
from sr_hooks_srga.gaussian import GeneralisedGaussian

__all__ = ["srga_figure"]

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
_SHOWN = 6  # sets whose distributions are drawn


def srga_figure(result: sr_hooks.Result, options: FigureOptions) -> Any:
    """Examples at the left, distributions in the middle, indices at the right."""
    rows = result.scalars["sets"]
    names = [result.scalars["reference"], *(row["set"] for row in rows)]
    columns, lines = _sides(names)
    panels = [
        Panel("examples", partial(_examples, result=result, names=names), aspect=1.15 * lines / columns, weight=1.3,
              least=1.3, most=3.4),
        Panel("distributions", partial(_distributions, result=result, names=names), aspect=0.75, weight=4.4, least=2.6,
              most=3.4, extra=0.3),
        Panel("indices", partial(_indices, result=result, rows=rows), aspect=0.65, weight=5.0, least=2.6,
              most=max(3.0, 0.42 * len(rows)), extra=0.9),
    ]  # fmt: skip
    network = result.provenance["network"]["name"]
    title = f"{network} at {result.scalars['layer']}: which inputs are treated unlike the reference?"
    return compose(panels, options, title=title, notes=result.verdict, width=12.0)


def _sides(names: list[str]) -> tuple[int, int]:
    """Columns and rows of the examples."""
    shown = len(names[: 2 * (_SHOWN // 2)])
    columns = 1 + (shown > 3)
    return columns, -(-shown // columns)


def _examples(slot: Slot, result: sr_hooks.Result, names: list[str]) -> None:
    columns, lines = _sides(names)
    for index, axis in enumerate(slot.grid(lines, columns).ravel()):
        if index >= min(len(names), 2 * (_SHOWN // 2)):
            axis.set_axis_off()
            continue
        axis.imshow(image_of(result.arrays["examples"][index]), interpolation="nearest")
        slot.title(plain(names[index]), axis)
        axis.title.set_fontsize(slot.look.small)
        for spine in axis.spines.values():
            spine.set(color=COLOURS[index % len(COLOURS)], linewidth=2)


def _distributions(slot: Slot, result: sr_hooks.Result, names: list[str]) -> None:
    axes, look = slot.axes, slot.look
    edges, counts = result.arrays["edges"], result.arrays["counts"]
    centres, width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    own = result.scalars["reference_fit"]
    fits = [(own["sigma"], own["shape"])]
    fits += [(row["spread"] * own["sigma"], row["shape"]) for row in result.scalars["sets"]]
    lowest = np.inf
    for index, (name, mine, (sigma, shape)) in enumerate(zip(names[:_SHOWN], counts, fits, strict=False)):
        density = mine / (mine.sum() * width)
        lowest = min(lowest, density[density > 0].min())
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(centres, np.where(density > 0, density, np.nan), ".", markersize=2.5, color=colour)
        fitted = GeneralisedGaussian(sigma, shape).density(centres)
        axes.plot(centres, fitted, "-", linewidth=1.2, color=colour, label=f"{plain(name)}: shape {shape:.2f}")
    axes.set_yscale("log")
    axes.set_ylim(lowest / 2, None)
    axes.set_xlabel("coordinate on the set's principal components", fontsize=look.small, color=INK)
    axes.set_ylabel("density; dots measured, lines fitted", fontsize=look.small, color=INK)
    axes.legend(fontsize=look.small, frameon=False)
    open_axes(axes, look)


def _indices(slot: Slot, result: sr_hooks.Result, rows: list[dict[str, Any]]) -> None:
    axes, look = slot.axes, slot.look
    floor = result.arrays["floor"]
    axes.axvspan(0, result.scalars["floor"], color="#dddddd", linewidth=0, label="two halves of the reference, 95 %")
    axes.axvline(float(np.median(floor)), color="#888888", linewidth=1, label="their median")
    for place, row in enumerate(rows):
        colour = COLOURS[(place + 1) % len(COLOURS)] if place + 1 < _SHOWN else "#555555"
        axes.plot([row["half_low"], row["half_high"]], [place, place], "-", color=colour, linewidth=2.5)
        axes.plot(row["half_median"], place, "|", color=colour, markersize=11, markeredgewidth=2.5)
        axes.plot(row["srga"], place, "D", color=colour, markersize=6, markeredgecolor="white")
    axes.plot([], [], "-|", color=INK, label="reference half to other half of the set, 95 %")
    axes.plot([], [], "D", color=INK, label="all patches (SRGA as published)")
    axes.set_yticks(range(len(rows)), [plain(row["set"]) for row in rows], fontsize=look.small)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, None)
    axes.set_xlabel("SRGA: log10(KL + 1e-5) + 5", fontsize=look.small, color=INK)
    axes.legend(
        fontsize=look.small,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
        ncols=2 if look.width > 5 else 1,
        frameon=False,
    )
    open_axes(axes, look)
