"""The figure: regions, signed errors of all networks on one symmetric scale, PSNR and error shares by region."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, MapView, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, HATCHES, INK, image_of, plain

__all__ = ["regions_figure"]

_BARS = 8  # regions whose bars are drawn
_WIDE = 2.6  # inches of an image, at least


def regions_figure(result: sr_hooks.Result, options: FigureOptions | None = None) -> Any:
    """For each image a row of regions and errors; below, bars by region.

    Panels: `regions_<i>` and `error_<i>_<n>` of image i and network n, as the arrays are called; `psnr`, `shares`.
    """
    options = options or FigureOptions()
    panels: list[Panel] = []
    for key in sorted(key for key in result.arrays if key.startswith("image_")):
        panels += _image_panels(result, int(key.removeprefix("image_")), options, zoomed=not panels)
    bars: dict[str, Any] = {"aspect": 0.5, "most": 2.4, "extra": 0.5, "least": 3.0, "weight": 1.5}
    panels += [
        Panel("psnr", partial(_psnr, result), starts_row=True, **bars),
        Panel("shares", partial(_shares, result), **bars),
    ]
    width = _WIDE * min(1 + len(result.scalars["networks"]), 5)
    title = "Where in the image are the errors?"
    return compose(panels, options, title=title, notes=result.verdict, width=max(width, 7.5))


def _image_panels(result: sr_hooks.Result, index: int, options: FigureOptions, *, zoomed: bool) -> list[Panel]:
    image = image_of(result.arrays[f"image_{index}"] / 255.0)
    numbers = result.arrays[f"labels_{index}"]
    palette = np.array([_colour(number) for number in range(int(numbers.max()) + 1)])
    tinted = np.moveaxis(0.5 * image.mean(axis=2, keepdims=True) + 0.5 * palette[numbers], 2, 0)
    view = MapView(numbers.shape, options, image=np.moveaxis(image, 2, 0))
    legend = partial(_legend, result=result) if zoomed else None
    layout: dict[str, Any] = {"least": 2.2, "extra": 0.1, "most": 0.8 * _WIDE * view.aspect}  # a bar is beside a map
    panels = [view.image_panel(f"regions_{index}", tinted, "regions", after=legend, starts_row=True, **layout)]
    for place, name in enumerate(result.scalars["networks"]):
        panels += view.map_panels(
            f"error_{index}_{place}", result.arrays[f"error_{index}_{place}"], f"error of {plain(name, 28)}",
            "output - truth, white is 1", signed=True, largest=result.scalars["limit"], unit=result.scalars["limit"],
            power=1.0, zoomed=zoomed and place == 0, **layout,
        )  # fmt: skip
    return panels


def _legend(slot: Slot, result: sr_hooks.Result) -> None:
    from matplotlib.patches import Patch

    names = [(i, name) for i, name in enumerate(result.scalars["names"]) if name in result.scalars["regions"]]
    handles = [Patch(color=_colour(i), label=plain(name, 20)) for i, name in names[:_BARS]]
    slot.axes.legend(
        handles=handles, fontsize=slot.look.small, loc="lower left", framealpha=0.85, borderpad=0.3, handlelength=1
    )


def _colour(number: int) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return to_rgb(COLOURS[number % len(COLOURS)])


def _psnr(result: sr_hooks.Result, slot: Slot) -> None:
    networks = list(result.scalars["networks"])
    names = list(result.scalars["regions"])[:_BARS]
    height = 0.8 / len(networks)
    lowest, highest = np.inf, -np.inf
    for place, network in enumerate(networks):
        rows = result.scalars["networks"][network]
        values = [rows[name]["psnr"] if name in rows else 0.0 for name in names]
        lowest, highest = min(lowest, *values), max(highest, *values)
        where = np.arange(len(names)) + (place - (len(networks) - 1) / 2) * height
        slot.axes.barh(
            where, values, height, color=COLOURS[(place + 1) % len(COLOURS)], hatch=HATCHES[place % len(HATCHES)],
            edgecolor="white", label=plain(network, 28),
        )  # fmt: skip
        for y, value in zip(where, values, strict=True):
            slot.axes.text(value, y, f" {value:.1f}", va="center", fontsize=slot.look.small, color=INK)
    slot.axes.set_xlim(max(lowest - 6, 0), highest + 0.25 * (highest - max(lowest - 6, 0)))
    _finish(slot, names, "PSNR of the region, dB", legend=len(networks) > 1)


def _shares(result: sr_hooks.Result, slot: Slot) -> None:
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
        slot.axes.barh(where, values, height, color=colour, hatch=hatch, edgecolor="white", label=words[key])
    chance = [100 * rows[name].get("share_by_chance", np.nan) for name in names]
    slot.axes.plot(chance, range(len(names)), "|", color=INK, markersize=14, label="error share by chance")
    _finish(slot, names, "share, %")


def _finish(slot: Slot, names: list[str], label: str, *, legend: bool = True) -> None:
    slot.axes.set_yticks(range(len(names)), [plain(name, 18) for name in names])
    slot.axes.invert_yaxis()
    slot.axes.set_xlabel(label, fontsize=slot.look.small, color=INK)
    if legend:
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2}
        slot.axes.legend(fontsize=slot.look.small, frameon=False, **place)
    open_axes(slot.axes, slot.look)
