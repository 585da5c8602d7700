"""The figure of channel importance: ranking against ablation, sets of channels, weights by penalty, taps."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from sr_hooks import Result
from sr_hooks.figures import FigureOptions, Panel, Slot, compose, open_axes
from sr_hooks.figures.style import COLOURS, INK, plain
from sr_hooks_csm.importance.summary import effect

__all__ = ["importance_figure"]

_STYLES = {"importance": "-", "ablation": "--", "saliency": "-.", "random": ":"}
_NAMES = {
    "importance": "fitted weights",
    "ablation": "ablation, one by one",
    "saliency": "saliency",
    "random": "random",
}
_MARKS = ["o", "s", "^", "D"]
_LABELS = 18  # taps that can be named beside the axis before names run into each other


def importance_figure(result: Result, options: FigureOptions) -> Any:
    """Of the tap with the largest effect: effect by weight and by saliency, chosen sets, weights; then all taps."""
    rows = result.scalars["taps"]
    tap = max(range(len(rows)), key=lambda index: rows[index]["largest_effect"])
    how: dict[str, Any] = {"aspect": 0.8, "most": 2.8, "least": 2.2, "extra": 0.45}
    panels = [
        Panel(name, partial(_scatter, result=result, tap=tap, name=name), **how) for name in ("importance", "saliency")
    ]
    if rows[tap]["kept"]["counts"]:
        panels.append(Panel("kept", partial(_kept, result=result, tap=tap), **how))
    panels.append(
        Panel("weights", partial(_weights, result=result, tap=tap), starts_row=True, **{**how, "aspect": 0.4})
    )
    if len(rows) > 1:
        panels.append(Panel("taps", partial(_taps, rows=rows), **{**how, "most": 3.6, "least": 2.8}))
    title = f"{result.provenance['network']['name']}: channel importance at {rows[tap]['tap']}"
    return compose(panels, options, title=title, notes=result.verdict, width=10)


def _scatter(slot: Slot, result: Result, tap: int, name: str) -> None:
    axes, look, row = slot.axes, slot.look, result.scalars["taps"][tap]
    values = result.arrays[name][:, tap, : row["channels"]].mean(axis=0)
    effects = effect(result.arrays, tap, result.scalars["keep"]).mean(axis=0)
    axes.scatter(values, effects, s=14, color=COLOURS[0], alpha=0.8, linewidth=0)
    for channel in np.argsort(-effects)[:4]:
        axes.annotate(
            str(channel), (values[channel], effects[channel]), fontsize=look.small, color=INK,
            textcoords="offset points", xytext=(4, 2),
        )  # fmt: skip
    label = "fitted weight, mean" if name == "importance" else "saliency"
    rho = row["correlation" if name == "importance" else f"correlation_{name}"]
    title = f"{label.split(',')[0]}: " + ("no correlation" if rho is None else f"correlation {rho:.2f}")
    axes.set_title(title, fontsize=look.text, color=INK)
    axes.set_xlabel(label, fontsize=look.small, color=INK)
    what = "dB lost" if result.scalars["keep"] == "truth" else "|dB changed|"
    axes.set_ylabel(f"{what} without the channel", fontsize=look.small, color=INK)
    if effects.min() > 0 and effects.max() > 30 * effects.min():
        axes.set_yscale("log")
        axes.minorticks_off()
    axes.margins(0.1)
    open_axes(axes, look)


def _kept(slot: Slot, result: Result, tap: int) -> None:
    axes, look, row = slot.axes, slot.look, result.scalars["taps"][tap]
    whole = [*row["kept"]["counts"], row["channels"]]
    table = result.arrays[f"kept_psnr_{tap}"]
    for number, (name, values) in enumerate(zip(row["kept"]["orders"], table, strict=True)):
        axes.plot(
            whole, [*values, result.scalars["base_psnr"]], linestyle=_STYLES[name], marker=_MARKS[number],
            markersize=3.5, color=COLOURS[number], linewidth=1.1, label=_NAMES[name],
        )  # fmt: skip
    axes.set_xlabel(f"channels kept, of {row['channels']}", fontsize=look.small, color=INK)
    axes.set_ylabel("PSNR, dB", fontsize=look.small, color=INK)
    axes.set_title("the others set to zero", fontsize=look.text, color=INK)
    axes.legend(fontsize=look.small, frameon=False)
    open_axes(axes, look)


def _weights(slot: Slot, result: Result, tap: int) -> None:
    axes, look, row = slot.axes, slot.look, result.scalars["taps"][tap]
    weights = result.arrays["weights"][:, tap, :, : row["channels"]].mean(axis=0)
    order = np.argsort(-weights.mean(axis=0), kind="stable")
    drawn = axes.imshow(weights[:, order], aspect="auto", cmap=look.colormap, vmin=0, vmax=1, interpolation="nearest")
    axes.set_yticks(range(len(weights)), [f"{penalty:g}" for penalty in result.scalars["penalties"]])
    axes.set_ylabel("penalty, dB", fontsize=look.small, color=INK)
    axes.set_xlabel("channel, by its mean weight", fontsize=look.small, color=INK)
    axes.set_xticks([])
    axes.set_title("fitted weights", fontsize=look.text, color=INK)
    axes.tick_params(labelsize=look.small)
    slot.bar(drawn, "weight", [0, 0.5, 1])


def _taps(slot: Slot, rows: list[dict[str, Any]]) -> None:
    axes, look, places = slot.axes, slot.look, np.arange(len(rows))
    kinds = (("correlation", "fitted weights"), ("correlation_saliency", "saliency"), ("difference", "difference"))
    for number, (key, label) in enumerate(kinds):
        values = [np.nan if row[key] is None else row[key] for row in rows]
        style = {"color": COLOURS[number], "marker": _MARKS[number], "markersize": 4, "linestyle": "", "label": label}
        axes.plot(values, places, **style)
    for place, row in zip(places, rows, strict=True):
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place, place], color=COLOURS[2], linewidth=1)
    axes.axvline(0, color=INK, linewidth=0.5)
    every = -(-len(rows) // _LABELS)
    axes.set_yticks(places[::every], [plain(row["tap"]) for row in rows[::every]])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(labelsize=look.small)
    axes.set_title("rank correlation with ablation", fontsize=look.text, color=INK)
    axes.legend(fontsize=look.small, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3,
                columnspacing=0.8, handletextpad=0.1)  # fmt: skip
    open_axes(axes, look)
