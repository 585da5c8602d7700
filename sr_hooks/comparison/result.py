"""The result of a comparison, and its figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sr_hooks.figures.style import (
    INK,
    MAP_COLOURS,
    caption,
    colour_bar,
    image_of,
    new_figure,
    panel,
    plain,
    window_box,
)
from sr_hooks.results.result import Result

__all__ = ["CompareResult"]


class CompareResult(Result):
    """The comparison of two results or two networks.

    Arrays, for LAM only: `first`, `second` (h,w), the maps; `difference` (h,w), the second map divided by its sum minus
    the first map divided by its sum; `lr` (C,h,w). Scalars: see `sr_hooks.comparison.differences`; `names` of the two;
    `reservations`.
    """

    @property
    def names(self) -> tuple[str, str]:
        """The names of the two, as the figure shows them."""
        return tuple(self.scalars["names"])

    @property
    def reservations(self) -> tuple[str, ...]:
        """Sentences about what differs besides the weights; empty if the comparison is sound."""
        return tuple(self.scalars["reservations"])

    def headline(self) -> dict[str, Any]:
        numbers: dict[str, Any] = {}
        if "diffusion_index" in self.scalars:
            before, after = self.scalars["diffusion_index"]
            numbers |= {"di_before": before, "di_after": after, "di_change": after - before}
            numbers |= {key: self.scalars[key] for key in ("moved", "rank_correlation")}
        for row in self.scalars.get("chi_layers", []):
            numbers[f"chi/{row['layer']}"] = " to ".join("-" if v is None else f"{v:.4g}" for v in row["chi"])
        for name, row in self.scalars.get("faig_overlap", {}).items():
            numbers[f"top_1%_shared/{name}"] = row["overlap"][0]
        if self.scalars.get("split_half_overlap") is not None:
            numbers["split_half_overlap"] = self.scalars["split_half_overlap"]
        return numbers

    def painter(self) -> Callable[..., Any]:
        return compare_figure


_FIRST, _SECOND = "#777777", "#0072b2"
_OVERLAPS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")


def compare_figure(result: CompareResult) -> Any:
    """Draw the maps above, separability and filters below (those that were compared), then the verdict."""
    maps, chi = "difference" in result.arrays, result.scalars.get("chi_layers")
    overlap = result.scalars.get("faig_overlap")
    plots = [part for part in (chi, overlap) if part]
    columns = 4 if maps else 2
    figure = new_figure(3.1 * columns, 0.7 + 3.0 * maps + 3.2 * bool(plots))
    grid = figure.add_gridspec(maps + bool(plots), columns, height_ratios=[3.0] * maps + [3.2] * bool(plots))
    if maps:
        _maps(figure, [figure.add_subplot(grid[0, column]) for column in range(4)], result)
    share = columns // max(len(plots), 1)
    below = [figure.add_subplot(grid[-1, i * share : (i + 1) * share]) for i in range(len(plots))]
    if chi:
        _chi(below[0], chi, result.names)
    if overlap:
        _overlap(below[-1], overlap)
    first, second = result.names
    figure.suptitle(f"{plain(first)}  →  {plain(second)}", fontsize=11, color=INK, x=0.01, ha="left")
    caption(figure, result.verdict, width=35 * columns)
    return figure


def _maps(figure: Any, panels: list[Any], result: CompareResult) -> None:
    from matplotlib.colors import PowerNorm

    top, left, height, width = (v / result.scalars["scale"] for v in result.scalars["window"])
    box = (top, left, height, width)
    panels[0].imshow(image_of(result.arrays["lr"]), interpolation="nearest")
    panel(panels[0], "input, window")
    window_box(panels[0], box)
    for axes, name, index in zip(panels[1:3], ("first", "second"), result.scalars["diffusion_index"], strict=True):
        values = result.arrays[name]
        shown = axes.imshow(
            values / max(float(values.max()), 1e-30),
            cmap=MAP_COLOURS,
            norm=PowerNorm(0.5, 0, 1),
            interpolation="nearest",
        )
        panel(axes, f"{name}, DI {index:.2f}")
        window_box(axes, box, thin=True)
    colour_bar(figure, shown, panels[2], "|attribution| / max", [0, 0.1, 0.5, 1])
    difference = result.arrays["difference"] * 100
    limit = max(float(np.abs(difference).max()), 1e-30)
    rooted = np.sign(difference) * np.sqrt(np.abs(difference) / limit)  # square roots, as in the maps beside it
    shown = panels[3].imshow(rooted, cmap="PuOr_r", vmin=-1, vmax=1, interpolation="nearest")
    panel(panels[3], f"second − first: {result.scalars['moved']:.0%} moved")
    window_box(panels[3], box, thin=True)
    colour_bar(figure, shown, panels[3], "share of the map, points of %", [-1, -0.5, 0, 0.5, 1])
    ticks = [f"{sign * share * limit:.2g}" for sign, share in ((-1, 1), (-1, 0.25), (0, 0), (1, 0.25), (1, 1))]
    panels[3].images[-1].colorbar.set_ticklabels(ticks)


def _chi(axes: Any, rows: list[dict[str, Any]], names: tuple[str, str]) -> None:
    positions = np.arange(len(rows))
    for side, (shift, colour) in enumerate(((-0.12, _FIRST), (0.12, _SECOND))):
        for position, row in zip(positions, rows, strict=True):
            value, low, high = row["chi"][side], row["interval"][2 * side], row["interval"][2 * side + 1]
            if value is None:
                continue
            if low is not None and high is not None:
                axes.plot([low, high], [position + shift] * 2, color=colour, linewidth=2)
            axes.plot(value, position + shift, "o", color=colour, label=plain(names[side]) if position == 0 else None)
    axes.set_yticks(positions, [plain(row["layer"]) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("symlog", linthresh=1)
    highest = max((v for row in rows for v in (*row["chi"], *row["interval"]) if v is not None), default=1.0)
    axes.set_xlim(0, 1.5 * max(highest, 1.0))
    axes.tick_params(labelsize=7)
    axes.set_title("separability by degradation", fontsize=9, color=INK)
    axes.set_xlabel("Calinski-Harabasz index, 95 % interval", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _overlap(axes: Any, overlaps: dict[str, Any]) -> None:
    tops: list[float] = []
    for colour, (name, row) in zip(_OVERLAPS * len(overlaps), overlaps.items(), strict=False):
        tops = [100 * top for top in row["tops"]]
        axes.plot(tops, [100 * v for v in row["overlap"]], "o-", color=colour, label=plain(name), markersize=4)
    axes.plot(tops, tops, "--", color="#999999", linewidth=1, label="by chance")
    axes.set_ylim(0, 102)
    axes.tick_params(labelsize=7)
    axes.set_title("filters in common", fontsize=9, color=INK)
    axes.set_xlabel("top % of the filters", fontsize=8)
    axes.set_ylabel("in both, %", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14))
