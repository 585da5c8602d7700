"""The figures of a channel saliency map and of a dropout probe."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from sr_hooks import Result
from sr_hooks.figures import FigureOptions, Panel, Slot, compose, draw_map, open_axes
from sr_hooks.figures.style import COLOURS, INK, plain

__all__ = ["csm_figure", "dropout_figure"]

_MARKS = ["o", "s", "^", "D", "v", "P", "X", "*"]
_LABELS = 40  # taps that can be named beside the axis before names run into each other


def csm_figure(result: Result, options: FigureOptions) -> Any:
    """The most salient channels' maps at one tap, then saliency and loss of all channels, at all taps."""
    panels = [] if (focus := _focus(result)) is None else _map_panels(result, focus)
    panels += _heatmaps(result) if len(result.scalars["taps"]) > 1 else _scatters(result)
    title = f"{result.provenance['network']['name']}: channel saliency"
    if focus is not None:
        title += f"; maps: the most salient channels of {result.scalars['taps'][focus]['tap']}, first image"
    return compose(panels, options, title=title, notes=result.verdict, width=11)


def _focus(result: Result) -> int | None:
    """The tap whose maps are shown: that with the largest loss, or the last."""
    mapped = [t for t in range(len(result.scalars["taps"])) if f"map_{t}" in result.arrays]
    return max(mapped, key=lambda t: result.scalars["taps"][t].get("largest_loss", t)) if mapped else None


def _map_panels(result: Result, tap: int) -> list[Panel]:
    maps, shown = result.arrays[f"map_{tap}"], result.arrays[f"shown_{tap}"]
    return [
        Panel(
            f"map_{number}",
            partial(_map, values=values, title=f"channel {channel}: {_lost(result, tap, int(channel))}"),
            aspect=values.shape[0] / values.shape[1],
            extra=0.35,
        )
        for number, (values, channel) in enumerate(zip(maps, shown, strict=True), 1)
    ]


def _map(slot: Slot, values: np.ndarray, title: str) -> None:
    drawn = draw_map(slot.axes, slot.look, values, largest=1.0, power=0.25)
    slot.title(title)
    slot.bar(drawn, "|gradient| / max", slot.look.ticks_of(0.25))


def _lost(result: Result, tap: int, channel: int) -> str:
    if "psnr" not in result.arrays:
        return f"sum {result.arrays['saliency'][0, tap, channel]:.0f}"
    loss = result.arrays["base_psnr"][0] - result.arrays["psnr"][0, tap, channel]
    return f"{loss:+.2f} dB lost without"


def _loss(result: Result) -> np.ndarray:
    """(T,C) mean dB lost."""
    return (result.arrays["base_psnr"][:, None, None] - result.arrays["psnr"]).mean(axis=0)


def _heatmaps(result: Result) -> list[Panel]:
    """Taps by channels: each tap's saliency as shares of its largest, dB lost, and how well one foretells the other."""
    saliency = result.arrays["saliency"].mean(axis=0)
    shares = saliency / np.nanmax(np.where(saliency > 0, saliency, np.nan), axis=1, keepdims=True)
    how: dict[str, Any] = {"aspect": 0.9, "most": 3.6, "least": 2.6, "extra": 0.7}
    title = "saliency, of the tap's largest"
    draw = partial(_heatmap, values=shares, result=result, title=title, label="share", ends=(0.0, 1.0))
    panels = [Panel("saliency", draw, weight=4, starts_row=True, **how)]
    if "psnr" in result.arrays:
        loss = _loss(result)
        limit = float(f"{max(float(np.nanquantile(np.abs(loss), 0.98)), 1e-6):.2g}")
        title = "PSNR lost without the channel"
        draw = partial(_heatmap, values=loss, result=result, title=title, label="dB lost", ends=(-limit, limit))
        panels.append(Panel("loss", draw, weight=4, **how))
        correlations = partial(_correlations, rows=result.scalars["taps"])
        panels.append(Panel("correlations", correlations, weight=2.2, **{**how, "least": 1.8}))
    return panels


def _heatmap(slot: Slot, values: np.ndarray, result: Result, title: str, label: str, ends: tuple[float, float]) -> None:
    axes, look, (low, high) = slot.axes, slot.look, ends
    colours = look.signed_colormap if low < 0 else look.colormap
    drawn = axes.imshow(values, aspect="auto", cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=look.text, color=INK)
    bar = slot.bar(drawn, label, [])
    bar.set_ticks([low, (low + high) / 2, high], labels=[f"{value:g}" for value in (low, (low + high) / 2, high)])
    rows = result.scalars["taps"]
    every = -(-len(rows) // _LABELS)
    axes.set_yticks(range(0, len(rows), every), [plain(row["tap"]) for row in rows[::every]])
    axes.set_xlabel("channel", fontsize=look.small, color=INK)
    axes.tick_params(labelsize=look.small)


def _correlations(slot: Slot, rows: list[dict[str, Any]]) -> None:
    axes, look = slot.axes, slot.look
    places = np.arange(len(rows))
    for number, (key, label) in enumerate(
        (
            ("correlation", "saliency"),
            ("correlation_activation", "|activation|"),
            ("correlation_first_order", "first order"),
        )
    ):
        values = [np.nan if row[key] is None else row[key] for row in rows]
        axes.plot(
            values, places, color=COLOURS[number], marker=_MARKS[number], markersize=4, linewidth=0.8,
            linestyle="-" if number == 0 else ":", label=label,
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=0.5)
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=look.small)
    axes.set_title("rank correlation\nwith |dB lost|", fontsize=look.text, color=INK)
    axes.legend(fontsize=look.small, frameon=False, loc="lower left")
    open_axes(axes, look)


