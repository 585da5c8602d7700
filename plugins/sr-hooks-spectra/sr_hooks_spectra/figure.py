"""The figure: relative log amplitude by layer, the share of high frequencies by depth, and output against truth."""

from __future__ import annotations

from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures.style import COLOURS, INK, caption, new_figure, plain

__all__ = ["spectra_figure"]

_TICKS = ([0, np.pi / 4, np.pi / 2, 3 * np.pi / 4, np.pi], ["0", "π/4", "π/2", "3π/4", "π"])


def spectra_figure(result: sr_hooks.Result) -> Any:
    """Three panels beside one another; a fourth below the third if the impulse response was measured."""
    split = "linear" in result.arrays
    figure = new_figure(12.0, 5.6 if split else 4.2)
    grid = figure.add_gridspec(2 if split else 1, 3)
    _layers(figure.add_subplot(grid[:, 0]), result)
    _depth(figure.add_subplot(grid[:, 1]), result)
    _lines(
        figure.add_subplot(grid[0, 2]),
        result,
        [("target", "ground truth", "-"), ("output", "output", "--"), ("input", "input (its own pixels)", ":")],
        "output against ground truth",
    )
    if split:
        _lines(
            figure.add_subplot(grid[1, 2]),
            result,
            [("output", "output", "-"), ("linear", "linear part", "--"), ("rest", "rest", ":")],
            "the output's linear part and the rest (HyRA)",
        )
    name = plain(result.provenance["network"]["name"])
    figure.suptitle(f"{name}: which spatial frequencies?", fontsize=11, color=INK, x=0.01, ha="left")
    caption(figure, result.verdict, width=165)
    return figure


def _layers(axes: Any, result: sr_hooks.Result) -> None:
    from matplotlib import colormaps

    rows = result.scalars["layers"]
    colours = colormaps["viridis"](np.linspace(0, 0.92, len(rows)))
    named = {0, len(rows) // 3, 2 * len(rows) // 3, len(rows) - 1}
    for index, (row, values) in enumerate(zip(rows, result.arrays["relative"], strict=True)):
        label = plain(row["layer"], 22) if index in named else None
        axes.plot(result.arrays["radius"], values, color=colours[index], linewidth=1.2, label=label)
    axes.axvline(np.pi / 2, color="#999999", linewidth=0.6)
    axes.set_ylabel("relative log amplitude (natural log)", fontsize=8, color=INK)
    axes.set_title("layers, dark to light by depth", fontsize=9, color=INK)
    if rows:
        axes.legend(fontsize=7, frameon=False)
    _frequency(axes)


def _depth(axes: Any, result: sr_hooks.Result) -> None:
    rows = result.scalars["layers"]
    depth = np.arange(len(rows))
    shares = np.array([np.nan if row["high_share"] is None else 100 * row["high_share"] for row in rows])
    axes.plot(depth, shares, "o-", color=COLOURS[0], markersize=3.5, linewidth=1.2, label="network")
    if rows and rows[0].get("low") is not None:
        low, high = (np.array([100 * row[key] for row in rows], float) for key in ("low", "high"))
        axes.fill_between(depth, low, high, color=COLOURS[0], alpha=0.2, linewidth=0, label="95 % over images")
    if rows and "control_high_share" in rows[0]:
        other = [np.nan if row["control_high_share"] is None else 100 * row["control_high_share"] for row in rows]
        axes.plot(depth, other, "x--", color=COLOURS[5], markersize=4, linewidth=1, label="weights shuffled")
    share = 100 * (result.scalars["input_high_share"] or 0)
    axes.axhline(share, color=INK, linewidth=0.8, linestyle=":", label="input")
    axes.set_xticks(depth[:: max(len(rows) // 8, 1)])
    axes.set_xlabel("layer, in order of the forward pass", fontsize=8, color=INK)
    axes.set_ylabel("energy above π/2 rad a pixel, %", fontsize=8, color=INK)
    axes.set_ylim(0, None)
    axes.set_title("high frequencies by depth", fontsize=9, color=INK)
    axes.legend(fontsize=7, frameon=False)
    _plain_axes(axes)


def _lines(axes: Any, result: sr_hooks.Result, lines: list[tuple[str, str, str]], title: str) -> None:
    for (key, label, style), colour in zip(lines, ("#000000", COLOURS[0], COLOURS[5]), strict=True):
        axes.plot(result.arrays["radius"], result.arrays[key], style, color=colour, linewidth=1.3, label=label)
    axes.set_ylabel("log power (natural log)", fontsize=8, color=INK)
    axes.set_title(title, fontsize=9, color=INK)
    axes.legend(fontsize=7, frameon=False)
    _frequency(axes)


def _frequency(axes: Any) -> None:
    axes.set_xlim(0, np.pi)
    axes.set_xticks(*_TICKS)
    axes.set_xlabel("spatial frequency, rad a pixel of the layer", fontsize=8, color=INK)
    _plain_axes(axes)


def _plain_axes(axes: Any) -> None:
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
