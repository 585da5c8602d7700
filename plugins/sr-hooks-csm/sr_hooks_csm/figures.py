"""The figures of a channel saliency map and of a dropout probe."""

from __future__ import annotations

from typing import Any

import numpy as np

from sr_hooks import Result
from sr_hooks.figures.style import COLOURS, INK, MAP_COLOURS, caption, colour_bar, new_figure, panel, plain

__all__ = ["csm_figure", "dropout_figure"]

_SIGNED = "RdBu_r"
_MARKS = ["o", "s", "^", "D", "v", "P", "X", "*"]
_LABELS = 40  # taps that can be named beside the axis before names run into each other


def csm_figure(result: Result) -> Any:
    """Above, the most salient channels' maps at one tap; below, saliency and loss of all channels, at all taps."""
    rows = result.scalars["taps"]
    focus = _focus(result)
    several = len(rows) > 1
    figure = new_figure(11, (3.0 if focus is not None else 0.4) + (4.4 if several else 3.6))
    upper, lower = figure, figure
    if focus is not None:
        upper, lower = figure.subfigures(2, 1, height_ratios=(2.6, 4.2 if several else 3.4))
        _maps(upper, result, focus)
    (_heatmaps if several else _scatters)(lower, result)
    figure.suptitle(
        plain(f"{result.provenance['network']['name']}: channel saliency"), fontsize=11, color=INK, x=0.01, ha="left"
    )
    caption(figure, result.verdict, width=165)
    return figure


def _focus(result: Result) -> int | None:
    """The tap whose maps are shown: that with the largest loss, or the last."""
    mapped = [t for t in range(len(result.scalars["taps"])) if f"map_{t}" in result.arrays]
    return max(mapped, key=lambda t: result.scalars["taps"][t].get("largest_loss", t)) if mapped else None


def _maps(figure: Any, result: Result, tap: int) -> None:
    maps, shown = result.arrays[f"map_{tap}"], result.arrays[f"shown_{tap}"]
    grid = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, values, channel in zip(grid, maps, shown, strict=True):
        drawn = axes.imshow(values**0.25, cmap=MAP_COLOURS, vmin=0, vmax=1)
        panel(axes, f"channel {channel}: {_lost(result, tap, int(channel))}")
    colour_bar(figure, drawn, list(grid), "(|gradient| / max)$^{0.25}$", [0, 0.5, 1])
    name = plain(result.scalars["taps"][tap]["tap"])
    figure.suptitle(f"the most salient channels of {name}, first image", fontsize=9, color=INK, x=0.01, ha="left")


def _lost(result: Result, tap: int, channel: int) -> str:
    if "psnr" not in result.arrays:
        return f"sum {result.arrays['saliency'][0, tap, channel]:.0f}"
    loss = result.arrays["base_psnr"][0] - result.arrays["psnr"][0, tap, channel]
    return f"{loss:+.2f} dB lost without"


def _loss(result: Result) -> np.ndarray:
    """(T,C) mean dB lost."""
    return (result.arrays["base_psnr"][:, None, None] - result.arrays["psnr"]).mean(axis=0)


