"""The figure: regions, signed errors of all networks on one symmetric scale, PSNR and error shares by region."""

from __future__ import annotations

from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures.style import COLOURS, HATCHES, INK, caption, colour_bar, image_of, new_figure, panel, plain

__all__ = ["regions_figure"]

_ERRORS = "RdBu_r"  # both ends are told apart by colour-blind readers; white is no error
_BARS = 8  # regions whose bars are drawn


def regions_figure(result: sr_hooks.Result) -> Any:
    """Rows of images at the left: regions, then the error of each network; bars by region at the right."""
    networks = list(result.scalars["networks"])
    shown = sorted(int(key.removeprefix("image_")) for key in result.arrays if key.startswith("image_"))
    columns = 1 + len(networks)
    figure = new_figure(2.7 * columns + 3.6, 1.1 + max(2.7 * len(shown), 4.6))
    left, right = figure.subfigures(1, 2, width_ratios=[2.7 * columns, 3.6])
    grid = left.subplots(len(shown), columns, squeeze=False)
    for row, index in zip(grid, shown, strict=True):
        _regions(row[0], result, index)
        for place, (axes, name) in enumerate(zip(row[1:], networks, strict=True)):
            limit = result.scalars["limit"]
            error = result.arrays[f"error_{index}_{place}"]
            drawn = axes.imshow(error, cmap=_ERRORS, vmin=-limit, vmax=limit, interpolation="nearest")
            panel(axes, f"error of {plain(name, 28)}")
    tick = float(f"{0.9 * result.scalars['limit']:.1g}")
    tick = tick if tick <= result.scalars["limit"] else tick / 2
    colour_bar(left, drawn, list(grid[:, -1]), "output - truth, white is 1", [-tick, 0.0, tick])
    upper, lower = right.subplots(2, 1)
    _psnr(upper, result, networks)
    _shares(lower, result)
    figure.suptitle("Where in the image are the errors?", fontsize=11, color=INK, x=0.01, ha="left")
    caption(figure, result.verdict, width=int(38 * columns + 40))
    return figure


def _regions(axes: Any, result: sr_hooks.Result, index: int) -> None:
    from matplotlib.patches import Patch

    image = image_of(result.arrays[f"image_{index}"] / 255.0)
    numbers = result.arrays[f"labels_{index}"]
    palette = np.array([_colour(number) for number in range(int(numbers.max()) + 1)])
    axes.imshow(0.5 * image.mean(axis=2, keepdims=True) + 0.5 * palette[numbers], interpolation="nearest")
    panel(axes, "regions")
    if index == 0:
        names = [(i, name) for i, name in enumerate(result.scalars["names"]) if name in result.scalars["regions"]]
        handles = [Patch(color=_colour(i), label=plain(name, 20)) for i, name in names[:_BARS]]
        axes.legend(handles=handles, fontsize=7, loc="lower left", framealpha=0.85, borderpad=0.3, handlelength=1)


def _colour(number: int) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return to_rgb(COLOURS[number % len(COLOURS)])


def _psnr(axes: Any, result: sr_hooks.Result, networks: list[str]) -> None:
    names = list(result.scalars["regions"])[:_BARS]
    height = 0.8 / len(networks)
    lowest, highest = np.inf, -np.inf
    for place, network in enumerate(networks):
        rows = result.scalars["networks"][network]
        values = [rows[name]["psnr"] if name in rows else 0.0 for name in names]
        lowest, highest = min(lowest, *values), max(highest, *values)
        where = np.arange(len(names)) + (place - (len(networks) - 1) / 2) * height
        axes.barh(
            where, values, height, color=COLOURS[(place + 1) % len(COLOURS)], hatch=HATCHES[place % len(HATCHES)],
            edgecolor="white", label=plain(network, 28),
        )  # fmt: skip
        for y, value in zip(where, values, strict=True):
            axes.text(value, y, f" {value:.1f}", va="center", fontsize=7, color=INK)
    axes.set_xlim(max(lowest - 6, 0), highest + 0.25 * (highest - max(lowest - 6, 0)))
    axes.set_yticks(range(len(names)), [plain(name, 18) for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("PSNR of the region, dB", fontsize=8, color=INK)
    if len(networks) > 1:
        axes.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    _plain_axes(axes)


def _shares(axes: Any, result: sr_hooks.Result) -> None:
    rows = result.scalars["regions"]
    names = list(rows)[:_BARS]
    bars = [("area", "#bbbbbb", ""), ("share_of_error", COLOURS[5], "")]
    if any("lam_share" in row for row in rows.values()):
        bars.append(("lam_share", COLOURS[3], "///"))
    words = {"area": "of the area", "share_of_error": "of the squared error", "lam_share": "of the LAM's weight"}
    height = 0.8 / len(bars)
    for place, (key, colour, hatch) in enumerate(bars):
        values = [100 * rows[name].get(key, 0.0) for name in names]
        where = np.arange(len(names)) + (place - (len(bars) - 1) / 2) * height
        axes.barh(where, values, height, color=colour, hatch=hatch, edgecolor="white", label=words[key])
    chance = [100 * rows[name].get("share_by_chance", np.nan) for name in names]
    axes.plot(chance, range(len(names)), "|", color=INK, markersize=14, label="error share by chance")
    axes.set_yticks(range(len(names)), [plain(name, 18) for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("share, %", fontsize=8, color=INK)
    axes.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    _plain_axes(axes)


def _plain_axes(axes: Any) -> None:
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