def _scatters(result: Result) -> list[Panel]:
    """One tap: each channel's loss against its saliency, and against its mean activation."""
    how: dict[str, Any] = {"aspect": 0.75, "most": 2.8, "least": 2.2, "extra": 0.4}
    if "psnr" not in result.arrays:
        return [Panel("saliency", partial(_bars, result=result), **{**how, "aspect": 0.35, "starts_row": True})]
    kinds = (
        ("saliency", "saliency", ""),
        ("activation", "mean |activation|", "_activation"),
        ("first_order", "|gradient · feature|", "_first_order"),
    )
    return [
        Panel(kind[0], partial(_scatter, result=result, kind=kind), starts_row=number == 0, **how)
        for number, kind in enumerate(kinds)
    ]


def _bars(slot: Slot, result: Result) -> None:
    count = result.scalars["taps"][0]["channels"]
    slot.axes.bar(np.arange(count), result.arrays["saliency"][:, 0, :count].mean(axis=0), color=COLOURS[0])
    slot.axes.set_xlabel("channel", fontsize=slot.look.text, color=INK)
    slot.axes.set_ylabel("saliency", fontsize=slot.look.text, color=INK)
    open_axes(slot.axes, slot.look)


def _scatter(slot: Slot, result: Result, kind: tuple[str, str, str]) -> None:
    axes, look, (name, label, suffix) = slot.axes, slot.look, kind
    row = result.scalars["taps"][0]
    loss = _loss(result)[0, : row["channels"]]
    values = result.arrays[name][:, 0, : row["channels"]].mean(axis=0)
    axes.scatter(values, loss, s=16, color=COLOURS[0], alpha=0.8, linewidth=0)
    for channel in np.argsort(-np.abs(loss))[:5]:
        axes.annotate(
            str(channel), (values[channel], loss[channel]), fontsize=look.small, color=INK,
            textcoords="offset points", xytext=(4, 2),
        )  # fmt: skip
    rho = row[f"correlation{suffix}"]
    title = f"{label}: " + ("no correlation" if rho is None else f"rank correlation {rho:.2f}")
    axes.set_title(title, fontsize=look.text, color=INK)
    axes.set_xlabel(label, fontsize=look.small, color=INK)
    axes.set_ylabel("PSNR lost without\nthe channel, dB", fontsize=look.small, color=INK)
    axes.axhline(0, color=INK, linewidth=0.5)
    axes.margins(0.08)
    open_axes(axes, look)


def dropout_figure(result: Result, options: FigureOptions) -> Any:
    """PSNR against the share dropped, a line a degradation with its 95 % band, and the same as loss."""
    how: dict[str, Any] = {"aspect": 0.7, "least": 2.6, "most": 3.6, "extra": 0.4}
    panels = [Panel(name, partial(_dropout, result=result, lost=name == "lost"), **how) for name in ("psnr", "lost")]
    title = f"{result.provenance['network']['name']}: how much dropout it bears"
    return compose(panels, options, title=title, notes=result.verdict, width=11)


def _dropout(slot: Slot, result: Result, lost: bool) -> None:
    axes, look, rates = slot.axes, slot.look, np.array(result.scalars["rates"])
    for number, row in enumerate(result.scalars["curves"]):
        colour, losses = COLOURS[number % 8], np.array(row["lost"])
        style = {"color": colour, "marker": _MARKS[number % 8], "markersize": 4, "linewidth": 1.2}
        values = losses[:-1] if lost else row["psnr"] - losses[:-1]
        axes.plot(rates[:-1], values, label=plain(row["degradation"]), **style)
        if not lost:
            axes.axhline(row["floor"], color=colour, linewidth=0.8, linestyle=":")
        elif "lost_interval" in row:
            low, high = np.array(row["lost_interval"])[:-1].T
            axes.fill_between(rates[:-1], low, high, color=colour, alpha=0.18, linewidth=0)
    what = "channels" if result.scalars["unit"] == "channel" else "elements"
    axes.set_ylabel("PSNR lost, dB (95 % band)" if lost else "PSNR, dB", fontsize=look.text, color=INK)
    axes.set_xlabel(f"share of the {what} of {plain(result.scalars['layer'])} dropped", fontsize=look.small, color=INK)
    if not lost:
        axes.plot([], [], color=INK, linewidth=0.8, linestyle=":", label="without the feature")
        axes.legend(fontsize=look.small, frameon=False, title="input", title_fontsize=look.small)
    open_axes(axes, look)
