"""The figure: what each condition changes in dB, and the conditions of all images on two principal axes."""

from __future__ import annotations

from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, plain

__all__ = ["modulation_figure"]


def modulation_figure(result: sr_hooks.Result, options: FigureOptions | None = None) -> Any:
    """The panels are called change and conditions."""
    panels = [
        Panel("change", lambda slot: _change(slot, result), aspect=0.7, least=3.0, extra=0.7),
        Panel("conditions", lambda slot: _conditions(slot, result), aspect=0.7, least=3.0, extra=0.7),
    ]
    title = f"{plain(result.provenance['network']['name'])}: what does the condition change?"
    return compose(panels, options, title=title, notes=result.verdict, width=9)


def _change(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look = slot.axes, slot.look
    names = list(result.scalars["psnr"])
    conditions = [row["condition"] for row in result.scalars["rows"] if row["degradation"] == names[0]]
    for k, name in enumerate(names):
        rows = [row for row in result.scalars["rows"] if row["degradation"] == name]
        places = np.arange(len(rows)) + (k - (len(names) - 1) / 2) * 0.15
        for place, row in zip(places, rows, strict=True):
            axes.plot([row["low"], row["high"]], [place] * 2, color=COLOURS[k % len(COLOURS)], linewidth=2)
        axes.plot(
            [row["db"] for row in rows],
            places,
            "o",
            color=COLOURS[k % len(COLOURS)],
            markersize=4,
            label=plain(name, 20),
        )
    axes.axvline(0, color="#999999", linewidth=1)
    axes.set_yticks(range(len(conditions)), conditions, fontsize=look.small)
    axes.invert_yaxis()
    axes.set_xlabel("change of PSNR, dB, 95 % interval", fontsize=look.small)
    axes.legend(fontsize=look.small, frameon=False)
    open_axes(axes, look)


def _conditions(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look = slot.axes, slot.look
    points = result.arrays["conditions"].astype(np.float64)
    points = points - points.mean(axis=0)
    _, _, directions = np.linalg.svd(points, full_matrices=False)
    drawn = points @ directions[:2].T
    if drawn.shape[1] < 2:
        drawn = np.pad(drawn, ((0, 0), (0, 1)))
    for k, name in enumerate(result.scalars["psnr"]):
        of_class = drawn[result.arrays["labels"] == k]
        axes.plot(of_class[:, 0], of_class[:, 1], "o", color=COLOURS[k % len(COLOURS)], label=plain(name, 20))
    axes.set_xlabel("conditions, first principal axis", fontsize=look.small)
    axes.set_ylabel("second", fontsize=look.small)
    axes.legend(fontsize=look.small, frameon=False)
    axes.margins(0.15)
    open_axes(axes, look)
