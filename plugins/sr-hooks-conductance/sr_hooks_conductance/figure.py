"""The figure: scores beside the proof, score against proof, where the strongest layer acts, and the list to train."""

from __future__ import annotations

import textwrap
from functools import partial
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, MapView, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, INK, plain
from sr_hooks.images import Window, parse_regions

__all__ = ["conductance_figure"]

_NAMED = 24  # layers whose names are written
_MOST = 8  # blocks that the list names


def conductance_figure(result: sr_hooks.Result, options: FigureOptions | None = None) -> Any:
    """The panels are called scores, agreement, output, map (and zoom), and finetune."""
    output, lr = result.arrays["output"], result.arrays["lr"]
    window = _window(result)
    view = MapView(output.shape[-2:], options, image=lr, window=window)
    shown = "output, all of it explained" if window is None else "output and window"
    panels = [
        Panel("scores", partial(_scores, result=result), aspect=0.9, least=3.2, weight=1.9, most=3.6, extra=0.7),
        Panel("agreement", partial(_agreement, result=result), aspect=1.0, least=2.6, weight=1.3, most=3.6, extra=0.7),
        view.image_panel("output", output, shown, least=2.0, most=3.0, starts_row=True),
        *_maps(view, result),
        Panel("finetune", partial(_finetune, result=result), aspect=0.9, least=2.4, weight=1.2, most=3.0),
    ]
    network, gap = plain(result.provenance["network"]["name"]), result.scalars["completeness_gap"]
    title = f"{network}: which layers made it? Completeness gap {gap:.2%}, {result.scalars['nodes']} nodes"
    return compose(panels, options, title=title, notes=result.verdict, width=9)


def _window(result: sr_hooks.Result) -> Window | None:
    """The explained window or mask; None for the whole output."""
    if "region" in result.arrays:
        return parse_regions(result.arrays["region"].astype(bool))[0][0]
    window = Window(*result.scalars["window"])
    return None if (window.height, window.width) == result.arrays["output"].shape[-2:] else window


def _proof(result: sr_hooks.Result) -> tuple[np.ndarray, str]:
    if "lost_db" in result.arrays:
        return result.arrays["lost_db"], "dB lost without the layer"
    return 255 * result.arrays["change"], "change without the layer, grey levels rms"


def _scores(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look = slot.axes, slot.look
    proof, name = _proof(result)
    scores = result.arrays["conductance"]
    names = [row["layer"] for row in result.scalars["layers"]]
    positions = np.arange(len(scores))
    for shift, values, label, colour in ((-0.2, scores, "conductance, mean |C|", COLOURS[0]),
                                         (0.2, proof, name, COLOURS[5])):  # fmt: skip
        shares = values / max(float(np.abs(values).max()), 1e-30)
        axes.barh(positions + shift, shares, 0.4, color=colour, label=label)
    step = max(-(-len(names) // _NAMED), 1)
    axes.set_yticks(positions[::step], [plain(text, 28) for text in names[::step]])
    axes.invert_yaxis()
    axes.set_xlabel("share of the largest", fontsize=look.small, color=INK)
    axes.legend(fontsize=look.small, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0))
    open_axes(axes, look)


def _agreement(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look = slot.axes, slot.look
    proof, name = _proof(result)
    scores, chosen = result.arrays["conductance"], set(result.scalars["finetune"])
    turns = 0
    for number, row in enumerate(result.scalars["layers"]):
        top = row["layer"] in chosen
        axes.plot(scores[number], proof[number], "o" if top else ".", color=COLOURS[0] if top else "#777777")
        if top:
            turns += 1
            axes.annotate(plain(row["layer"], 14), (scores[number], proof[number]), fontsize=look.small,
                          xytext=(5, 4 if turns % 2 else -9), textcoords="offset points")  # fmt: skip
    if (scores > 0).all():
        axes.set_xscale("log")
    if (proof > 0).all():
        axes.set_yscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("conductance, mean |C|", fontsize=look.small, color=INK)
    axes.set_ylabel(name, fontsize=look.small, color=INK)
    low, high = result.scalars["agreement_low"], result.scalars["agreement_high"]
    value = result.scalars["agreement"]
    axes.set_title(f"Spearman {value:.2f} [{low:.2f}, {high:.2f}]", fontsize=look.text, color=INK)
    open_axes(axes, look)


def _maps(view: MapView, result: sr_hooks.Result) -> list[Panel]:
    """The map of the strongest layer that has a grid; none where no layer has one."""
    order = [int(i) for i in np.argsort(-result.arrays["conductance"], kind="stable")]
    number = next((i for i in order if f"map_{i}" in result.arrays), None)
    if number is None:
        return []
    values = result.arrays[f"map_{number}"]
    limit = max(float(np.quantile(np.abs(values), 0.995)), 1e-30)
    title = f"C of {plain(result.scalars['layers'][number]['layer'], 18)}: red adds"
    return view.map_panels(
        "map", values, title, "share of the largest |C|", signed=True, largest=limit, least=2.0, most=3.0
    )


def _finetune(slot: Slot, result: sr_hooks.Result) -> None:
    """The list as code, so that it can be read off the picture; `finetune.py` beside the picture holds all of it."""
    axes, look = slot.axes, slot.look
    axes.set_axis_off()
    names = [plain(name, 26) for name in result.scalars["finetune"]]
    more = len(names) - _MOST
    lines = ["chosen = (", *(f'    "{name}.",' for name in names[:_MOST])]
    lines += [f"    ...  # {more} more"] if more > 0 else []
    lines += [
        ")",
        "for name, p in net.named_parameters():",
        "    p.requires_grad_(",
        "        name.startswith(chosen))",
    ]
    unsure = "but cannot tell whether" if result.verdict.startswith("cannot tell") else "since"
    head = textwrap.fill(f"Train only the strongest, {unsure} they matter most", 34)
    axes.text(0, 1, head, fontsize=look.text, color=INK, va="top", transform=axes.transAxes)
    axes.text(0, 0.84, "\n".join(lines), fontsize=look.small, color=INK, va="top", family="monospace",
              transform=axes.transAxes)  # fmt: skip
