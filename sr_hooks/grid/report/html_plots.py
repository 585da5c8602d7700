"""Coordinates of points, bars and ticks in the HTML report's plots; the template draws them as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.analyses.faig.result import FaigResult

__all__ = ["COLOURS", "Bar", "Histogram", "Point", "Scatter", "histogram_of", "scatters_of"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")  # Okabe and Ito
_SHAPES = ("circle", "square", "triangle", "diamond")
_TOP = 0.01  # of the filters


@dataclass(frozen=True)
class Point:
    """One feature: its position in the plot, shape, colour, and the text of its tooltip."""

    x: float
    y: float
    shape: str
    colour: str
    tip: str


@dataclass(frozen=True)
class Scatter:
    """The scatter plot of one layer of a DDR. `legend` is (name, shape, colour) of each class."""

    layer: str
    summary: str
    points: tuple[Point, ...]
    legend: tuple[tuple[str, str, str], ...]
    axes: tuple[str, str]
    width: int = 460
    height: int = 380


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    colour: str
    tip: str


@dataclass(frozen=True)
class Histogram:
    """The number of top 1 % filters in each layer. `names` are (x, layer), `ticks` are (y, count)."""

    bars: tuple[Bar, ...]
    names: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, int], ...]
    legend: tuple[tuple[str, str, str], ...]
    width: int
    height: int
    base: float


def scatters_of(result: DdrResult) -> list[Scatter]:
    """One scatter plot for each layer, in the order of the network."""
    labels, groups = result.arrays["labels"], result.arrays["groups"]
    legend = tuple(
        (name, _SHAPES[k % len(_SHAPES)], COLOURS[k % len(COLOURS)]) for k, name in enumerate(result.classes)
    )
    scatters = []
    for index, layer in enumerate(result.layers):
        coordinates = result.coordinates(layer.layer)
        low, high = coordinates.min(axis=0), coordinates.max(axis=0)
        shares = (coordinates - low) / np.where(high > low, high - low, 1)
        points = []
        for (x, y), (across, up), label, group in zip(coordinates, shares, labels, groups, strict=True):
            name, shape, colour = legend[int(label)]
            tip = f"{name}, patch {int(group)}, ({x:.4g}, {y:.4g})"
            points.append(Point(round(40 + 410 * across, 1), round(340 - 325 * up, 1), shape, colour, tip))
        chance = "" if layer.p is None else f", p = {layer.p:.2g}"
        interval = f" ({layer.low:.3g} to {layer.high:.3g})" if layer.low is not None and layer.high is not None else ""
        summary = "CHI undefined" if layer.chi is None else f"CHI {layer.chi:.4g}{interval}{chance}"
        embedded = len(result.arrays.get(f"tsne_{index}", ())) > 0
        kind = "t-SNE" if embedded else "component"
        scatters.append(Scatter(layer.layer, summary, tuple(points), legend, (f"{kind} 1", f"{kind} 2")))
    return scatters


def histogram_of(result: FaigResult) -> Histogram:
    """Count, for each degradation, how many of its top 1 % filters each layer holds."""
    layers, names = result.filters.layers, result.degradations
    counts = np.zeros((len(names), len(layers)), dtype=int)
    for row, name in enumerate(names):
        total = len(result.arrays["scores"][row])
        top = np.zeros(total, dtype=int)
        top[result.ranking(name)[: max(1, round(_TOP * total))]] = 1
        counts[row] = [int(top[result.filters.span(layer)].sum()) for layer in layers]
    step = max(900 / len(layers), 6.0)
    width, left, base, tall = round(60 + step * len(layers)), 44.0, 250.0, 230.0
    most = max(int(counts.max()), 1)
    bars = []
    for row, name in enumerate(names):
        for column, layer in enumerate(layers):
            count = int(counts[row, column])
            high = tall * count / most
            across = left + step * (column + 0.08 + 0.84 * row / len(names))
            tip = f"{layer.name}: {count} of {int(counts[row].sum())} filters for {name}"
            thick = 0.84 * step / len(names)
            bars.append(
                Bar(round(across, 2), round(base - high, 2), round(thick, 2), round(high, 2), COLOURS[row % 8], tip)
            )
    every = max(1, math.ceil(14 / step))
    marks = tuple((round(left + step * (i + 0.5), 1), layer.name) for i, layer in enumerate(layers) if i % every == 0)
    grid = max(1, math.ceil(most / 5))
    ticks = tuple((round(base - tall * n / most, 1), n) for n in range(0, most + 1, grid))
    legend = tuple((name, "square", COLOURS[row % 8]) for row, name in enumerate(names))
    return Histogram(tuple(bars), marks, ticks, legend, width, 400, base)
