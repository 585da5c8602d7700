"""DDR over a training run: every iteration on the same axes, with the index's curve below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_hooks.analyses.ddr.figure import scatter
from sr_hooks.figures.style import INK, new_figure, pixels, plain
from sr_hooks.results.result import iteration_of
from sr_hooks.statistics.random_projection import principal_frame

if TYPE_CHECKING:
    from sr_hooks.analyses.ddr.result import DdrResult

__all__ = ["common_frame", "ddr_film"]

_MOST = 4
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


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
    shown = sorted({round(i) for i in np.linspace(0, count - 1, min(count, _MOST))})
    frames = {index: common_frame(alike, index) for index in shown}
    return [pixels(_picture(alike, at, frames)) for at in range(len(alike))]


def _subject(result: DdrResult) -> tuple[Any, ...]:
    return result.classes, tuple(layer.layer for layer in result.layers), len(result.arrays["labels"])


def _picture(results: Sequence[DdrResult], at: int, frames: dict[int, list[np.ndarray]]) -> Any:
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
    _curve(rows[1].subplots(), results, at, list(frames))
    name = results[at].provenance["network"]["name"]
    figure.suptitle(
        plain(f"{name} at iteration {iteration_of(results[at])}"), fontsize=11, color=INK, x=0.01, ha="left"
    )
    return figure


def _curve(axes: Any, results: Sequence[DdrResult], at: int, shown: Sequence[int]) -> None:
    iterations = [iteration_of(result) or 0 for result in results]
    for colour, index in zip(_COLOURS, shown, strict=False):
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
