"""The figure: relative log amplitude by layer, the share of high frequencies by depth, output against truth, HyRA."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, INK, plain

__all__ = ["spectra_figure"]

_TICKS = ([0, np.pi / 4, np.pi / 2, 3 * np.pi / 4, np.pi], ["0", "π/4", "π/2", "3π/4", "π"])
_ENDS = (("target", "ground truth", "-"), ("output", "output", "--"), ("input", "input (its own pixels)", ":"))
_SPLIT = (("output", "output", "-"), ("linear", "linear part", "--"), ("rest", "rest", ":"))


def spectra_figure(result: sr_hooks.Result, options: FigureOptions | None = None) -> Any:
    """The panels are called layers, depth, output, and split where the impulse response was measured."""
    how: dict[str, Any] = {"aspect": 0.8, "least": 2.8, "most": 3.2, "extra": 0.55}
    named = "output against ground truth"
    panels = [
        Panel("layers", partial(_layers, result=result), **how),
        Panel("depth", partial(_depth, result=result), **how),
        Panel("output", partial(_lines, result=result, lines=_ENDS, title=named), **how),
    ]
    if "linear" in result.arrays:
        named = "linear part and rest (HyRA)"
        panels.append(Panel("split", partial(_lines, result=result, lines=_SPLIT, title=named), **how))
    name = plain(result.provenance["network"]["name"])
    return compose(panels, options, title=f"{name}: which spatial frequencies?", notes=result.verdict, width=9)


def _layers(slot: Slot, result: sr_hooks.Result) -> None:
    from matplotlib import colormaps

    axes, look = slot.axes, slot.look
    rows = result.scalars["layers"]
    colours = colormaps["viridis"](np.linspace(0, 0.92, len(rows)))
    named = {0, len(rows) // 3, 2 * len(rows) // 3, len(rows) - 1}
    for index, (row, values) in enumerate(zip(rows, result.arrays["relative"], strict=True)):
        label = plain(row["layer"], 22) if index in named else None
        axes.plot(result.arrays["radius"], values, color=colours[index], linewidth=1.2, label=label)
    axes.axvline(np.pi / 2, color="#999999", linewidth=0.6)
    axes.set_ylabel("relative log amplitude (natural log)", fontsize=look.small, color=INK)
    axes.set_title("layers, dark to light by depth", fontsize=look.text, color=INK)
    if rows:
        axes.legend(fontsize=look.small, frameon=False)
    _frequency(slot)


def _depth(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look = slot.axes, slot.look
    rows = result.scalars["layers"]
    depth = np.arange(len(rows))
    axes.plot(
        depth, _percent(rows, "high_share"), "o-", color=COLOURS[0], markersize=3.5, linewidth=1.2, label="network"
    )
    if rows and rows[0].get("low") is not None:
        low, high = (_percent(rows, key) for key in ("low", "high"))
        axes.fill_between(depth, low, high, color=COLOURS[0], alpha=0.2, linewidth=0, label="95 % over images")
    if rows and "control_high_share" in rows[0]:
        other = _percent(rows, "control_high_share")
        axes.plot(depth, other, "x--", color=COLOURS[5], markersize=4, linewidth=1, label="weights shuffled")
    share = 100 * (result.scalars["input_high_share"] or 0)
    axes.axhline(share, color=INK, linewidth=0.8, linestyle=":", label="input")
    axes.set_xticks(depth[:: max(len(rows) // 8, 1)])
    axes.set_xlabel("layer, in order of the forward pass", fontsize=look.small, color=INK)
    axes.set_ylabel("energy above π/2 rad a pixel, %", fontsize=look.small, color=INK)
    axes.set_ylim(0, None)
    axes.set_title("high frequencies by depth", fontsize=look.text, color=INK)
    axes.legend(fontsize=look.small, frameon=False)
    open_axes(axes, look)


def _percent(rows: Sequence[Any], key: str) -> np.ndarray:
    return np.array([np.nan if row[key] is None else 100 * row[key] for row in rows])


def _lines(slot: Slot, result: sr_hooks.Result, lines: Sequence[tuple[str, str, str]], title: str) -> None:
    axes, look = slot.axes, slot.look
    for (key, label, style), colour in zip(lines, ("#000000", COLOURS[0], COLOURS[5]), strict=True):
        axes.plot(result.arrays["radius"], result.arrays[key], style, color=colour, linewidth=1.3, label=label)
    axes.set_ylabel("log power (natural log)", fontsize=look.small, color=INK)
    axes.set_title(title, fontsize=look.text, color=INK)
    axes.legend(fontsize=look.small, frameon=False)
    _frequency(slot)


def _frequency(slot: Slot) -> None:
    slot.axes.set_xlim(0, np.pi)
    slot.axes.set_xticks(*_TICKS)
    slot.axes.set_xlabel("spatial frequency, rad a pixel of the layer", fontsize=slot.look.small, color=INK)
    open_axes(slot.axes, slot.look)
