"""The figure of a verification: PSNR lost by each method, masked outputs beside the target's, and strengths."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_hooks.analyses.faig.figure import picture_grid
from sr_hooks.analyses.faig_verify.result import FAIG, RANDOM
from sr_hooks.figures.options import FigureOptions
from sr_hooks.figures.panels import Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, INK, plain
from sr_hooks.statistics.measures import interval

if TYPE_CHECKING:
    from sr_hooks.analyses.faig_verify.result import VerifyResult

__all__ = ["verify_figure"]

_MARKS = ["o", "s", "^", "D", "v", "P", "X", "*"]


def verify_figure(result: VerifyResult, options: FigureOptions | None = None) -> Any:
    """dB lost on each input against the share masked, a line a choice; below, pictures of the first image.

    The panels are called curves_1, curves_2, ..., pictures and strengths.
    """
    columns, width = result.scalars["columns"], 11.0
    room = (options.inches if options else None) or width
    panels = [
        Panel(f"curves_{n + 1}", partial(_curves, result, n), aspect=0.75, least=2.2, most=2.6, extra=0.4)
        for n in range(len(columns))
    ]
    if "examples" in result.arrays:
        states, strip = result.scalars["example_states"], result.scalars["strip"]
        high = min(1.0, room / (len(states) + 1) / 1.6)
        share = min(result.scalars["tops"])
        pictures = partial(
            _pictures, "examples", [f"{plain(c)}\ninput" for c in columns], states,
            f"The most detailed spot; masked: the top {share:.0%} of the filters for it have the baseline's weights",
            result,
        )  # fmt: skip
        strengths = partial(
            _pictures, "strip", strip["rows"], [f"strength {s:g}" for s in strip["strengths"]],
            f"Its top {share:.0%} at baseline + strength × (target - baseline): 0 masks them, 1 is the target", result,
        )  # fmt: skip
        for name, draw, rows in (("pictures", pictures, len(columns)), ("strengths", strengths, len(strip["rows"]))):
            panels.append(Panel(name, draw, aspect=1.75 * high * rows / room, least=room, extra=0.5))
    name = result.provenance["network"]["name"]
    return compose(panels, options, title=f"{name}: what masking filters costs", notes=result.verdict, width=width)


def _pictures(key: str, rows: Any, columns: Any, title: str, result: VerifyResult, slot: Slot) -> None:
    picture_grid(slot, result.arrays[key], rows, columns, title)


def _colour(method: str, number: int) -> str:
    return "#777777" if method == RANDOM else COLOURS[number % 6]


def _curves(result: VerifyResult, column: int, slot: Slot) -> None:
    tops, seed, axes, look = result.scalars["tops"], result.provenance["seed"], slot.axes, slot.look
    choices = list(dict.fromkeys((t["method"], t["degradation"]) for t in result.scalars["trials"]))
    spots = np.arange(len(tops))
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
    axes.set_title(f"input: {plain(result.scalars['columns'][column])}", fontsize=look.text, color=INK)
    axes.set_xticks(spots, [f"{top:.0%}" for top in tops])
    axes.set_xlabel("share of the filters masked", fontsize=look.text, color=INK)
    if column == 0:
        axes.set_ylabel("PSNR lost against\nthe target, dB", fontsize=look.text, color=INK)
        axes.legend(fontsize=look.small, frameon=False)
    open_axes(axes, look)
