"""The figure: scores beside the proof, score against proof, and where the strongest layers made the window."""

from __future__ import annotations

from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures.style import COLOURS, INK, caption, image_of, new_figure, panel, plain, window_box

__all__ = ["conductance_figure"]

_NAMED = 24  # layers whose names are written


def conductance_figure(result: sr_hooks.Result) -> Any:
    """Two plots, the output with its window, and the map of the strongest layer that has one."""
    figure = new_figure(12.6, 4.6)
    axes = figure.subplots(1, 4, width_ratios=[1.9, 1.2, 1.0, 1.0])
    proof, name = _proof(result)
    _bars(axes[0], result, proof, name)
    _scatter(axes[1], result, proof, name)
    output = result.arrays["output"]
    axes[2].imshow(image_of(output))
    window = result.scalars["window"]
    if tuple(window[2:]) != output.shape[-2:]:
        window_box(axes[2], tuple(window))
    panel(axes[2], "output and window" if tuple(window[2:]) != output.shape[-2:] else "output, all of it explained")
    _map(axes[3], result)
    network = plain(result.provenance["network"]["name"])
    gap = result.scalars["completeness_gap"]
    figure.suptitle(
        f"{network}: which layers made it? (completeness gap {gap:.2%}, {result.scalars['nodes']} nodes)",
        fontsize=11, color=INK, x=0.01, ha="left",
    )  # fmt: skip
    caption(figure, result.verdict, width=165)
    return figure


def _proof(result: sr_hooks.Result) -> tuple[np.ndarray, str]:
    if "lost_db" in result.arrays:
        return result.arrays["lost_db"], "dB lost without the layer"
    return 255 * result.arrays["change"], "change without the layer, grey levels rms"


def _bars(axes: Any, result: sr_hooks.Result, proof: np.ndarray, name: str) -> None:
    scores = result.arrays["conductance"]
    names = [row["layer"] for row in result.scalars["layers"]]
    place = np.arange(len(scores))
    for shift, values, label, colour in ((-0.2, scores, "conductance, mean |C|", COLOURS[0]),
                                         (0.2, proof, name, COLOURS[5])):  # fmt: skip
        axes.barh(place + shift, values / max(float(np.abs(values).max()), 1e-30), 0.4, color=colour, label=label)
    step = max(-(-len(names) // _NAMED), 1)
    axes.set_yticks(place[::step], [plain(text, 28) for text in names[::step]], fontsize=6.5)
    axes.invert_yaxis()
    axes.set_xlabel("share of the largest", fontsize=8, color=INK)
    axes.legend(fontsize=7, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0))
    _open(axes)


def _scatter(axes: Any, result: sr_hooks.Result, proof: np.ndarray, name: str) -> None:
    scores, chosen = result.arrays["conductance"], set(result.scalars["finetune"])
    turns = 0
    for number, row in enumerate(result.scalars["layers"]):
        top = row["layer"] in chosen
        axes.plot(scores[number], proof[number], "o" if top else ".", color=COLOURS[0] if top else "#777777")
        if top:
            turns += 1
            axes.annotate(plain(row["layer"], 14), (scores[number], proof[number]), fontsize=6.5,
                          xytext=(5, 4 if turns % 2 else -9), textcoords="offset points")  # fmt: skip
    if (scores > 0).all():
        axes.set_xscale("log")
    if (proof > 0).all():
        axes.set_yscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("conductance, mean |C|", fontsize=8, color=INK)
    axes.set_ylabel(name, fontsize=8, color=INK)
    low, high = result.scalars["agreement_low"], result.scalars["agreement_high"]
    axes.set_title(f"Spearman {result.scalars['agreement']:.2f} [{low:.2f}, {high:.2f}]", fontsize=9, color=INK)
    _open(axes)


def _map(axes: Any, result: sr_hooks.Result) -> None:
    order = [int(i) for i in np.argsort(-result.arrays["conductance"], kind="stable")]
    number = next((i for i in order if f"map_{i}" in result.arrays), None)
    if number is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no layer has a grid", ha="center", fontsize=8, color=INK)
        return
    values = result.arrays[f"map_{number}"]
    limit = max(float(np.quantile(np.abs(values), 0.995)), 1e-30)
    axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    panel(axes, f"C of {plain(result.scalars['layers'][number]['layer'], 18)}: blue takes from it, red adds")


def _open(axes: Any) -> None:
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
