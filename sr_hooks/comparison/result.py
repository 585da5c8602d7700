"""The result of a comparison, and its figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sr_hooks.figures.map_view import MapView
from sr_hooks.figures.options import MAP_OPTIONS, FigureOptions
from sr_hooks.figures.panels import Panel, Slot, compose, open_axes
from sr_hooks.figures.style import INK, plain
from sr_hooks.images.windows import Window
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

    def figure_options(self) -> tuple[str, ...]:
        return ("panels", "axes", *(MAP_OPTIONS if "difference" in self.arrays else ()))


_FIRST, _SECOND = "#777777", "#0072b2"
_OVERLAPS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")


def compare_figure(result: CompareResult, *, options: FigureOptions | None = None) -> Any:
    """The maps and their difference, separability by layer, and the filters in common: what the two results have."""
    options = options or FigureOptions()
    chi, overlap = result.scalars.get("chi_layers"), result.scalars.get("faig_overlap")
    panels = _maps(result, options) if "difference" in result.arrays else []
    plot: dict[str, Any] = {"least": 2.6, "aspect": 0.62, "extra": 0.75}
    if chi:
        plot_chi = dict(plot, aspect=max(0.62, 0.05 * len(chi)))
        panels.append(Panel("separability", lambda slot: _chi(slot, chi, result.names), **plot_chi))
    if overlap:
        panels.append(Panel("filters", lambda slot: _overlap(slot, overlap), **plot))
    first, second = result.names
    width = 12.4 if "difference" in result.arrays else 6.2
    return compose(panels, options, title=f"{first}  →  {second}", notes=result.verdict, width=width)


def _maps(result: CompareResult, options: FigureOptions) -> list[Panel]:
    lr, scale = result.arrays["lr"], result.scalars["scale"]
    if lr.ndim == 4:
        lr = lr[len(lr) // 2]
    size = round(lr.shape[-2] * scale), round(lr.shape[-1] * scale)
    view = MapView(size, options, image=lr, window=Window(*result.scalars["window"]))
    first, second = (result.arrays[name] for name in ("first", "second"))
    if view.zooms and view.zoom is None:
        view.zoom = view.around(first / max(first.sum(), 1e-30) + second / max(second.sum(), 1e-30))
    label, indices = "|attribution| / max", result.scalars["diffusion_index"]
    maps = view.map_panels("first", first, f"first, DI {indices[0]:.2f}", label, zoomed=False)
    maps += view.map_panels("second", second, f"second, DI {indices[1]:.2f}", label, zoomed=False)
    difference = result.arrays["difference"] * 100
    change = view.map_panels(
        "difference",
        difference,
        f"second − first: {result.scalars['moved']:.0%} moved",
        "share of the map, points of %",
        signed=True,
        unit=max(float(np.abs(difference).max()), 1e-30),
    )
    return [view.image_panel("input", lr, "input, window", extra=0.35), *maps, *change]


def _chi(slot: Slot, rows: list[dict[str, Any]], names: tuple[str, str]) -> None:
    axes, look = slot.axes, slot.look
    positions = np.arange(len(rows))
    for side, (shift, colour) in enumerate(((-0.12, _FIRST), (0.12, _SECOND))):
        for position, row in zip(positions, rows, strict=True):
            value, low, high = row["chi"][side], row["interval"][2 * side], row["interval"][2 * side + 1]
            if value is None:
                continue
            if low is not None and high is not None:
                axes.plot([low, high], [position + shift] * 2, color=colour, linewidth=2)
            axes.plot(value, position + shift, "o", color=colour, label=plain(names[side]) if position == 0 else None)
    axes.set_yticks(positions, [plain(row["layer"]) for row in rows], fontsize=look.small)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("symlog", linthresh=1)
    highest = max((v for row in rows for v in (*row["chi"], *row["interval"]) if v is not None), default=1.0)
    axes.set_xlim(0, 1.5 * max(highest, 1.0))
    open_axes(axes, look)
    axes.set_title("separability by degradation", fontsize=look.text, color=INK)
    axes.set_xlabel("Calinski-Harabasz index, 95 % interval", fontsize=look.small)
    axes.legend(fontsize=look.small, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _overlap(slot: Slot, overlaps: dict[str, Any]) -> None:
    axes, look = slot.axes, slot.look
    tops: list[float] = []
    for colour, (name, row) in zip(_OVERLAPS * len(overlaps), overlaps.items(), strict=False):
        tops = [100 * top for top in row["tops"]]
        axes.plot(tops, [100 * v for v in row["overlap"]], "o-", color=colour, label=plain(name), markersize=4)
    axes.plot(tops, tops, "--", color="#999999", linewidth=1, label="by chance")
    axes.set_ylim(0, 102)
    open_axes(axes, look)
    axes.set_title("filters in common", fontsize=look.text, color=INK)
    axes.set_xlabel("top % of the filters", fontsize=look.small)
    axes.set_ylabel("in both, %", fontsize=look.small)
    axes.legend(fontsize=look.small, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14))
