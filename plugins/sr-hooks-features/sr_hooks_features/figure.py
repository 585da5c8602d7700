"""The figure of features: channels on one scale, their composite, mean |activation|, and counts; and the films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, MapView, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, INK, pixels, plain

__all__ = ["features_figure", "features_film"]

_ROWS = 6  # layers that are drawn
_TILES = 64  # channels that are drawn, of each layer
_COUNTS = (("dead", COLOURS[5], ""), ("constant", COLOURS[1], "///"), ("saturated", COLOURS[4], "..."))


def features_figure(result: sr_hooks.Result, options: FigureOptions | None) -> Any:
    """Input and counts; then a row for each layer: channels, composite, mean |activation|."""
    rows = result.scalars["layers"]
    view = _view(result, options)
    panels = [
        view.image_panel("input", result.arrays["input"], "input", least=2.0, most=2.6),
        Panel("counts", partial(_counts, rows), aspect=0.4, least=4.0, weight=2.0, most=2.6, extra=0.3),
    ]
    for index in _spaced(len(rows)):
        panels += _layer(result, view, index, _limits(result.arrays[f"maps_{index}"]), zoomed=not index)
    name = plain(result.provenance["network"]["name"])
    return compose(panels, options, title=f"{name}: what do the channels look like?", notes=result.verdict, width=10)


def features_film(results: Sequence[sr_hooks.Result]) -> dict[str, list[np.ndarray]]:
    """Layer to its pictures, each with the iteration, on the scale of all iterations."""
    films: dict[str, list[np.ndarray]] = {}
    if not results:
        return films
    for index, row in enumerate(results[0].scalars["layers"]):
        usable = [r for r in results if f"maps_{index}" in r.arrays]
        limits = _limits(np.stack([np.abs(r.arrays[f"maps_{index}"]).max() * np.ones(1) for r in usable]))
        low = min(float(np.nanmin(r.arrays[f"maps_{index}"])) for r in usable)
        limits = (-limits[1] if low < 0 else 0.0, limits[1])
        pictures = []
        for result in usable:
            iteration = result.provenance.get("watch", {}).get("iteration", "?")
            title = f"{plain(_called(row))}, iteration {iteration}"
            pictures.append(
                pixels(compose(_layer(result, _view(result), index, limits), None, title=title, notes="", width=9))
            )
        films[_called(row)] = _same_size(pictures)
    return films


def _view(result: sr_hooks.Result, options: FigureOptions | None = None) -> MapView:
    """`crop` and `zoom` are stated in output pixels; older results have no size of the output."""
    image = result.arrays["input"]
    size = result.scalars.get("output_size") or image.shape[-2:]
    return MapView((int(size[0]), int(size[1])), options, image=image)


def _layer(
    result: sr_hooks.Result, view: MapView, index: int, limits: tuple[float, float], *, zoomed: bool = False
) -> list[Panel]:
    row = result.scalars["layers"][index]
    maps = _cropped(result.arrays[f"maps_{index}"][:_TILES], view)
    columns = max(round(np.sqrt(len(maps) * maps.shape[1] / maps.shape[2] * 2)), 1)
    shape = -(-len(maps) // columns) * maps.shape[1] / (columns * maps.shape[2])
    composite, activation = (result.arrays[f"{name}_{index}"] for name in ("composite", "activation"))
    words: dict[str, Any] = {"least": 1.6, "most": 3.2}
    largest = float(np.nanmax(activation)) or 1.0
    return [
        Panel(
            f"channels_{index}", partial(_mosaic, row, maps, columns, limits), aspect=shape, least=3.3, weight=2.0,
            most=3.6, starts_row=True,
        ),
        view.image_panel(
            f"composite_{index}", composite, f"3 components: {row['composite_share']:.0%} of variance", **words
        ),
        *view.map_panels(
            f"activation_{index}", activation, "mean |activation|", "mean over channels", largest=largest, unit=largest,
            power=1.0, zoomed=zoomed, extra=0.0, **words,
        ),
    ]  # fmt: skip


def _cropped(maps: np.ndarray, view: MapView) -> np.ndarray:
    """The part of (N,h,w) that the view's crop covers."""
    region = view.scaled(view.crop, maps.shape[-1])
    if region is None:
        return maps
    top, left = (min(int(start), side - 1) for start, side in zip(region[:2], maps.shape[1:], strict=True))
    height, width = (max(round(side), 1) for side in region[2:])
    return maps[:, top : top + height, left : left + width]


