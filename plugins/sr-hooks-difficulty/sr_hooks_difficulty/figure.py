"""The figure of a difficulty map: where patches are hard, what they cost, and how many there are of each class."""

from __future__ import annotations

from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures.style import INK, MAP_COLOURS, caption, colour_bar, image_of, new_figure, panel, plain

__all__ = ["difficulty_figure"]

COLOURS = {"hard": "#D55E00", "medium": "#E69F00", "easy": "#0072B2"}  # Okabe and Ito
HATCHES = {"hard": "xxx", "medium": "///", "easy": ""}
_PARTS = 5  # named in the figure
_LOWEST, _HIGHEST = 15.0, 50.0  # dB beyond which the map's colours say no more


def difficulty_figure(result: sr_hooks.Result) -> Any:
    """Up to three images with classes and PSNR, and their compute where it varies; histogram, shares, costly layers."""
    shown = [int(key.removeprefix("image_")) for key in result.arrays if key.startswith("image_")]
    columns = 3 if result.scalars["compute_varies"] else 2
    figure = new_figure(3.0 * columns + 3.8, 1.0 + max(2.7 * len(shown), 5.6))
    maps, sums = figure.subfigures(1, 2, width_ratios=[3.0 * columns, 3.8])
    for row, index in zip(maps.subplots(len(shown), columns, squeeze=False), shown, strict=True):
        _row(maps, row, result, index)
    upper, middle, lower = sums.subplots(3, 1, height_ratios=[1.25, 0.8, 1.1])
    _histogram(upper, result)
    _shares(middle, result)
    _layers(lower, result)
    name = plain(result.provenance["network"]["name"])
    title = f"{name}: which patches are hard, and what do they cost?"
    figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left")
    caption(figure, result.verdict, width=55 * columns)
    return figure


def _row(figure: Any, row: Any, result: sr_hooks.Result, index: int) -> None:
    row[0].imshow(image_of(result.arrays[f"image_{index}"] / 255.0))
    panel(row[0], "patches by class")
    side = result.provenance["patch_in_output_pixels"]
    for (number, top, left), kind in zip(result.arrays["where"], result.arrays["classes"], strict=True):
        if number == index:
            _mark(row[0], top, left, side, list(COLOURS)[kind])
    values = result.arrays[f"psnr_map_{index}"]
    everything = result.arrays["psnr"]  # one scale for all images
    low, high = max(float(everything.min()), _LOWEST), min(float(everything.max()), _HIGHEST)
    low, high = (low, high) if low < high else (low - 1, low + 1)
    drawn = row[1].imshow(values, cmap="cividis", vmin=low, vmax=high)
    panel(row[1], "PSNR, mean of a pixel's patches")
    colour_bar(figure, drawn, row[1], "dB", [*np.linspace(np.ceil(10 * low), np.floor(10 * high), 4).round() / 10])
    if len(row) == 3:
        highest = float((result.arrays["macs"] / result.arrays["macs"].mean()).max())
        drawn = row[2].imshow(result.arrays[f"compute_map_{index}"], cmap=MAP_COLOURS, vmin=0, vmax=highest)
        panel(row[2], "compute, mean of a pixel's patches")
        colour_bar(figure, drawn, row[2], "times the mean patch", [0, 1, round(highest, 2)])


def _mark(axes: Any, top: int, left: int, side: int, kind: str) -> None:
    """A tinted square in the patch's middle, its class; squares of patches that overlap do not."""
    from matplotlib.patches import Rectangle

    inset = 0.14 * side
    place, size = (left + inset, top + inset), side - 2 * inset
    axes.add_patch(Rectangle(place, size, size, facecolor=COLOURS[kind], alpha=0.15, linewidth=0))
    hatch = "xx" if kind == "hard" else None  # told from medium without colour too
    axes.add_patch(Rectangle(place, size, size, fill=False, edgecolor=COLOURS[kind], linewidth=1.1, hatch=hatch))


def _histogram(axes: Any, result: sr_hooks.Result) -> None:
    values, kinds = result.arrays["psnr"], result.arrays["classes"]
    edges = np.linspace(values.min(), max(values.max(), values.min() + 0.5), 25)
    for kind, name in enumerate(COLOURS):
        axes.hist(values[kinds == kind], edges, color=COLOURS[name], hatch=HATCHES[name], edgecolor="white", label=name)
    for threshold in result.provenance["options"]["thresholds"]:
        axes.axvline(threshold, color=INK, linewidth=0.8, linestyle="--")
    axes.set_xlabel("PSNR of a patch, dB", fontsize=8, color=INK)
    axes.set_ylabel("patches", fontsize=8, color=INK)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=7, frameon=False)
    _plain_axes(axes)


def _shares(axes: Any, result: sr_hooks.Result) -> None:
    names = list(COLOURS)
    for row, (label, prefix) in enumerate((("of patches", ""), ("of compute", "compute_"))):
        start = 0.0
        for name in names:
            share = 100 * (result.scalars[prefix + name] or 0)
            axes.barh(row, share, left=start, height=0.6, color=COLOURS[name], hatch=HATCHES[name], edgecolor="white")
            if share >= 8:
                axes.text(
                    start + share / 2, row, f"{share:.0f} %", ha="center", va="center", fontsize=8,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85},
                )  # fmt: skip
            start += share
        axes.text(0, row - 0.42, label, fontsize=8, color=INK, va="bottom")
    axes.set_yticks([])
    axes.set_ylim(1.5, -0.85)
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"share, %; {result.scalars['gmacs_a_patch']:.3g} GMAC a patch on average", fontsize=8, color=INK)
    _plain_axes(axes)


def _layers(axes: Any, result: sr_hooks.Result) -> None:
    rows = _grouped(result.scalars["layers"])
    names = [name if len(name) <= 24 else "..." + name[-21:] for name in rows]
    axes.barh(range(len(rows)), [100 * share for share in rows.values()], color="#999999", height=0.7)
    axes.set_yticks(range(len(rows)), [plain(name) for name in names], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("share of the compute by part of the network, %", fontsize=8, color=INK)
    _plain_axes(axes)


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


def _plain_axes(axes: Any) -> None:
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
