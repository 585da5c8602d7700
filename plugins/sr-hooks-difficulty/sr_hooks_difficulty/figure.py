"""The figure of a difficulty map: where patches are hard, what they cost, and how many there are of each class."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, MapView, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import INK, plain

__all__ = ["difficulty_figure"]

COLOURS = {"hard": "#D55E00", "medium": "#E69F00", "easy": "#0072B2"}  # Okabe and Ito
HATCHES = {"hard": "xxx", "medium": "///", "easy": ""}
_PARTS = 5  # named in the figure
_LOWEST, _HIGHEST = 15.0, 50.0  # dB beyond which the map's colours say no more


def difficulty_figure(result: sr_hooks.Result, options: FigureOptions) -> Any:
    """Up to three images with classes and PSNR, and their compute where it varies; histogram, shares, costly layers."""
    panels: list[Panel] = []
    for row, name in enumerate(sorted(key for key in result.arrays if key.startswith("image_")), 1):
        panels += _image_panels(result, int(name.removeprefix("image_")), options, row)
    plot: dict[str, Any] = {"aspect": 0.6, "most": 1.9, "extra": 0.3, "least": 1.8}
    panels += [
        Panel("histogram", partial(_histogram, result=result), starts_row=True, **plot),
        Panel("shares", partial(_shares, result=result), **plot),
        Panel("layers", partial(_layers, result=result), **{**plot, "least": 2.2}),
    ]
    title = f"{result.provenance['network']['name']}: which patches are hard, and what do they cost?"
    width = 3.2 * (3 if result.scalars["compute_varies"] else 2)
    return compose(panels, options, title=title, notes=result.verdict, width=width)


def _image_panels(result: sr_hooks.Result, index: int, options: FigureOptions, row: int) -> list[Panel]:
    """The classes, the PSNR and, where it varies, the compute of one image; the panels' names end with its number."""
    image = result.arrays[f"image_{index}"] / 255.0
    view = MapView(image.shape[-2:], options, image=image)
    columns = 3 if result.scalars["compute_varies"] else 2
    room = options.inches or 3.2 * columns
    wide = room / (columns if room > 4 else 2) - 0.01  # the panels of an image stand in one row
    panels = [
        view.image_panel(
            f"classes_{row}", image, "patches by class", after=partial(_marks, result=result, index=index), least=wide,
            extra=0.35, starts_row=True,
        )
    ]  # fmt: skip
    everything = result.arrays["psnr"]  # one scale for all images
    low, high = max(float(everything.min()), _LOWEST), min(float(everything.max()), _HIGHEST)
    low, high = (low, high) if low < high else (low - 1, low + 1)
    panels += view.map_panels(
        f"psnr_{row}", result.arrays[f"psnr_map_{index}"], "PSNR, mean of a pixel's patches", "dB",
        ends=(low, high), power=1.0, zoomed=False, least=wide,
    )  # fmt: skip
    if result.scalars["compute_varies"]:
        highest = float((result.arrays["macs"] / result.arrays["macs"].mean()).max())
        panels += view.map_panels(
            f"compute_{row}", result.arrays[f"compute_map_{index}"], "compute, mean of a pixel's patches",
            "times the mean patch", largest=highest, unit=highest, power=1.0, zoomed=False, least=wide,
        )  # fmt: skip
    return panels


def _marks(slot: Slot, result: sr_hooks.Result, index: int) -> None:
    side = result.provenance["patch_in_output_pixels"]
    for (number, top, left), kind in zip(result.arrays["where"], result.arrays["classes"], strict=True):
        if number == index:
            _mark(slot.axes, top, left, side, list(COLOURS)[kind])


def _mark(axes: Any, top: int, left: int, side: int, kind: str) -> None:
    """A tinted square in the patch's middle, its class; squares of patches that overlap do not."""
    from matplotlib.patches import Rectangle

    inset = 0.14 * side
    place, size = (left + inset, top + inset), side - 2 * inset
    axes.add_patch(Rectangle(place, size, size, facecolor=COLOURS[kind], alpha=0.15, linewidth=0))
    hatch = "xx" if kind == "hard" else None  # told from medium without colour too
    axes.add_patch(Rectangle(place, size, size, fill=False, edgecolor=COLOURS[kind], linewidth=1.1, hatch=hatch))


def _histogram(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look = slot.axes, slot.look
    values, kinds = result.arrays["psnr"], result.arrays["classes"]
    edges = np.linspace(values.min(), max(values.max(), values.min() + 0.5), 25)
    for kind, name in enumerate(COLOURS):
        axes.hist(values[kinds == kind], edges, color=COLOURS[name], hatch=HATCHES[name], edgecolor="white", label=name)
    for threshold in result.provenance["options"]["thresholds"]:
        axes.axvline(threshold, color=INK, linewidth=0.8, linestyle="--")
    axes.set_xlabel("PSNR of a patch, dB", fontsize=look.small, color=INK)
    axes.set_ylabel("patches", fontsize=look.small, color=INK)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=look.small, frameon=False)
    open_axes(axes, look)


def _shares(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look = slot.axes, slot.look
    names = list(COLOURS)
    for row, (label, prefix) in enumerate((("of patches", ""), ("of compute", "compute_"))):
        start = 0.0
        for name in names:
            share = 100 * (result.scalars[prefix + name] or 0)
            axes.barh(row, share, left=start, height=0.6, color=COLOURS[name], hatch=HATCHES[name], edgecolor="white")
            if share >= 8:
                axes.text(
                    start + share / 2, row, f"{share:.0f} %", ha="center", va="center", fontsize=look.small,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85},
                )  # fmt: skip
            start += share
        axes.text(0, row - 0.42, label, fontsize=look.small, color=INK, va="bottom")
    axes.set_yticks([])
    axes.set_ylim(1.5, -0.85)
    axes.set_xlim(0, 100)
    axes.set_xlabel(
        f"share, %; {result.scalars['gmacs_a_patch']:.3g} GMAC a patch on average", fontsize=look.small, color=INK
    )
    open_axes(axes, look)


def _layers(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look = slot.axes, slot.look
    rows = _grouped(result.scalars["layers"])
    names = [name if len(name) <= 24 else "..." + name[-21:] for name in rows]
    axes.barh(range(len(rows)), [100 * share for share in rows.values()], color="#999999", height=0.7)
    axes.set_yticks(range(len(rows)), [plain(name) for name in names], fontsize=look.small)
    axes.invert_yaxis()
    axes.set_xlabel("share of the compute, %", fontsize=look.small, color=INK)
    open_axes(axes, look)


def _grouped(layers: list[dict[str, Any]]) -> dict[str, float]:
    """Share by the first part of the layers' names, or by as many parts as it takes to have more than one group."""
    for depth in range(1, 5):
        sums: dict[str, float] = {}
        for layer in layers:
            name = ".".join(layer["layer"].split(".")[:depth])
            sums[name] = sums.get(name, 0.0) + layer["share"]
        if len(sums) > 1:
            break
    ordered = sorted(sums.items(), key=lambda item: -item[1])
    first, rest = dict(ordered[:_PARTS]), ordered[_PARTS:]
    return first | ({f"{len(rest)} others": sum(share for _, share in rest)} if rest else {})
