"""The figure: similarity and excess as matrices of layers, and the same layer of both networks by depth."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, INK, plain

__all__ = ["similarity_figure"]

_NAMED = 8  # layers whose names are written at an axis


def similarity_figure(result: sr_hooks.Result, options: FigureOptions | None = None) -> Any:
    """The panels are called similarity, excess, and depth where both networks have the same layers."""
    name = "CKA, unbiased" if result.scalars["measure"] == "cka" else "1 - mean |S - S'|"
    how: dict[str, Any] = {"least": 2.8, "most": 3.6, "extra": 0.9}
    draw = partial(_matrix, result=result, key="similarity", title=f"similarity ({name})")
    panels = [
        Panel("similarity", draw, **how),
        Panel("excess", partial(_matrix, result=result, key="excess", title="excess over the largest control"), **how),
    ]
    if "same_layer" in result.scalars and not result.scalars["alone"]:
        panels.append(Panel("depth", partial(_depth, result=result), **how))
    network = plain(result.provenance["network"]["name"])
    other = "itself" if result.scalars["alone"] else plain(result.provenance["other"]["name"])
    title = f"{network} and {other}: which layers are alike?"
    return compose(panels, options, title=title, notes=result.verdict, width=3.6 * len(panels) + 0.8)


def _matrix(slot: Slot, result: sr_hooks.Result, key: str, title: str) -> None:
    axes, look = slot.axes, slot.look
    values = result.arrays[key]
    limit = max(_largest(values), 1e-3) if key == "excess" else 1.0
    low, colours = (-limit, look.signed_colormap) if key == "excess" else (0.0, look.options.colormap or "viridis")
    drawn = axes.imshow(values, cmap=colours, vmin=low, vmax=limit, interpolation="nearest", aspect="auto")
    if key == "excess":
        unclear = (result.arrays["excess_low"] <= 0) & (result.arrays["excess_high"] >= 0)
        rows, columns = np.nonzero(unclear)
        size = max(1.0, 40 / max(values.shape))
        axes.plot(columns, rows, ".", color="#555555", markersize=size)
        title += "\n(dot: its interval holds 0)"
    for axis, names in ((axes.yaxis, result.scalars["layers"]), (axes.xaxis, result.scalars["other_layers"])):
        step = max(-(-len(names) // _NAMED), 1)
        ticks = list(range(0, len(names), step))
        axis.set_ticks(ticks, [plain(names[i], 18) for i in ticks], fontsize=look.small)
    axes.tick_params(axis="x", rotation=45)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
        label.set_rotation_mode("anchor")
    axes.set_title(title, fontsize=look.text, color=INK)
    slot.bar(drawn, "", [_two_digits(low), _two_digits((low + limit) / 2), _two_digits(limit)])


def _largest(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size else 0.0


def _two_digits(value: float) -> float:
    """Rounded towards 0, so that a tick lies inside its colour bar."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 1)
    return float(f"{np.trunc(value / unit * (1 + 1e-12)) * unit:.2g}")


def _depth(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look = slot.axes, slot.look
    rows = result.scalars["same_layer"]
    depth = np.arange(len(rows))
    lines = (("similarity", "the two networks", "o-", COLOURS[0]), ("random", "shuffled weights", "x--", COLOURS[5]))
    for key, label, style, colour in (*lines, ("pixels", "pixels", "+:", "#555555")):
        axes.plot(depth, [row[key] for row in rows], style, color=colour, markersize=4, linewidth=1.1, label=label)
    low, high = (np.array([row[key] for row in rows]) for key in ("excess_low", "excess_high"))
    control = np.array([row["similarity"] - row["excess"] for row in rows])
    axes.fill_between(depth, control + low, control + high, color=COLOURS[0], alpha=0.2, linewidth=0,
                      label="95 % over halves")  # fmt: skip
    axes.set_xlabel("layer, in order of the forward pass", fontsize=look.small, color=INK)
    axes.set_title("the same layer of both", fontsize=look.text, color=INK)
    axes.legend(fontsize=look.small, frameon=False)
    open_axes(axes, look)