def _mosaic(row: Mapping[str, Any], maps: np.ndarray, columns: int, limits: tuple[float, float], slot: Slot) -> None:
    """The channels, row by row from the upper left in the order of `shown`; silent ones have a cross."""
    height, width = maps.shape[1:]
    lines = -(-len(maps) // columns)
    gap = max(round(width / 24), 1)  # pixels of the maps, so that it is seen in a small figure
    canvas = np.full((lines * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    dead = set(row["dead_channels"])
    for number, each in enumerate(maps):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        canvas[top : top + height, left : left + width] = each
        if row["shown"][number] in dead:
            ends = ([left, left + width - 1], [top, top + height - 1], [top + height - 1, top])
            for down in ends[1:]:
                slot.axes.plot(ends[0], down, color=COLOURS[5], linewidth=0.6)
    signed, largest = limits[0] < 0, limits[1]
    shown = slot.axes.imshow(
        canvas / largest, cmap=slot.look.signed_colormap if signed else slot.look.colormap,
        norm=slot.look.norm(1.0, signed=signed),
    )  # fmt: skip
    slot.axes.set_facecolor("white")
    slot.title(f"{plain(_called(row), 40)}: {len(maps)} of {row['channels']} channels")
    ticks = slot.look.ticks_of(1.0, signed=signed)
    bar = slot.bar(shown, "feature", ticks)
    bar.set_ticks(ticks, labels=[f"{tick * largest:.2g}" for tick in ticks])


def _counts(rows: Sequence[Mapping[str, Any]], slot: Slot) -> None:
    """Shares of channels that are dead, constant and saturated by layer; a mark is that of shuffled weights."""
    indices = _spaced(len(rows), 16)
    positions = np.arange(len(indices))
    height = 0.8 / len(_COUNTS)
    for place, (key, colour, hatch) in enumerate(_COUNTS):
        y = positions + (place - 1) * height
        values = [100 * rows[i][key] / max(rows[i]["channels"], 1) for i in indices]
        slot.axes.barh(y, values, height, color=colour, hatch=hatch, edgecolor="white", label=key)
        if f"control_{key}" in rows[0]:
            other = [100 * rows[i][f"control_{key}"] / max(rows[i]["channels"], 1) for i in indices]
            label = "weights shuffled" if place == 0 else None
            slot.axes.plot(other, y, "|", color=INK, markersize=7, label=label)
    if not any(row[key] for row in rows for key, *_ in _COUNTS):
        slot.axes.text(0.5, 0.5, "none", transform=slot.axes.transAxes, fontsize=slot.look.text, color=INK)
    slot.axes.set_yticks(positions, [plain(_called(rows[i]), 24) for i in indices])
    slot.axes.invert_yaxis()
    slot.axes.set_xlim(0, max(slot.axes.get_xlim()[1], 10.0))
    slot.axes.set_xlabel("channels, %", fontsize=slot.look.small, color=INK)
    slot.axes.set_title("dead, constant and saturated channels", fontsize=slot.look.text, color=INK)
    slot.axes.legend(fontsize=slot.look.small, frameon=False, loc="lower right")
    open_axes(slot.axes, slot.look)


def _limits(maps: np.ndarray) -> tuple[float, float]:
    """One scale of a layer: from 0, or symmetric about 0, to the largest |value| but for one in a thousand."""
    finite = maps[np.isfinite(maps)]
    if not finite.size:
        return 0.0, 1.0
    limit = float(np.quantile(np.abs(finite), 0.999)) or float(np.abs(finite).max()) or 1.0
    return (-limit if finite.min() < 0 else 0.0), limit


def _called(row: Mapping[str, Any]) -> str:
    return f"{row['layer']}, frame {row['frame']}" if "frame" in row else str(row["layer"])


def _spaced(count: int, most: int = _ROWS) -> list[int]:
    """At most so many of the numbers from 0, evenly spaced, the first and the last among them."""
    return sorted({round(value) for value in np.linspace(0, count - 1, min(most, count))})


def _same_size(pictures: list[np.ndarray]) -> list[np.ndarray]:
    height, width = (max(p.shape[axis] for p in pictures) for axis in (0, 1))
    return [
        np.pad(p, ((0, height - p.shape[0]), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures
    ]
