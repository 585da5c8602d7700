"""The figure of LAM of a clip: a strip of frames with their maps, and the curve of the frames' shares."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_hooks.analyses.lam.figure import LamView, draw_output, draw_window
from sr_hooks.figures.options import FigureOptions
from sr_hooks.figures.panels import Panel, Slot, compose, open_axes
from sr_hooks.figures.shrink import show, shrunk_map
from sr_hooks.figures.style import INK, WINDOW_COLOUR

if TYPE_CHECKING:
    from sr_hooks.analyses.lam.result import LamResult

__all__ = ["lam_clip_figure"]

_STEEP = 10  # a largest share of so many times the median is drawn on a logarithmic axis
_LEAST = 1e-3  # per cent: what that axis begins with, at least; smaller shares have no point
_MOST = 9  # frames in a strip; of more, those nearest to the window's
_NARROWEST = 0.62  # inches of a frame in the strip


def lam_clip_figure(result: LamResult, options: FigureOptions | None = None) -> Any:
    """The output with its window, then a strip of frames with the attribution below each, over the frames' shares."""
    options = options or FigureOptions()
    view = LamView(result, options)
    shares, at = np.array(result.scalars["frame_shares"]), float(result.scalars["frame_at"])
    width = max(1.5 * (min(len(shares), _MOST) + 1), 9.0)
    room = options.inches or width
    aspect = min(view.aspect, 1.6)
    most = _MOST if room >= width else max(int((room - 1.3) / _NARROWEST), 2)
    shown = _shown(len(shares), at, most)
    first = 1.0 / (len(shown) + 1)  # the share of the width of the two panels at the left
    panels = [
        Panel("output", partial(_output, view), aspect=2.35 * aspect, weight=first, least=min(1.0, 0.3 * room)),
        Panel(
            "frames",
            partial(_frames, view, shown),
            aspect=2.35 * aspect / len(shown),
            extra=0.3,
            weight=1 - first,
            least=0.62 * room,
        ),
        Panel("shares", partial(_curve, view), aspect=1.35 / room, least=room, extra=0.4),
    ]
    name = result.provenance["network"]["name"]
    return compose(panels, options, title=f"{name}: which frames made this window?", notes=result.verdict, width=width)


def _shown(count: int, at: float, most: int) -> list[int]:
    """The frames of the strip: all, or the nearest to the window's."""
    nearest = sorted(range(count), key=lambda t: (abs(t - at), t))[:most]
    return sorted(nearest)


def _output(view: LamView, slot: Slot) -> None:
    upper, lower = slot.grid(2, 1).ravel()
    draw_output(upper, view)
    view.outline(upper, view.size[1])
    slot.title(f"output frame {view.result.frame}", upper)
    draw_window(lower, view)
    slot.title(f"window {view.window[2]}×{view.window[3]}", lower)


def _frames(view: LamView, shown: list[int], slot: Slot) -> None:
    """Each frame of the strip with its map below; all maps have one scale."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm

    result, look = view.result, slot.look
    norm = PowerNorm(0.35, 0, 1) if look.options.scale is None else look.norm()  # other frames have a hundredth
    ticks = [0, 0.01, 0.1, 0.5, 1] if look.options.scale is None else look.ticks
    at, shares = float(result.scalars["frame_at"]), np.array(result.scalars["frame_shares"])
    values, clip = result.map, result.arrays["lr"]
    most = max(float(values.max()), 1e-30)
    grid = slot.grid(2, len(shown))
    for (upper, lower), t in zip(grid.T, shown, strict=True):
        show(upper, clip[t], view.small(view.crop))
        slot.title(f"frame {t}", upper)
        share, extent = shrunk_map(values[t] / most, view.small(view.crop))
        lower.imshow(share, cmap=look.colormap, norm=norm, extent=extent, interpolation="nearest")
        slot.title(f"{shares[t]:.1%}", lower)
        if t == at:
            view.outline(upper, values.shape[-1])
            view.outline(lower, values.shape[-1], thin=True)
            lower.title.set_color(WINDOW_COLOUR)
            lower.title.set_fontweight("bold")
    slot.bar(ScalarMappable(norm, look.colormap), "|attribution| / max of all frames", ticks, list(grid[1]), below=True)


def _curve(view: LamView, slot: Slot) -> None:
    """Shares by frame, the window's frame marked."""
    axes, look, result = slot.axes, slot.look, view.result
    shares, at = np.array(result.scalars["frame_shares"]), float(result.scalars["frame_at"])
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
        fontsize=look.small, color=WINDOW_COLOUR, va="top",
    )  # fmt: skip
    axes.set_xlim(-0.5, len(shares) - 0.5)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(floor, 200)
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(0, 110 * max(float(shares.max()), 0.01))
    step = max(1, round(len(shares) / 2.2 / look.width))
    axes.set_xticks(times[::step])
    axes.set_xlabel("frame", fontsize=look.text)
    axes.set_ylabel("share (%), log" if log else "share (%)", fontsize=look.text)
    used = float(result.scalars["temporal_diffusion"])
    axes.set_title(
        f"temporal diffusion: {used:.2f} of {len(shares)} frames, mean distance "
        f"{result.scalars['temporal_distance']:.2f} frames",
        fontsize=look.text, color=INK,
    )  # fmt: skip
    open_axes(axes, look)
