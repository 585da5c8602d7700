"""The figure of a causal effect map."""

from __future__ import annotations

from typing import Any

import numpy as np

from sr_hooks import Result
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

__all__ = ["cem_figure"]

_SIGNED = "RdBu_r"


def cem_figure(result: Result) -> Any:
    """Output with the window, input with reach, the signed effect, how sure it is, and LAM on the same blocks."""
    lr, output, effect = result.arrays["lr"], result.arrays["output"], result.arrays["effect"]
    zoom, side = output.shape[-1] / lr.shape[-1], result.scalars["block_side"]
    top, left, height, width = result.scalars["window"]
    small = (top / zoom, left / zoom, height / zoom, width / zoom)
    reach = result.scalars["reach"]
    compared = "lam" in result.arrays
    figure = new_figure(14 if compared else 11.4, 0.9 + 2.75 * min(max(lr.shape[-2] / lr.shape[-1], 0.4), 2.0))
    panels = figure.subplots(1, 5 if compared else 4)

    panels[0].imshow(image_of(output), interpolation="lanczos")
    window_box(panels[0], (top, left, height, width))
    panel(panels[0], f"output, window {height}×{width}: {result.scalars['base_psnr']:.2f} dB")
    panels[1].imshow(image_of(lr), interpolation="nearest")
    window_box(panels[1], tuple(reach), thin=True)
    window_box(panels[1], small)
    panel(panels[1], f"input {lr.shape[-2]}×{lr.shape[-1]}; white: reach")

    extent = (-0.5, effect.shape[1] * side - 0.5, effect.shape[0] * side - 0.5, -0.5)
    outside = _outside(effect.shape, side, small)
    limit = _largest(np.abs(effect), outside)
    shares = np.clip(effect / limit, -1, 1)
    drawn = panels[2].imshow(
        np.sign(shares) * np.sqrt(np.abs(shares)), cmap=_SIGNED, vmin=-1, vmax=1, extent=extent, interpolation="nearest"
    )
    _framed(panels[2], "dB lost without the block", lr, small)
    bar = figure.colorbar(drawn, ax=panels[2], fraction=0.046, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.ax.set_yticklabels([f"{value * limit:.2g}" for value in (-1, -0.25, 0, 0.25, 1)], fontsize=7)
    bar.set_label("dB; clipped inside the window", fontsize=7)

    half = (result.arrays["high"] - result.arrays["low"]) / 2
    fine = result.arrays["draws"] == result.arrays["draws"].max()
    known = np.where(np.isfinite(half) & fine, half, np.nan)
    most = _largest(np.nan_to_num(known), outside)
    drawn = panels[3].imshow(known, cmap="viridis", vmin=0, vmax=most, extent=extent, interpolation="nearest")
    panels[3].set_facecolor("#dddddd")
    _framed(panels[3], "half of its 95 % interval", lr, small)
    colour_bar(figure, drawn, panels[3], "dB; grey: coarse or out of reach", [0, most / 2, most])
    if compared:
        values = result.arrays["lam"] / max(float(result.arrays["lam"].max()), 1e-30)
        drawn = panels[4].imshow(
            np.sqrt(values), cmap=MAP_COLOURS, vmin=0, vmax=1, extent=extent, interpolation="nearest"
        )
        rho = result.scalars["lam_correlation"]
        _framed(panels[4], "LAM by block" + ("" if rho is None else f", rank correlation {rho:.2f}"), lr, small)
        colour_bar(figure, drawn, panels[4], "(|attribution| / max)$^{0.5}$", [0, 0.5, 1])
    name = result.provenance["network"]["name"]
    figure.suptitle(plain(f"{name}: what a window owes to each block"), fontsize=11, color=INK, x=0.01, ha="left")
    caption(figure, result.verdict, width=190 if compared else 150)
    return figure


def _outside(shape: tuple[int, ...], side: int, window: tuple[float, float, float, float]) -> np.ndarray:
    """(bh,bw) whether a block lies outside the window; inside, effects dwarf all others."""
    top, left, height, width = window
    rows, columns = (np.arange(count) * side for count in shape)
    inside_rows = (rows + side > top) & (rows < top + height)
    inside_columns = (columns + side > left) & (columns < left + width)
    return ~(inside_rows[:, None] & inside_columns[None, :])


def _largest(values: np.ndarray, where: np.ndarray) -> float:
    """The end of a scale, to two digits."""
    largest = float(values[where].max()) if where.any() else 0.0
    return float(f"{max(largest or float(values.max()), 1e-6):.2g}")


def _framed(axes: Any, title: str, lr: np.ndarray, window: tuple[float, float, float, float]) -> None:
    panel(axes, title)
    axes.set_xlim(-0.5, lr.shape[-1] - 0.5)
    axes.set_ylim(lr.shape[-2] - 0.5, -0.5)
    window_box(axes, window)
