"""The figure of a verification: PSNR lost by each method, masked outputs beside the target's, and strengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sr_hooks.analyses.faig.figure import picture_grid
from sr_hooks.analyses.faig_verify.result import FAIG, RANDOM
from sr_hooks.figures.style import COLOURS, INK, caption, new_figure, plain
from sr_hooks.statistics.measures import interval

if TYPE_CHECKING:
    from sr_hooks.analyses.faig_verify.result import VerifyResult

__all__ = ["verify_figure"]

_MARKS = ["o", "s", "^", "D", "v", "P", "X", "*"]


def verify_figure(result: VerifyResult) -> Any:
    """Above, dB lost on each input against the share masked, a line a choice; below, pictures of the first image."""
    pictured = "examples" in result.arrays
    columns = result.scalars["columns"]
    figure = new_figure(11, 4.4)
    if not pictured:
        _curves(figure, result)
        caption(figure, result.verdict, width=165)
        return figure
    states, strip = result.scalars["example_states"], result.scalars["strip"]
    heights = (3.4, 1.75 * len(columns), 1.6 * len(strip["rows"]))
    figure.set_size_inches(11, sum(heights) + 1.2)
    curves, grid, dials = figure.subfigures(3, 1, height_ratios=heights)
    _curves(curves, result)
    share = min(result.scalars["tops"])
    picture_grid(
        grid, result.arrays["examples"], [f"{plain(c)}\ninput" for c in columns], states,
        f"The most detailed spot; masked: the top {share:.0%} of the filters for it have the baseline's weights",
    )  # fmt: skip
    strengths = [f"strength {s:g}" for s in strip["strengths"]]
    picture_grid(
        dials, result.arrays["strip"], strip["rows"], strengths,
        f"Its top {share:.0%} at baseline + strength × (target - baseline): 0 masks them, 1 is the target",
    )  # fmt: skip
    caption(figure, result.verdict, width=165)
    return figure


def _colour(method: str, number: int) -> str:
    return "#777777" if method == RANDOM else COLOURS[number % 6]


def _curves(figure: Any, result: VerifyResult) -> None:
    columns, tops, seed = result.scalars["columns"], result.scalars["tops"], result.provenance["seed"]
    panels = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
    choices = list(dict.fromkeys((t["method"], t["degradation"]) for t in result.scalars["trials"]))
    spots = np.arange(len(tops))
    for column, (axes, name) in enumerate(zip(panels, columns, strict=True)):
        for number, (method, degradation) in enumerate(choices):
            losses = [result.loss(method, top, degradation=degradation)[column] for top in tops]
            means = np.array([loss.mean() for loss in losses])
            bounds = np.array([interval(loss, seed) for loss in losses]).T
            reach = np.abs(np.where(np.isfinite(bounds), bounds, means) - means)
            axes.errorbar(
                spots + 0.05 * (number - len(choices) / 2), means, yerr=reach, color=_colour(method, number),
                marker=_MARKS[number % 8], markersize=4, linewidth=1.2, elinewidth=0.8, capsize=2,
                linestyle="-" if method == FAIG else "--",
                label=plain(f"{method} for {degradation}" if degradation else method),
            )  # fmt: skip
        axes.axhline(0, color=INK, linewidth=0.5)
        axes.set_title(f"input: {plain(name)}", fontsize=9, color=INK)
        axes.set_xticks(spots, [f"{top:.0%}" for top in tops], fontsize=8)
        axes.set_xlabel("share of the filters masked", fontsize=8, color=INK)
        axes.tick_params(axis="y", labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].set_ylabel("PSNR lost against\nthe target, dB", fontsize=9, color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, frameon=False, loc="outside right center")
