"""The figure of chunks: frames with their groups, PSNR by group, and how groups change from frame to frame."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, Look, MapView, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, INK, plain

__all__ = ["chunks_figure", "group_colours"]

_SHOWN = 3  # frames


def chunks_figure(result: sr_hooks.Result, options: FigureOptions) -> Any:
    """The first, the middle and the last frame above their groups; histogram, PSNR by group, shares by frame."""
    count = len(result.arrays["frames"])
    shown = sorted({0, count // 2, count - 1})[:_SHOWN]
    frames, maps = [], []
    for row, index in enumerate(shown, 1):
        image = result.arrays["frames"][index] / 255.0
        canvas = tuple(result.provenance["canvas"])
        view = MapView(canvas, options, image=image)
        width = (options.inches or 3.2 * max(len(shown), 2)) / max(len(shown), 2) - 0.01
        how: dict[str, Any] = {"least": min(width, 3.2), "extra": 0.35}
        frames.append(view.image_panel(f"frame_{row}", image, f"frame {index}", starts_row=row == 1, **how))
        draw = partial(_groups, view=view, result=result, index=index)
        maps.append(Panel(f"groups_{row}", draw, aspect=view.aspect, starts_row=row == 1, most=5.5, **how))
    plot: dict[str, Any] = {"aspect": 0.6, "most": 2.0, "extra": 0.3, "least": 1.9}
    plots = [
        Panel("histogram", partial(_histogram, result=result), starts_row=True, **plot),
        Panel("psnr", partial(_psnr, result=result), **plot),
    ]
    if count > 1:
        plots.append(Panel("shares", partial(_shares, result=result), **plot))
    title = f"{result.provenance['network']['name']}: a clip's patches in {len(result.scalars['groups'])} groups"
    return compose([*frames, *maps, *plots], options, title=title, notes=result.verdict, width=3.2 * max(len(shown), 2))


def group_colours(look: Look, count: int) -> list[Any]:
    """A colour for each group, from the map's colours: dark for the hardest."""
    import matplotlib

    colours = matplotlib.colormaps[look.colormap] if isinstance(look.colormap, str) else look.colormap
    return [colours(value) for value in np.linspace(0, 1, count)]


def _groups(slot: Slot, view: MapView, result: sr_hooks.Result, index: int) -> None:
    count = len(result.scalars["groups"])
    drawn = view.draw_map(
        slot.axes, slot.look, result.arrays["groups"][index].astype(np.float64), view.crop, ends=(0.0, count - 1.0),
        power=1.0, canvas=view.size, pixel=float(result.provenance["patch_in_output_pixels"]),
    )  # fmt: skip
    slot.title(f"groups of frame {index}")
    numbers = np.unique(np.linspace(0, count - 1, min(count, 8)).round())
    bar = slot.bar(drawn, "group, 1 is the hardest", [number / (count - 1) for number in numbers])
    bar.set_ticks([number / (count - 1) for number in numbers], labels=[f"{number + 1:g}" for number in numbers])


def _histogram(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look, values = slot.axes, slot.look, result.arrays["psnr"]
    finite = values[np.isfinite(values)]
    edges = np.linspace(finite.min(), max(finite.max(), finite.min() + 0.5), 30)
    rows = result.scalars["groups"]
    members = [values[result.arrays["group"] == row["group"]] for row in rows]
    colours = group_colours(look, len(rows))
    axes.hist(members, edges, stacked=True, color=colours, edgecolor=INK, linewidth=0.3)
    axes.set_xlabel("PSNR of a patch, dB", fontsize=look.small, color=INK)
    axes.set_ylabel("patches", fontsize=look.small, color=INK)
    axes.yaxis.get_major_locator().set_params(integer=True)
    open_axes(axes, look)


def _psnr(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look, rows = slot.axes, slot.look, result.scalars["groups"]
    numbers = np.arange(1, len(rows) + 1)
    lines = {"network": [row["psnr"] for row in rows], "bicubic": [row["psnr"] - row["gain"] for row in rows]}
    lines |= {name: [row["psnr"] + row["gains"][name]["mean"] for row in rows] for name in result.scalars["others"]}
    for number, (name, values) in enumerate(lines.items()):
        style = {"color": COLOURS[number % 8], "marker": "os^DvPX*"[number % 8], "markersize": 4, "linewidth": 1.1}
        axes.plot(numbers, values, linestyle=":" if name == "bicubic" else "-", label=plain(name, 24), **style)
    axes.set_xticks(numbers if len(numbers) <= 8 else numbers[:: -(-len(numbers) // 8)])
    axes.set_xlabel("group", fontsize=look.small, color=INK)
    axes.set_ylabel("PSNR, dB", fontsize=look.small, color=INK)
    axes.legend(fontsize=look.small, frameon=False)
    open_axes(axes, look)


def _shares(slot: Slot, result: sr_hooks.Result) -> None:
    """How many of each frame's patches are in each group."""
    axes, look, groups = slot.axes, slot.look, result.arrays["groups"]
    flat, count = groups.reshape(len(groups), -1), len(result.scalars["groups"])
    shares = np.stack([(flat == number).mean(axis=1) for number in range(count)]) * 100
    frames, start = np.arange(len(groups)), np.zeros(len(groups))
    for number, colour in enumerate(group_colours(look, count)):
        axes.bar(frames, shares[number], bottom=start, width=1.0, color=colour, edgecolor=INK, linewidth=0.2)
        start = start + shares[number]
    axes.set_xlabel("frame", fontsize=look.small, color=INK)
    axes.set_ylabel("share of patches, %", fontsize=look.small, color=INK)
    axes.xaxis.get_major_locator().set_params(integer=True)
    open_axes(axes, look)
