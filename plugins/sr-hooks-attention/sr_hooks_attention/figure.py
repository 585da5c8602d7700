"""The figure of the attention probe: what each site is worth over depth, what its gate is like, and maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import sr_hooks
from sr_hooks.figures import FigureOptions, Look, MapView, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import INK, plain

__all__ = ["attention_figure"]

COLOURS = {
    "channel": "#0072B2", "spatial": "#E69F00", "pixel": "#009E73",
    "window": "#D55E00", "self": "#CC79A7", "transposed": "#56B4E9", "cross": "#000000",
}  # fmt: skip
_LABELS = 40  # sites that can be named below the axis
_LINEAR = 0.01  # dB, below which the axis of changes is linear


def attention_figure(result: sr_hooks.Result, options: FigureOptions) -> Any:
    """PSNR changes, gate statistics and correlations over depth; kinds together; maps where there are."""
    rows, groups = result.scalars["table"], result.scalars["groups"]
    width = 8.5 + 0.06 * min(len(rows), _LABELS)
    room = options.inches or width + 3.2
    narrow = room < 7
    panels = [
        Panel("sites", partial(_sites, rows=rows), aspect=6.6 / (room if narrow else width), weight=width,
              least=room if narrow else 4.0, extra=0.9),
        Panel("together", partial(_together, rows=rows, groups=groups), aspect=4.6 / (room if narrow else 3.2),
              weight=3.2, least=room if narrow else 2.2, extra=0.4),
    ]  # fmt: skip
    panels += _map_panels(result, options)
    title = f"{result.provenance['network']['name']}: what is each attention worth, and what is its gate like?"
    return compose(panels, options, title=title, notes=result.verdict, width=width + 3.2)


def _sites(slot: Slot, rows: Sequence[dict[str, Any]]) -> None:
    """Three plots over the sites, which are named below the last."""
    changes, statistics, correlations = slot.grid(3, 1, height_ratios=[1.6, 1, 0.9]).ravel()
    _changes(changes, rows, "PSNR change, dB", slot.look)
    _one_scale(changes)
    _statistics(statistics, rows, slot.look)
    _correlations(correlations, rows, slot.look)
    _name(correlations, rows, slot.look)
    for axes in (changes, statistics):
        axes.set_xticks([])


def _together(slot: Slot, rows: Sequence[dict[str, Any]], groups: Sequence[dict[str, Any]]) -> None:
    """The changes of all sites of a kind together, and the legend."""
    changes, legend = slot.grid(2, 1, height_ratios=[1, 1]).ravel()
    _changes(changes, [{**g, "kind": g["group"].removeprefix("all ")} for g in groups], "", slot.look)
    _one_scale(changes)
    names = [g["group"].replace(" ", "\n") for g in groups]
    changes.set_xticks(range(len(groups)), names, fontsize=slot.look.small)
    changes.set_title("together", fontsize=slot.look.text, color=INK)
    _legend(legend, rows, slot.look)


def _colour(kind: str) -> str:
    return COLOURS.get(kind, "#555555")


def _changes(axes: Any, rows: Sequence[dict[str, Any]], label: str, look: Look) -> None:
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
    axes.set_ylabel(label, fontsize=look.small, color=INK)
    open_axes(axes, look)


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


def _statistics(axes: Any, rows: Sequence[dict[str, Any]], look: Look) -> None:
    for place, row in enumerate(rows):
        if row["mean"] is not None:
            ends = [row["mean"] - row["spread"], row["mean"] + row["spread"]]
            axes.plot([place, place], ends, "-", color=_colour(row["kind"]), linewidth=2.5, alpha=0.6)
            axes.plot(place, row["mean"], "_", color=INK, markersize=7)
        for key, marker in (("saturation", "^"), ("sparsity", "x")):
            if row[key] is not None:
                axes.plot(place, row[key], marker, color=_colour(row["kind"]), markersize=4.5)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylabel("gate", fontsize=look.small, color=INK)
    open_axes(axes, look)


def _correlations(axes: Any, rows: Sequence[dict[str, Any]], look: Look) -> None:
    axes.axhline(0, color="#999999", linewidth=0.8)
    for place, row in enumerate(rows):
        if row["correlation"] is not None:
            axes.bar(place, row["correlation"], 0.7, color=_colour(row["kind"]))
    axes.set_ylim(-1, 1)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylabel("correlation with\nhigh-pass energy", fontsize=look.small, color=INK)
    open_axes(axes, look)


def _name(axes: Any, rows: Sequence[dict[str, Any]], look: Look) -> None:
    every = -(-len(rows) // _LABELS)
    names = [_shortened(row["site"]) for row in rows[::every]]
    axes.set_xticks(range(0, len(rows), every), [plain(name) for name in names], rotation=90, fontsize=look.small)
    label = "attention, from input to output" + (f"; every {every}th named" if every > 1 else "")
    axes.set_xlabel(label, fontsize=look.small, color=INK)


def _shortened(name: str) -> str:
    """Begin and end of a long one: both tell sites apart."""
    return name if len(name) <= 30 else f"{name[:10]}...{name[-17:]}"


def _legend(axes: Any, rows: Sequence[dict[str, Any]], look: Look) -> None:
    axes.set_axis_off()
    for kind in dict.fromkeys(row["kind"] for row in rows):
        axes.plot([], [], "-", color=_colour(kind), linewidth=4, label=kind)
    axes.plot([], [], "o", color=INK, markerfacecolor="white", label="opened: change of PSNR")
    axes.plot([], [], "s", color=INK, label="levelled: change of PSNR")
    axes.plot([], [], "_", color=INK, markersize=9, label="gate's mean; bar: spread")
    axes.plot([], [], "^", color=INK, label="saturation, 0 to 1")
    axes.plot([], [], "x", color=INK, label="sparsity (Gini), 0 to 1")
    axes.legend(fontsize=look.small, frameon=False, loc="upper left", bbox_to_anchor=(-0.3, 1.05))


def _map_panels(result: sr_hooks.Result, options: FigureOptions) -> list[Panel]:
    """The input, and the mean gate of up to three sites."""
    names = result.scalars.get("maps", [])[:3]
    if not names:
        return []
    image = result.arrays["input"]
    view = MapView(image.shape[-2:], options, image=image)
    panels = [view.image_panel("input", image, "input", extra=0.35, starts_row=True)]
    for index, name in enumerate(names):
        values = result.arrays[f"map_{index}"]
        panels += view.map_panels(
            f"map_{index + 1}",
            values,
            plain(name),
            "gate, mean over channels",
            power=1.0,
            zoomed=False,
            ends=(float(values.min()), float(values.max())),
        )
    return panels
