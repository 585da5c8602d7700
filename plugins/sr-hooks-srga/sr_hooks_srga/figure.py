"""The figure of SRGA: a patch of each set, the distributions with their fits, and the indices beside the floor."""

from __future__ import annotations

from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures.style import INK, caption, image_of, new_figure, panel, plain
from sr_hooks_srga.gaussian import GeneralisedGaussian

__all__ = ["srga_figure"]

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
_SHOWN = 6  # sets whose distributions are drawn


def srga_figure(result: sr_hooks.Result) -> Any:
    """Examples at the left, distributions in the middle, indices at the right."""
    rows = result.scalars["sets"]
    names = [result.scalars["reference"], *(row["set"] for row in rows)]
    figure = new_figure(12.0, max(4.4, 1.6 + 0.42 * len(rows)))
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1.3, 4.4, 5.0])
    _examples(left, result, names)
    _distributions(middle.subplots(), result, names)
    _indices(right.subplots(), result, rows)
    network = plain(result.provenance["network"]["name"])
    title = f"{network} at {plain(result.scalars['layer'])}: which inputs are treated unlike the reference?"
    figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left")
    caption(figure, result.verdict, width=165)
    return figure


def _examples(part: Any, result: sr_hooks.Result, names: list[str]) -> None:
    shown = names[: 2 * (_SHOWN // 2)]
    columns = 1 + (len(shown) > 3)
    axes = part.subplots(-(-len(shown) // columns), columns, squeeze=False).ravel()
    for index, axis in enumerate(axes):
        if index >= len(shown):
            axis.set_axis_off()
            continue
        axis.imshow(image_of(result.arrays["examples"][index]), interpolation="nearest")
        panel(axis, plain(shown[index]))
        axis.title.set_fontsize(7)
        for spine in axis.spines.values():
            spine.set(color=COLOURS[index % len(COLOURS)], linewidth=2)


def _distributions(axes: Any, result: sr_hooks.Result, names: list[str]) -> None:
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
    axes.set_xlabel("coordinate on the set's principal components", fontsize=8, color=INK)
    axes.set_ylabel("density; dots measured, lines fitted", fontsize=8, color=INK)
    axes.legend(fontsize=7, frameon=False)
    _plain_axes(axes)


def _indices(axes: Any, result: sr_hooks.Result, rows: list[dict[str, Any]]) -> None:
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
    axes.set_yticks(range(len(rows)), [plain(row["set"]) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, None)
    axes.set_xlabel("SRGA: log10(KL + 1e-5) + 5", fontsize=8, color=INK)
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
    _plain_axes(axes)


def _plain_axes(axes: Any) -> None:
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
