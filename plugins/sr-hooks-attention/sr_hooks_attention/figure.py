"""The figure of the attention probe: what each site is worth over depth, what its gate is like, and maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures.style import INK, MAP_COLOURS, caption, image_of, new_figure, panel, plain

__all__ = ["attention_figure"]

COLOURS = {
    "channel": "#0072B2", "spatial": "#E69F00", "pixel": "#009E73",
    "window": "#D55E00", "self": "#CC79A7", "transposed": "#56B4E9", "cross": "#000000",
}  # fmt: skip
_LABELS = 40  # sites that can be named below the axis
_LINEAR = 0.01  # dB, below which the axis of changes is linear


def attention_figure(result: sr_hooks.Result) -> Any:
    """PSNR changes, gate statistics and correlations over depth; kinds together; maps where there are."""
    rows, groups = result.scalars["table"], result.scalars["groups"]
    maps = result.scalars.get("maps", [])
    width = 8.5 + 0.06 * min(len(rows), _LABELS)
    figure = new_figure(width + 3.2, 8.2 + (2.6 if maps else 0))
    parts = figure.subfigures(2, 1, height_ratios=[8.2, 2.6]) if maps else [figure]
    axes = parts[0].subplots(3, 2, width_ratios=[width, 0.7 + 0.75 * len(groups)], height_ratios=[1.6, 1, 0.9])
    _changes(axes[0, 0], rows, "PSNR change, dB")
    _changes(axes[0, 1], [{**g, "kind": g["group"].removeprefix("all ")} for g in groups], "")
    _one_scale(axes[0, 0], axes[0, 1])
    axes[0, 1].set_xticks(range(len(groups)), [g["group"].replace(" ", "\n") for g in groups], fontsize=7)
    axes[0, 1].set_title("together", fontsize=9, color=INK)
    _statistics(axes[1, 0], rows)
    _correlations(axes[2, 0], rows)
    _name(axes[2, 0], rows)
    for axis in (axes[0, 0], axes[1, 0]):
        axis.set_xticks([])
    _legend(axes[1, 1], rows)
    axes[2, 1].set_axis_off()
    if maps:
        _maps(parts[1], result, maps)
    name = plain(result.provenance["network"]["name"])
    title = f"{name}: what is each attention worth, and what is its gate like?"
    figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left")
    caption(figure, result.verdict, width=round(14.5 * (width + 3.2)))
    return figure


def _colour(kind: str) -> str:
    return COLOURS.get(kind, "#555555")


def _changes(axes: Any, rows: Sequence[dict[str, Any]], label: str) -> None:
    axes.axhline(0, color="#999999", linewidth=0.8)
    for place, row in enumerate(rows):
        for how, marker, shift in (("open", "o", -0.14), ("level", "s", 0.14)):
            value, low, high = (row[how + end] for end in ("", "_low", "_high"))
            if value is None:
                continue
            if low is not None:
                axes.plot([place + shift] * 2, [low, high], "-", color=_colour(row["kind"]), linewidth=1.4)
            face = _colour(row["kind"]) if how == "level" else "white"
            axes.plot(place + shift, value, marker, markersize=5, color=_colour(row["kind"]), markerfacecolor=face)
    axes.set_yscale("symlog", linthresh=_LINEAR, linscale=0.6)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylabel(label, fontsize=8, color=INK)
    _plain_axes(axes)


def _one_scale(*several: Any) -> None:
    """The same span of changes for all of them, marked at 0 and powers of ten."""
    low = min(-_LINEAR * 1.3, *(axes.get_ylim()[0] for axes in several))
    high = max(_LINEAR * 1.3, *(axes.get_ylim()[1] for axes in several))
    decades = [sign * 10.0**power for sign in (-1, 1) for power in range(-2, 3)]
    ticks = sorted(tick for tick in [0.0, *decades] if low <= tick <= high)
    for axes in several:
        axes.set_ylim(low, high)
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()


def _statistics(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    for place, row in enumerate(rows):
        if row["mean"] is not None:
            ends = [row["mean"] - row["spread"], row["mean"] + row["spread"]]
            axes.plot([place, place], ends, "-", color=_colour(row["kind"]), linewidth=2.5, alpha=0.6)
            axes.plot(place, row["mean"], "_", color=INK, markersize=7)
        for key, marker in (("saturation", "^"), ("sparsity", "x")):
            if row[key] is not None:
                axes.plot(place, row[key], marker, color=_colour(row["kind"]), markersize=4.5)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylabel("gate", fontsize=8, color=INK)
    _plain_axes(axes)


def _correlations(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    axes.axhline(0, color="#999999", linewidth=0.8)
    for place, row in enumerate(rows):
        if row["correlation"] is not None:
            axes.bar(place, row["correlation"], 0.7, color=_colour(row["kind"]))
    axes.set_ylim(-1, 1)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylabel("correlation with\nhigh-pass energy", fontsize=8, color=INK)
    _plain_axes(axes)


def _name(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    every = -(-len(rows) // _LABELS)
    names = [_shortened(row["site"]) for row in rows[::every]]
    axes.set_xticks(range(0, len(rows), every), [plain(name) for name in names], rotation=90, fontsize=7)
    label = "attention, from input to output" + (f"; every {every}th named" if every > 1 else "")
    axes.set_xlabel(label, fontsize=8, color=INK)


def _shortened(name: str) -> str:
    """Begin and end of a long one: both tell sites apart."""
    return name if len(name) <= 30 else f"{name[:10]}...{name[-17:]}"


def _legend(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    axes.set_axis_off()
    for kind in dict.fromkeys(row["kind"] for row in rows):
        axes.plot([], [], "-", color=_colour(kind), linewidth=4, label=kind)
    axes.plot([], [], "o", color=INK, markerfacecolor="white", label="opened: change of PSNR")
    axes.plot([], [], "s", color=INK, label="levelled: change of PSNR")
    axes.plot([], [], "_", color=INK, markersize=9, label="gate's mean; bar: spread")
    axes.plot([], [], "^", color=INK, label="saturation, 0 to 1")
    axes.plot([], [], "x", color=INK, label="sparsity (Gini), 0 to 1")
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(-0.3, 1.05))


def _maps(part: Any, result: sr_hooks.Result, names: Sequence[str]) -> None:
    axes = part.subplots(1, 4)
    axes[0].imshow(image_of(result.arrays["input"]), interpolation="nearest")
    panel(axes[0], "input")
    for index, axis in enumerate(axes[1:]):
        if index >= len(names):
            axis.set_axis_off()
            continue
        values = result.arrays[f"map_{index}"]
        shown = axis.imshow(values, cmap=MAP_COLOURS)
        panel(axis, plain(names[index]))
        ticks = np.linspace(values.min(), values.max(), 3)
        bar = part.colorbar(shown, ax=axis, fraction=0.046, pad=0.02, ticks=ticks, format="%.3g")
        bar.ax.tick_params(labelsize=7)
        bar.set_label("gate, mean over channels", fontsize=7)


def _plain_axes(axes: Any) -> None:
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
