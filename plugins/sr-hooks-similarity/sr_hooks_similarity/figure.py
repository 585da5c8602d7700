"""The figure: similarity and excess as matrices of layers, and the same layer of both networks by depth."""

from __future__ import annotations

from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures.style import COLOURS, INK, caption, colour_bar, new_figure, plain

__all__ = ["similarity_figure"]

_NAMED = 8  # layers whose names are written at an axis


def similarity_figure(result: sr_hooks.Result) -> Any:
    """Two matrices, and a third panel by depth where both networks have the same layers."""
    by_depth = "same_layer" in result.scalars and not result.scalars["alone"]
    figure = new_figure(13.0 if by_depth else 9.4, 4.9)
    axes = figure.subplots(1, 3 if by_depth else 2, squeeze=False)[0]
    name = "CKA, unbiased" if result.scalars["measure"] == "cka" else "1 - mean |S - S'|"
    _matrix(figure, axes[0], result, "similarity", "viridis", (0.0, 1.0), f"similarity ({name})")
    limit = max(float(np.nanmax(np.abs(result.arrays["excess"]))), 1e-3)
    _matrix(figure, axes[1], result, "excess", "RdBu_r", (-limit, limit), "excess over the largest control")
    if by_depth:
        _depth(axes[2], result)
    network = plain(result.provenance["network"]["name"])
    other = "itself" if result.scalars["alone"] else plain(result.provenance["other"]["name"])
    figure.suptitle(f"{network} and {other}: which layers are alike?", fontsize=11, color=INK, x=0.01, ha="left")
    caption(figure, result.verdict, width=165 if by_depth else 125)
    return figure


def _matrix(
    figure: Any, axes: Any, result: sr_hooks.Result, key: str, colours: str, limits: tuple[float, float], title: str
) -> None:
    values = result.arrays[key]
    drawn = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="nearest", aspect="auto")
    if key == "excess":
        unclear = (result.arrays["excess_low"] <= 0) & (result.arrays["excess_high"] >= 0)
        rows, columns = np.nonzero(unclear)
        size = max(1.0, 40 / max(values.shape))
        axes.plot(columns, rows, ".", color="#555555", markersize=size, label="interval holds 0")
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.18), frameon=False)
    for axis, names in (("y", result.scalars["layers"]), ("x", result.scalars["other_layers"])):
        step = max(-(-len(names) // _NAMED), 1)
        ticks = list(range(0, len(names), step))
        labels = [plain(names[i], 18) for i in ticks]
        if axis == "y":
            axes.set_yticks(ticks, labels, fontsize=7)
        else:
            axes.set_xticks(ticks, labels, fontsize=7, rotation=45, ha="right")
    axes.set_title(title, fontsize=9, color=INK)
    colour_bar(figure, drawn, axes, "", [limits[0], sum(limits) / 2, limits[1]])


def _depth(axes: Any, result: sr_hooks.Result) -> None:
    rows = result.scalars["same_layer"]
    depth = np.arange(len(rows))
    lines = (("similarity", "the two networks", "o-", COLOURS[0]), ("random", "shuffled weights", "x--", COLOURS[5]))
    for key, label, style, colour in (*lines, ("pixels", "pixels", "+:", "#555555")):
        axes.plot(depth, [row[key] for row in rows], style, color=colour, markersize=4, linewidth=1.1, label=label)
    low, high = (np.array([row[key] for row in rows]) for key in ("excess_low", "excess_high"))
    control = np.array([row["similarity"] - row["excess"] for row in rows])
    axes.fill_between(depth, control + low, control + high, color=COLOURS[0], alpha=0.2, linewidth=0,
                      label="95 % over halves")  # fmt: skip
    axes.set_xlabel("layer, in order of the forward pass", fontsize=8, color=INK)
    axes.set_title("the same layer of both", fontsize=9, color=INK)
    axes.legend(fontsize=7, frameon=False)
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
