"""One number of a grid against another over networks, with their rank correlation and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sr_hooks.errors import OptionError, nearest
from sr_hooks.figures.style import COLOURS, caption, new_figure, plain, save_figure
from sr_hooks.grid.numbers.table import read_table
from sr_hooks.grid.report.tables import name_of
from sr_hooks.statistics.measures import rank_correlation, rank_correlation_interval

__all__ = ["NetworkPoint", "Scatter", "scatter"]


@dataclass(frozen=True)
class NetworkPoint:
    """A network's means of both numbers, over the images and windows that all networks have."""

    network: str
    group: str
    x: float
    y: float


@dataclass(frozen=True)
class Scatter:
    """One number against another over networks.

    Attributes:
        x, y: names of the numbers.
        points: one for each network.
        cells: over how many cells (images and windows) each mean is taken, for x and for y.
        left_out: how many cells are not used, since a network lacks them.
        correlation: Spearman's rank correlation over networks, in [-1, 1]; NaN if a number is equal for all networks.
        interval: 95 % interval of the correlation; (-1, 1) for fewer than four networks.
        cautions: warnings of the table about these cells.
    """

    x: str
    y: str
    points: tuple[NetworkPoint, ...]
    cells: tuple[int, int]
    left_out: int
    correlation: float
    interval: tuple[float, float]
    cautions: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        low, high = self.interval
        sign = "is not different from zero" if low <= 0 <= high else "differs from zero"
        text = (
            f"rank correlation of {self.x} and {self.y} over {len(self.points)} networks: {self.correlation:.2f}, "
            f"95 % interval {low:.2f} to {high:.2f}: it {sign}"
        )
        if math.isnan(self.correlation):
            text = f"no rank correlation of {self.x} and {self.y}: one of them is equal for all networks"
        text += f". Means of {self.cells[0]} and {self.cells[1]} cells of each network"
        return text + (
            f"; {self.left_out} cells are left out, since not all networks have them" if self.left_out else ""
        )

    def figure(self) -> Any:
        """The scatter plot as a matplotlib Figure, a colour for each group."""
        figure = new_figure(4.2, 3.6)
        axes = figure.add_subplot()
        groups = list(dict.fromkeys(point.group for point in self.points))
        for number, group in enumerate(groups):
            members = [point for point in self.points if point.group == group]
            colour = COLOURS[number % len(COLOURS)]
            axes.scatter([p.x for p in members], [p.y for p in members], s=18, color=colour, label=plain(group, 24))
        for point in self.points:
            text = plain(point.network, 20)
            axes.annotate(text, (point.x, point.y), xytext=(3, 3), textcoords="offset points", fontsize=6)
        axes.margins(0.12)
        axes.set_xlabel(plain(name_of(self.x), 40))
        axes.set_ylabel(plain(name_of(self.y), 40))
        if len(groups) > 1:
            axes.legend(fontsize=7)
        caption(figure, " ".join([self.verdict + ".", *self.cautions]), width=58)
        return figure

    def save(self, folder: str | Path) -> list[Path]:
        """Write `scatter_X_Y.pdf` and `.png` into a folder; return both paths."""
        stem = f"scatter_{_file_name(self.x)}_{_file_name(self.y)}"
        figure = self.figure()
        return [save_figure(figure, Path(folder) / f"{stem}.{suffix}") for suffix in ("pdf", "png")]


def scatter(grids: str | Path | Sequence[str | Path], x: str, y: str, *, analysis: str | None = None) -> Scatter:
    """Compare two numbers over the networks of one grid, or of several grids together.

    ```python
    from sr_hooks.grid import scatter

    result = scatter("results/fig1", "psnr_y", "diffusion_index")
    result.correlation, result.interval
    ```

    Each network counts once, by the mean over the images and windows that all networks have; so the interval says how
    far the correlation holds for other networks, not for other images. Spearman's rank correlation, with the interval
    of Bonett and Wright (2000). Not for fewer than some ten networks: the interval then is nearly all of [-1, 1].

    Args:
        grids: a grid's folder, or several.
        x, y: names of number columns of `table.csv`, e.g. psnr_y, ssim_y, diffusion_index, chi.
        analysis: take the cells of this analysis alone; by default of all, each number where it occurs.

    Raises:
        ResultError: a folder holds no table of a grid.
        OptionError: there is no such number, or fewer than two networks have both numbers.
    """
    table = read_table([grids] if isinstance(grids, (str, Path)) else list(grids))
    for name in (x, y):
        if name not in table.numbers:
            raise OptionError(f"no number {name!r} in the grid; {nearest(name, table.numbers)}")
    records = [r for r in table.records() if analysis in (None, r["analysis"])]
    means, cells, left_out = zip(*(_means(records, name) for name in (x, y)), strict=True)
    names = [name for name in means[0] if name in means[1]]
    if len(names) < 2:
        raise OptionError(f"{len(names)} networks have both {x} and {y}: a scatter plot needs two or more")
    groups = {record["network"]: record.get("group", "") for record in records}
    points = tuple(NetworkPoint(name, groups[name], means[0][name], means[1][name]) for name in names)
    correlation = rank_correlation(np.array([p.x for p in points]), np.array([p.y for p in points]))
    used = [r for r in records if r["network"] in names and r.get("cautions")]
    cautions = tuple(dict.fromkeys(r["cautions"] for r in used if r[x] is not None or r[y] is not None))
    interval = rank_correlation_interval(correlation, len(points))
    return Scatter(x, y, points, (cells[0], cells[1]), max(left_out), correlation, interval, cautions[:4])


def _means(records: Sequence[dict[str, Any]], name: str) -> tuple[dict[str, float], int, int]:
    """Each network's mean over the cells that all networks have, how many these are, and how many are left out."""
    values: dict[str, dict[tuple[str, str, str], float]] = {}
    for record in records:
        if isinstance(record[name], float) and math.isfinite(record[name]):
            cell = (record["analysis"], record["image"], record["window"])
            values.setdefault(record["network"], {})[cell] = record[name]
    if not values:
        return {}, 0, 0
    shared = set.intersection(*(set(cells) for cells in values.values()))
    every = set.union(*(set(cells) for cells in values.values()))
    means = {n: math.fsum(cells[c] for c in sorted(shared)) / len(shared) for n, cells in values.items() if shared}
    return means, len(shared), len(every - shared)


def _file_name(text: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in text)[:60]
