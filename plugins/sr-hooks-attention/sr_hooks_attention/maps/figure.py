"""The figure of attention maps: the query on the image, what was used, the weights of each layer, and the rollout."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, MapView, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, INK, plain
from sr_hooks.images import Window

__all__ = ["attention_map_figure", "heading", "ring_of", "shortened"]

_PANELS = 12  # of weights
_ACROSS = 4  # panels in a row
_SIDE = 2.9  # inches, the most that a panel is wide or high
_RING = "#56B4E9"


def attention_map_figure(result: sr_hooks.Result, options: FigureOptions) -> Any:
    """Panels input, used, weights_<i> (weights_<i>_<head> with heads apart), channels_<i>, rollout, rollout_control.

    Above the weights: their mean distance, and the mean rank of use of what is read (that of other windows).
    """
    scalars, image = result.scalars, result.arrays["lr"]
    one = len(scalars["query"]) == 1
    window = None if one else Window(*scalars["window"])
    view = MapView(result.arrays["output"].shape[-2:], options, image=image, window=window)
    ring = partial(ring_of, query=scalars["query"]) if one else None
    panels = [view.image_panel("input", image, "input and query", after=ring, extra=0.35)]
    if "used" in result.arrays:
        title = {"lam": "LAM of the query", "gradient": "gradient of the query"}[scalars["check"]]
        panels += view.map_panels("used", result.arrays["used"], title, "share of the largest", after=ring)
    weights = _weight_panels(result, view, ring)
    panels += weights[:_PANELS]
    panels += _channel_panels(result)
    for name, title in (("rollout", "rollout"), ("rollout_control", "rollout of shuffled weights")):
        if name in result.arrays:
            panels += view.map_panels(
                name, result.arrays[name], title, "share of the largest",
                after=ring, zoomed=False,
            )  # fmt: skip
    rest = f" ({len(weights) - _PANELS} more maps are in the arrays)" if len(weights) > _PANELS else ""
    where = f"pixel {tuple(scalars['query'][0])}" if one else f"output window {tuple(scalars['window'])}"
    title = f"{result.provenance['network']['name']}: what does {where} attend to?{rest}"
    starts = list(range(0, len(panels), _ACROSS))
    if len(panels) % _ACROSS == 1 and len(panels) > 1:
        starts[-1] -= 1  # a panel alone in its row would be drawn larger than the others
    panels = [replace(panel, most=_SIDE, starts_row=i in starts) for i, panel in enumerate(panels)]
    return compose(panels, options, title=title, notes=result.verdict, width=12)


def _weight_panels(result: sr_hooks.Result, view: MapView, ring: Any) -> list[Panel]:
    panels: list[Panel] = []
    for index, row in enumerate(result.scalars["layers"]):
        values = result.arrays.get(f"weights_{index}")
        if values is None:
            continue
        several = [(f"weights_{index}", "", values)]
        if values.ndim == 3:
            several = [(f"weights_{index}_{h}", f", head {h + 1}", part) for h, part in enumerate(values)]
        for name, head, part in several:
            title = f"{shortened(row['layer'])}{head}\n{row['kind']}, {heading(row)}"
            panels += view.map_panels(
                name, part, title, "weight / largest", after=ring, zoomed=not panels and "used" not in result.arrays
            )
    return panels


def _channel_panels(result: sr_hooks.Result) -> list[Panel]:
    panels = []
    for index, row in enumerate(result.scalars["layers"]):
        values = result.arrays.get(f"channels_{index}")
        if values is not None:
            draw = partial(_channels, values=values, title=shortened(row["layer"]))
            panels.append(Panel(f"channels_{index}", draw, least=1.6, aspect=0.8, extra=0.35))
    return panels[:4]


def _channels(slot: Slot, values: np.ndarray, title: str) -> None:
    """Sorted gates, or of a mixture the weight that a channel gives to itself and to the others."""
    axes = slot.axes
    if values.ndim == 1:
        axes.plot(np.sort(values)[::-1], color=COLOURS[0], linewidth=1.2)
        label, across = "gate", "channels, sorted"
    else:
        largest = values.reshape(-1, values.shape[-1]).max(axis=-1)
        axes.plot(np.sort(largest)[::-1], color=COLOURS[0], linewidth=1.2)
        label, across = "largest weight of a row", "channels, sorted"
    axes.set_ylim(bottom=min(0.0, float(values.min())))
    axes.set_ylabel(label, fontsize=slot.look.small, color=INK)
    axes.set_xlabel(across, fontsize=slot.look.small, color=INK)
    slot.title(f"{title}: channels")
    open_axes(axes, slot.look)


def heading(row: dict[str, Any]) -> str:
    """The mean distance and the mean rank of use of a layer, that of other windows in brackets."""
    text = f"{row['mean_distance']:.1f} px away"
    if row["read_rank"] is not None:
        text += f", use {row['read_rank']:.2f}"
        text += f" ({row['control']:.2f})" if row["control"] is not None else ""
    return text


def shortened(name: str) -> str:
    """Begin and end of a long one: both tell sites apart."""
    return plain(name if len(name) <= 26 else f"{name[:9]}...{name[-14:]}")


def ring_of(slot: Slot, query: list[list[int]]) -> None:
    """Draw a ring around the query."""
    (y, x), *_ = query
    slot.axes.plot(x, y, "o", markersize=9, markerfacecolor="none", markeredgecolor=_RING, markeredgewidth=1.3)
