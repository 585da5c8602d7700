"""The figure of health: four numbers by layer, and by iteration where a training was watched."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, INK, plain

__all__ = ["health_figure"]

_PANELS = (
    ("max", "largest |feature|", True),
    ("entropy", "channel entropy / log C", False),
    ("kurtosis", "kurtosis of all values", True),
    ("dead", "channels that are silent", False),
)
_LINES = 12  # layers that have a line over the iterations


def health_figure(result: sr_hooks.Result, options: FigureOptions | None) -> Any:
    """Four panels by layer; below, four by iteration where there are two or more."""
    panels = [
        Panel(name, partial(_by_layer, result, name, label, log), aspect=0.7, least=2.6, extra=0.3)
        for name, label, log in _PANELS
    ]
    if len(result.arrays.get("history_iteration", ())) > 1:
        panels += [
            Panel(f"{name}_by_iteration", partial(_by_iteration, result, name, label, log), 0.7, least=2.6, extra=0.3)
            for name, label, log in _PANELS
        ]
    title = f"{plain(result.provenance['network']['name'])}: are the features healthy?"
    return compose(panels, options, title=title, notes=result.verdict, width=12)


def _by_layer(result: sr_hooks.Result, name: str, label: str, log: bool, slot: Slot) -> None:
    values = result.arrays[name]
    depth = np.arange(len(values))
    slot.axes.plot(depth, values, "o-", color=COLOURS[0], markersize=2.5, linewidth=0.9)
    broken = result.arrays["nonfinite"] > 0
    if broken.any():
        slot.axes.plot(depth[broken], values[broken], "x", color=COLOURS[5], markersize=6, label="NaN or infinite")
        slot.axes.legend(fontsize=slot.look.small, frameon=False)
    _finish(slot, values, label, log)
    slot.axes.set_xlabel("layer, in order of the forward pass", fontsize=slot.look.small, color=INK)


def _by_iteration(result: sr_hooks.Result, name: str, label: str, log: bool, slot: Slot) -> None:
    from matplotlib import colormaps

    values = result.arrays[f"history_{name}"]
    chosen = sorted({round(v) for v in np.linspace(0, values.shape[1] - 1, min(_LINES, values.shape[1]))})
    colours = colormaps["viridis"](np.linspace(0, 0.92, len(chosen)))
    rows = result.scalars["layers"]
    for colour, layer in zip(colours, chosen, strict=True):
        named = plain(rows[layer]["layer"], 22) if layer in (chosen[0], chosen[-1]) else None
        slot.axes.plot(result.arrays["history_iteration"], values[:, layer], color=colour, linewidth=1, label=named)
    if name == "max":
        slot.axes.legend(fontsize=slot.look.small, frameon=False)
    _finish(slot, values, label, log)
    slot.axes.set_xlabel("iteration; layers dark to light by depth", fontsize=slot.look.small, color=INK)


def _finish(slot: Slot, values: np.ndarray, label: str, log: bool) -> None:
    finite = values[np.isfinite(values)]
    if log and finite.size and finite.min() > 0 and finite.max() > 20 * finite.min():
        slot.axes.set_yscale("log")
    elif finite.size:
        slot.axes.set_ylim(bottom=min(0.0, float(finite.min())))
        if not finite.any():
            slot.axes.set_ylim(0, 1)
    slot.axes.set_title(label, fontsize=slot.look.text, color=INK)
    open_axes(slot.axes, slot.look)
