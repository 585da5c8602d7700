"""The figures of DDR: of one result, and of every iteration of a training run on the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sr_hooks.figures.options import FigureOptions
from sr_hooks.figures.panels import Panel, Slot, compose
from sr_hooks.figures.style import INK, image_of, new_figure, pixels, plain
from sr_hooks.results.result import iteration_of
from sr_hooks.statistics.random_projection import principal_frame
from sr_hooks.statistics.sketched_pca import are_many

if TYPE_CHECKING:
    from sr_hooks.analyses.ddr.result import DdrResult, LayerSeparability

__all__ = ["CLASS_COLOURS", "CLASS_MARKERS", "common_frame", "ddr_figure", "ddr_film", "hull", "scatter"]

# Okabe and Ito's colours, told apart by colour-blind eyes; with the markers, in print without colour too.
CLASS_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
CLASS_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DRAWN = 500  # points of each class, where there are very many
_MOST = 4  # scatters; of more layers, the most separated one and some from first to last
_MOST_LAYERS = 4  # of a training run's pictures
_MOST_PAIRS = 10
_FEW = 4  # classes, up to which there is room for filled hulls and a legend inside
_LEAST = 1e-2  # where the axes of indices begin


def ddr_figure(result: DdrResult, options: FigureOptions | None = None) -> Any:
    """One network input of each class, scatters, the index of every pair of classes; below, the index over depth.

    The panels are called examples, scatter_1, scatter_2, ..., pairs and depth.
    """
    layers = result.layers
    best = max(range(len(layers)), key=lambda i: (layers[i].chi or 0.0, i))
    others = [i for i in range(len(layers)) if i != best]
    spread = {others[round(i)] for i in np.linspace(0, len(others) - 1, min(len(others), _MOST - 1))}
    shown = sorted({best, *spread})
    columns = 1 + (len(result.classes) > _FEW)
    rows = -(-len(result.classes) // columns)
    aspect = 1.1 * rows / columns
    panels = [Panel("examples", partial(_examples, result), aspect=aspect, least=1.1, weight=1.2, most=3.6)]
    panels += [
        Panel(f"scatter_{number}", partial(_layer, result, index, first=number == 1), least=2.3, weight=3.3, most=3.6)
        for number, index in enumerate(shown, 1)
    ]
    panels.append(Panel("pairs", partial(_pairs, layers[best]), least=2.4, weight=3.0, most=3.6, extra=0.5))
    width = 3.2 + 3.3 * len(shown) + 3.4
    if len(layers) > 1:
        room = (options.inches if options else None) or width
        panels.append(Panel("depth", partial(_depth, layers), aspect=2.0 / room, least=room, extra=0.7))
    name = result.provenance["network"]["name"]
    title = f"{name}: do features cluster by degradation?"
    return compose(panels, options, title=title, notes=result.verdict, width=width)


def _layer(result: DdrResult, index: int, slot: Slot, *, first: bool) -> None:
    scatter(slot.axes, result, index, points=slot.look.small)
    slot.axes.title.set_fontsize(slot.look.text)
    if first:
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 3, "frameon": False}
        few = len(result.classes) <= _FEW
        slot.axes.legend(fontsize=slot.look.small, **({"loc": "best", "framealpha": 0.8} if few else below))


def _examples(result: DdrResult, slot: Slot) -> None:
    columns = 1 + (len(result.classes) > _FEW)
    axes = slot.grid(-(-len(result.classes) // columns), columns).ravel()
    for unused in axes[len(result.classes) :]:
        unused.set_axis_off()
    for k, (name, image) in enumerate(zip(result.classes, result.arrays["examples"], strict=True)):
        axes[k].imshow(image_of(image), interpolation="nearest")
        slot.title(plain(name), axes[k])
        axes[k].title.set_fontsize(slot.look.small)
        for spine in axes[k].spines.values():
            spine.set(color=CLASS_COLOURS[k % len(CLASS_COLOURS)], linewidth=2)


def hull(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull of (n,2) points, closed; (0,2) where they span no area."""
    points = np.unique(points, axis=0)
    if len(points) < 3:
        return np.zeros((0, 2))
    chains = []
    for ordered in (points, points[::-1]):  # Andrew's monotone chain: lower hull, then upper
        chain: list[np.ndarray] = []
        for point in ordered:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        chains += chain[:-1]
    return np.array([*chains, chains[0]]) if len(chains) > 2 else np.zeros((0, 2))


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def scatter(
    axes: Any, result: DdrResult, index: int, coordinates: np.ndarray | None = None, *, points: float = 7
) -> None:
    """One layer's points by class, with hulls, and its index in the title."""
    layer = result.layers[index]
    places = result.coordinates(layer.layer) if coordinates is None else coordinates
    many = are_many(len(places))
    for k, name in enumerate(result.classes):
        points_of_class = places[result.arrays["labels"] == k]
        colour = CLASS_COLOURS[k % len(CLASS_COLOURS)]
        corners = hull(points_of_class)
        if len(corners):
            if len(result.classes) <= _FEW:
                axes.fill(corners[:, 0], corners[:, 1], facecolor=colour, alpha=0.12, linewidth=0)
            axes.plot(corners[:, 0], corners[:, 1], color=colour, linewidth=0.6, alpha=0.5)
        drawn = points_of_class[:: -(-len(points_of_class) // _DRAWN) if many else 1]
        axes.scatter(
            drawn[:, 0],
            drawn[:, 1],
            s=14,
            color=colour,
            marker=CLASS_MARKERS[(k + k // len(CLASS_COLOURS)) % len(CLASS_MARKERS)],  # no pair comes twice
            label=plain(name),
            linewidth=0,
            alpha=0.85,
        )
    embedded = len(result.arrays.get(f"tsne_{index}", ())) > 0
    framed = coordinates is not None or f"frame_{index}" in result.arrays
    for number, write in enumerate((axes.set_xlabel, axes.set_ylabel)):
        share = f", {layer.explained[number]:.0%} of variance" if len(layer.explained) > number else ""
        text = f"axis {number + 1} of the run" if framed else f"component {number + 1}{share}"
        write(f"t-SNE {number + 1}, no unit" if embedded and coordinates is None else text, fontsize=points)
    some = f"\nat most {_DRAWN} points of each class are drawn; outlines hold all" if many else ""
    axes.set_title(_title(layer) + some, fontsize=9, color=INK)
    axes.tick_params(labelsize=max(points - 1, 6))
    axes.margins(0.06)


def _title(layer: LayerSeparability) -> str:
    name = plain(layer.layer)
    if layer.chi is None:
        return f"{name}\nCHI undefined"
    interval = f" ({layer.low:.3g} to {layer.high:.3g})" if layer.low is not None else ""
    chance = "" if layer.p is None else (", p < 0.01" if layer.p < 0.01 else f", p = {layer.p:.2g}")
    return f"{name}\nCHI {layer.chi:.3g}{interval}{chance}"


def _pairs(layer: LayerSeparability, slot: Slot) -> None:
    """A layer's index for all classes and every two of them, on a logarithmic axis, against the null."""
    from matplotlib.ticker import NullFormatter

    axes, small = slot.axes, slot.look.small

    rows = [(plain(key.replace("|", " / ")), pair["chi"]) for key, pair in (layer.pairs or {}).items()]
    if len(rows) > _MOST_PAIRS:  # then the first class, usually clean, against each other: they come first
        first = next(iter(layer.pairs or {})).split("|")[0]
        rows = [(name, value) for name, value in rows if name.startswith(plain(first) + " / ")]
    rows = [("all", layer.chi), *rows] if len(rows) > 1 else rows
    for at, (_, value) in enumerate(rows):
        if value is None:
            axes.text(0.02, at, "undefined", fontsize=small, va="center", transform=axes.get_yaxis_transform())
            continue
        position = max(value, _LEAST)
        axes.plot([position], [at], "o", color=INK, markersize=5)
        axes.annotate(f"{value:.3g}", (position, at), (0, 5), textcoords="offset points", fontsize=small, ha="center")
    if layer.low is not None and layer.high is not None:
        axes.plot([max(layer.low, _LEAST), max(layer.high, _LEAST)], [0, 0], color=INK, linewidth=1.5)
    if layer.null_95 is not None:
        axes.axvline(layer.null_95, color="#D55E00", linestyle="--", linewidth=1, label="95 % of shuffled labels")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=small, frameon=False)
    known = [max(value, _LEAST) for value in (layer.low, layer.null_95, *(v for _, v in rows)) if value is not None]
    axes.set_xscale("log")
    ends = min(known, default=1) / 1.3, max(known, default=1) * 2
    axes.set_xlim(10 ** np.floor(np.log10(ends[0])), 10 ** np.ceil(np.log10(ends[1])))  # whole decades, so labelled
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.12)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=small)
    axes.invert_yaxis()
    axes.set_xlabel("CHI on principal components", fontsize=small)
    axes.tick_params(labelsize=small)
    axes.grid(axis="x", linewidth=0.4, alpha=0.5)
    axes.set_title(f"which differ?\n{plain(layer.layer)}", fontsize=slot.look.text, color=INK)


def _depth(layers: tuple[LayerSeparability, ...], slot: Slot) -> None:
    """CHI layer by layer in the order of the network, with interval and null."""
    axes, small = slot.axes, slot.look.small
    at = np.arange(len(layers))

    def column(name: str) -> np.ndarray:
        values = np.array([np.nan if getattr(layer, name) is None else getattr(layer, name) for layer in layers], float)
        return cast("np.ndarray", np.maximum(values, _LEAST))

    axes.fill_between(at, column("low"), column("high"), color="#0072B2", alpha=0.2, linewidth=0, label="95 % interval")
    axes.plot(at, column("chi"), "o-", color="#0072B2", markersize=3.5, linewidth=1.2, label="CHI")
    axes.plot(at, column("null_95"), "--", color="#D55E00", linewidth=1, label="95 % of shuffled labels")
    axes.set_yscale("log")
    axes.set_xlim(-0.5, len(layers) - 0.5)
    step = max(-(-len(layers) // max(int(4.5 * slot.look.width), 1)), 1)
    names = [plain(layer.layer) for layer in layers[::step]]
    axes.set_xticks(at[::step], names, rotation=60, ha="right", fontsize=small)
    axes.set_ylabel("Calinski-Harabasz index", fontsize=slot.look.text)
    axes.set_xlabel("layer, in the order in which they run", fontsize=slot.look.text)
    axes.tick_params(axis="y", labelsize=small)
    axes.grid(linewidth=0.4, alpha=0.5)
    axes.legend(fontsize=small, loc="best", framealpha=0.8)


def common_frame(results: Sequence[DdrResult], index: int) -> list[np.ndarray]:
    """For each result (n,2): a layer's sketches on the two principal axes of all results' sketches together."""
    sketches = [result.arrays[f"sketch_{index}"].astype(np.float64) for result in results]
    mean, axes = principal_frame(np.concatenate(sketches))
    return [(sketch - mean) @ axes for sketch in sketches]


def ddr_film(results: Sequence[DdrResult]) -> list[np.ndarray]:
    """One (H,W,3) uint8 picture for each result of a training run that has a sketch; [] where none has.

    At most four layers are shown, from the first to the last. Results of other layers or classes than the last one's
    (the option file was changed in between) are left out.
    """
    whole = [result for result in results if "sketch_0" in result.arrays]
    alike = [r for r in whole if _subject(r) == _subject(whole[-1])]
    if not alike:
        return []
    count = len(alike[-1].layers)
    shown = sorted({round(i) for i in np.linspace(0, count - 1, min(count, _MOST_LAYERS))})
    frames = {index: common_frame(alike, index) for index in shown}
    return [pixels(_training_picture(alike, at, frames)) for at in range(len(alike))]


def _subject(result: DdrResult) -> tuple[Any, ...]:
    return result.classes, tuple(layer.layer for layer in result.layers), len(result.arrays["labels"])


def _training_picture(results: Sequence[DdrResult], at: int, frames: dict[int, list[np.ndarray]]) -> Any:
    figure = new_figure(max(3.4 * len(frames), 5.0), 5.6)
    figure.set_dpi(100)
    rows = figure.subfigures(2, 1, height_ratios=[3.6, 2.0])
    panels = np.atleast_1d(rows[0].subplots(1, len(frames)))
    for axes, (index, coordinates) in zip(panels, frames.items(), strict=True):
        scatter(axes, results[at], index, coordinates[at])
        everywhere = np.concatenate(coordinates)
        low, high = everywhere.min(axis=0), everywhere.max(axis=0)
        margin = 0.06 * np.maximum(high - low, 1e-9)
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    panels[0].legend(loc="upper right", fontsize=7, framealpha=0.8)
    _training_curve(rows[1].subplots(), results, at, list(frames))
    name = results[at].provenance["network"]["name"]
    figure.suptitle(
        plain(f"{name} at iteration {iteration_of(results[at])}"), fontsize=11, color=INK, x=0.01, ha="left"
    )
    return figure


def _training_curve(axes: Any, results: Sequence[DdrResult], at: int, shown: Sequence[int]) -> None:
    iterations = [iteration_of(result) or 0 for result in results]
    for colour, index in zip(CLASS_COLOURS, shown, strict=False):
        values = [np.nan if (chi := result.layers[index].chi) is None else max(chi, 1e-2) for result in results]
        axes.plot(iterations, values, "-", color=colour, linewidth=1, alpha=0.35)
        name = plain(results[at].layers[index].layer)
        axes.plot(iterations[: at + 1], values[: at + 1], "o-", color=colour, markersize=3.5, linewidth=1.4, label=name)
    axes.axvline(iterations[at], color=INK, linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel("iteration", fontsize=8)
    axes.set_ylabel("Calinski-Harabasz index", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(linewidth=0.4, alpha=0.5)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
