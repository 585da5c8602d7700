"""The figures of LAM: of an image, and of a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sr_hooks.figures.style import (
    INK,
    MAP_COLOURS,
    PAPER_COLOURS,
    WINDOW_COLOUR,
    caption,
    colour_bar,
    image_of,
    new_figure,
    panel,
    plain,
    window_box,
)

if TYPE_CHECKING:
    from sr_hooks.analyses.lam.result import LamResult

__all__ = ["lam_clip_figure", "lam_figure"]

_STEEP = 10  # a largest share of so many times the median is drawn on a logarithmic axis
_LEAST = 1e-3  # per cent: what that axis begins with, at least; smaller shares have no point
_MOST = 9  # frames in a strip; of more, those nearest to the window's


def lam_figure(result: LamResult) -> Any:
    """Output with the window, input, attribution map, its density over the input, and the window enlarged."""
    from matplotlib.colors import PowerNorm

    lr, output, values = result.arrays["lr"], result.picture, result.map
    h, w = values.shape
    zoom = output.shape[-1] / w
    top, left, height, width = result.window
    colours = PAPER_COLOURS if result.provenance["options"]["compat"] else MAP_COLOURS
    aspect = h / w
    figure = new_figure(14, 0.72 + 2.75 * min(max(aspect, 0.4), 2.0))
    panels = figure.subplots(1, 5)

    panels[0].imshow(image_of(output), interpolation="lanczos")
    window_box(panels[0], (top, left, height, width))
    partly = np.isnan(result.arrays["output"]).any()
    title = f"output {output.shape[-2]}×{output.shape[-1]}, window {height}×{width}"
    panel(panels[0], "bicubic, and output at the window" if partly else title)
    panels[1].imshow(image_of(output[:, top : top + height, left : left + width]), interpolation="nearest")
    panel(panels[1], f"the window, at ({top}, {left})")
    panels[2].imshow(image_of(lr), interpolation="nearest")
    small = (top / zoom, left / zoom, height / zoom, width / zoom)
    window_box(panels[2], small)
    panel(panels[2], f"input {h}×{w}")

    shown = panels[3].imshow(
        values / max(float(values.max()), 1e-30), cmap=colours, norm=PowerNorm(0.5, 0, 1), interpolation="nearest"
    )
    panel(panels[3], f"LAM, DI {result.diffusion_index:.2f}, {result.effective_pixels:.0f} effective pixels")
    window_box(panels[3], small, thin=True)
    colour_bar(figure, shown, panels[3], "|attribution| / max", [0, 0.1, 0.5, 1])

    density = result.kde()
    share = density / max(float(density.max()), 1e-30)
    panels[4].imshow(np.repeat(image_of(lr).mean(axis=2, keepdims=True), 3, axis=2), interpolation="nearest")
    laid = panels[4].imshow(
        share, cmap=colours, alpha=np.clip(np.sqrt(share), 0, 0.85), vmin=0, vmax=1, interpolation="bicubic"
    )
    panel(panels[4], "density of the map, over the input")
    colour_bar(figure, laid, panels[4], "density / max", [0, 0.5, 1])

    name = result.provenance["network"]["name"]
    figure.suptitle(plain(f"{name}: which input pixels made this window?"), fontsize=11, color=INK, x=0.01, ha="left")
    checked = f" Checks: {result.card.overall}" if result.card is not None else ""
    caption(figure, result.verdict + checked)
    return figure


def lam_clip_figure(result: LamResult) -> Any:
    """The window, then a strip of frames with the attribution below each, over the curve of their shares."""
    shares, values, clip = np.array(result.scalars["frame_shares"]), result.map, result.arrays["lr"]
    at = float(result.scalars["frame_at"])
    shown = _shown(len(shares), at)
    aspect = values.shape[1] / values.shape[2]
    columns = len(shown) + 1
    width = max(1.5 * columns, 9.0)
    side = width / columns
    figure = new_figure(width, 2.75 + 2 * side * min(max(aspect, 0.4), 1.6))
    strip = side * min(max(aspect, 0.4), 1.6)
    grid = figure.add_gridspec(3, columns, height_ratios=[strip, strip, 1.35])

    output = result.picture
    top, left, height, width_ = result.window
    zoom = output.shape[-1] / values.shape[2]
    axes = figure.add_subplot(grid[0, 0])
    axes.imshow(image_of(output), interpolation="lanczos")
    window_box(axes, result.window)
    panel(axes, f"output frame {result.frame}")
    axes = figure.add_subplot(grid[1, 0])
    axes.imshow(image_of(output[:, top : top + height, left : left + width_]), interpolation="nearest")
    panel(axes, f"window {height}×{width_}")

    from matplotlib.colors import PowerNorm

    norm = PowerNorm(0.35, 0, 1)  # other frames hold a hundredth of the own, as often as not
    small = (top / zoom, left / zoom, height / zoom, width_ / zoom)
    most = max(float(values.max()), 1e-30)
    for column, t in enumerate(shown, start=1):
        own = t == at
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(image_of(clip[t]), interpolation="nearest")
        panel(axes, f"frame {t}")
        if own:
            window_box(axes, small)
        axes = figure.add_subplot(grid[1, column])
        drawn = axes.imshow(values[t] / most, cmap=MAP_COLOURS, norm=norm, interpolation="nearest")
        panel(axes, f"{shares[t]:.1%}")
        if own:
            window_box(axes, small, thin=True)
            axes.title.set_color(WINDOW_COLOUR)
            axes.title.set_fontweight("bold")
    bar = figure.colorbar(drawn, cax=_beside(axes), ticks=[0, 0.01, 0.1, 0.5, 1])
    bar.ax.tick_params(labelsize=7)
    bar.set_label("|attribution| / max of all frames", fontsize=7)
    _curve(figure.add_subplot(grid[2, 1:] if len(shown) == len(shares) else grid[2, :]), shares, at, result)

    name = result.provenance["network"]["name"]
    figure.suptitle(plain(f"{name}: which frames made this window?"), fontsize=11, color=INK, x=0.01, ha="left")
    caption(figure, result.verdict, width=int(13.5 * width))
    return figure


def _shown(count: int, at: float) -> list[int]:
    """The frames of the strip: all, or the nearest to the window's."""
    nearest = sorted(range(count), key=lambda t: (abs(t - at), t))[:_MOST]
    return sorted(nearest)