def _heatmaps(figure: Any, result: Result) -> None:
    """Taps by channels: each tap's saliency as shares of its largest, dB lost, and how well one foretells the other."""
    rows = result.scalars["taps"]
    saliency = result.arrays["saliency"].mean(axis=0)
    tested = "psnr" in result.arrays
    grid = figure.subplots(1, 3 if tested else 1, squeeze=False, width_ratios=(4, 4, 2.2) if tested else (1,))[0]
    shares = saliency / np.nanmax(np.where(saliency > 0, saliency, np.nan), axis=1, keepdims=True)
    drawn = grid[0].imshow(shares, aspect="auto", cmap=MAP_COLOURS, vmin=0, vmax=1, interpolation="nearest")
    grid[0].set_title("saliency, of the tap's largest", fontsize=9, color=INK)
    colour_bar(figure, drawn, grid[0], "share", [0, 0.5, 1])
    if tested:
        loss = _loss(result)
        limit = float(f"{max(float(np.nanquantile(np.abs(loss), 0.98)), 1e-6):.2g}")
        drawn = grid[1].imshow(loss, aspect="auto", cmap=_SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
        grid[1].set_title("PSNR lost without the channel", fontsize=9, color=INK)
        colour_bar(figure, drawn, grid[1], "dB lost", [-limit, 0, limit])
        grid[1].set_yticks([])
        _correlations(grid[2], rows)
    every = -(-len(rows) // _LABELS)
    grid[0].set_yticks(range(0, len(rows), every), [plain(row["tap"]) for row in rows[::every]], fontsize=7)
    for axes in grid[: 2 if tested else 1]:
        axes.set_xlabel("channel", fontsize=8, color=INK)
        axes.tick_params(axis="x", labelsize=7)


def _correlations(axes: Any, rows: list[dict[str, Any]]) -> None:
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
    axes.tick_params(axis="x", labelsize=7)
    axes.set_title("rank correlation\nwith |dB lost|", fontsize=9, color=INK)
    axes.legend(fontsize=7, frameon=False, loc="lower left")
    _open(axes)


def _scatters(figure: Any, result: Result) -> None:
    """One tap: each channel's loss against its saliency, and against its mean activation."""
    row = result.scalars["taps"][0]
    count = row["channels"]
    if "psnr" not in result.arrays:
        axes = figure.subplots()
        axes.bar(np.arange(count), result.arrays["saliency"][:, 0, :count].mean(axis=0), color=COLOURS[0])
        axes.set_xlabel("channel", fontsize=9, color=INK)
        axes.set_ylabel("saliency", fontsize=9, color=INK)
        _open(axes)
        return
    grid = figure.subplots(1, 3, sharey=True)
    loss = _loss(result)[0, :count]
    kinds = (
        ("saliency", "saliency", ""),
        ("activation", "mean |activation|", "_activation"),
        ("first_order", "|gradient · feature|", "_first_order"),
    )
    for axes, (name, label, suffix) in zip(grid, kinds, strict=True):
        values = result.arrays[name][:, 0, :count].mean(axis=0)
        axes.scatter(values, loss, s=16, color=COLOURS[0], alpha=0.8, linewidth=0)
        for channel in np.argsort(-np.abs(loss))[:5]:
            axes.annotate(
                str(channel), (values[channel], loss[channel]), fontsize=7, color=INK,
                textcoords="offset points", xytext=(4, 2),
            )  # fmt: skip
        rho = row[f"correlation{suffix}"]
        axes.set_title(f"{label}: " + ("no correlation" if rho is None else f"rank correlation {rho:.2f}"), fontsize=9)
        axes.set_xlabel(label, fontsize=8, color=INK)
        axes.axhline(0, color=INK, linewidth=0.5)
        axes.tick_params(labelsize=7)
        axes.margins(0.08)
        _open(axes)
    grid[0].set_ylabel("PSNR lost without\nthe channel, dB", fontsize=9, color=INK)


def dropout_figure(result: Result) -> Any:
    """PSNR against the share dropped, a line a degradation with its 95 % band, and the same as loss."""
    figure = new_figure(11, 4.6)
    left, right = figure.subplots(1, 2)
    rates = np.array(result.scalars["rates"])
    for number, row in enumerate(result.scalars["curves"]):
        colour, lost = COLOURS[number % 8], np.array(row["lost"])
        style = {"color": colour, "marker": _MARKS[number % 8], "markersize": 4, "linewidth": 1.2}
        left.plot(rates[:-1], row["psnr"] - lost[:-1], label=plain(row["degradation"]), **style)
        left.axhline(row["floor"], color=colour, linewidth=0.8, linestyle=":")
        right.plot(rates[:-1], lost[:-1], **style)
        if "lost_interval" in row:
            low, high = np.array(row["lost_interval"])[:-1].T
            right.fill_between(rates[:-1], low, high, color=colour, alpha=0.18, linewidth=0)
    left.plot([], [], color=INK, linewidth=0.8, linestyle=":", label="without the feature")
    left.set_ylabel("PSNR, dB", fontsize=9, color=INK)
    right.set_ylabel("PSNR lost, dB (95 % band)", fontsize=9, color=INK)
    what = "channels" if result.scalars["unit"] == "channel" else "elements"
    for axes in (left, right):
        axes.set_xlabel(f"share of the {what} of {plain(result.scalars['layer'])} dropped", fontsize=9, color=INK)
        axes.tick_params(labelsize=8)
        _open(axes)
    left.legend(fontsize=8, frameon=False, title="input", title_fontsize=8)
    name = result.provenance["network"]["name"]
    figure.suptitle(plain(f"{name}: how much dropout it bears"), fontsize=11, color=INK, x=0.01, ha="left")
    caption(figure, result.verdict, width=165)
    return figure


def _open(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