def _beside(axes: Any) -> Any:
    return axes.inset_axes([1.06, 0.0, 0.06, 1.0])


def _curve(axes: Any, shares: np.ndarray, at: float, result: LamResult) -> None:
    """Shares by frame, the window's frame marked."""
    times, positive = np.arange(len(shares)), shares[shares > 0]
    log = positive.size > 1 and positive.max() > _STEEP * np.median(positive)
    floor = max(60 * float(positive.min()), _LEAST) if log else 0.0
    axes.axvline(at, color=WINDOW_COLOUR, linewidth=1.0, linestyle="--")
    axes.plot(
        times,
        np.where(100 * shares >= floor, 100 * shares, np.nan),
        color=INK,
        linewidth=1.2,
        marker="o",
        markersize=4,
        clip_on=False,
    )
    axes.annotate(
        "the window's frame", (at, 0.93), xycoords=("data", "axes fraction"), xytext=(4, 0), textcoords="offset points",
        fontsize=7, color=WINDOW_COLOUR, va="top",
    )  # fmt: skip
    axes.set_xlim(-0.5, len(shares) - 0.5)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(floor, 200)
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(0, 110 * max(float(shares.max()), 0.01))
    step = max(1, len(shares) // 16)
    axes.set_xticks(times[::step])
    axes.tick_params(labelsize=7)
    axes.set_xlabel("frame", fontsize=8)
    axes.set_ylabel("share (%), log" if log else "share (%)", fontsize=8)
    used = float(result.scalars["temporal_diffusion"])
    axes.set_title(
        f"temporal diffusion: {used:.2f} of {len(shares)} frames, mean distance "
        f"{result.scalars['temporal_distance']:.2f} frames",
        fontsize=9, color=INK,
    )  # fmt: skip
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
