"""The figure of LAM of an image; that of a clip is in `clip_figure`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sr_hooks.figures.look import Look
from sr_hooks.figures.map_view import MapView, Region, draw_under, limit
from sr_hooks.figures.options import FigureOptions
from sr_hooks.figures.panels import Panel, Slot, compose
from sr_hooks.figures.shrink import show, shrunk, thinned
from sr_hooks.images.windows import upsample_window
from sr_hooks.statistics.measures import kde

if TYPE_CHECKING:
    from sr_hooks.analyses.lam.result import LamResult

__all__ = [
    "LamView",
    "common_zoom",
    "draw_attribution",
    "draw_density",
    "draw_output",
    "draw_window",
    "enlarged_window",
    "lam_figure",
    "published_look",
]


class LamView(MapView):
    """What the panels of a map show: the part of the image, in output and in input pixels, and the zoom box."""

    def __init__(self, result: LamResult, options: FigureOptions, image: np.ndarray | None = None) -> None:
        """`image` (C,H,W) lies below the map; by default the input."""
        self.result = result
        self.lr, self.values = result.shown_frame
        super().__init__(result.output_size, options, image=self.lr if image is None else image, window=result.region)
        self.factor = self.size[1] / self.values.shape[-1]
        if self.zooms and self.zoom is None:
            self.zoom = self.around(self.values)

    def small(self, region: Region | None) -> Region | None:
        """A region of output pixels in input pixels."""
        return self.scaled(region, self.values.shape[-1])

    @property
    def window(self) -> Region:
        return self.result.window


def common_zoom(results: Sequence[LamResult | None], options: FigureOptions) -> Any:
    """One box for the zoom of all networks: the smallest that holds each one's own, in whole output pixels."""
    if isinstance(options.zoom, tuple):
        return options.zoom
    boxes = [LamView(result, replace(options, zoom=True)).zoom for result in results if result is not None]
    sides = np.array([(t, x, t + h, x + w) for t, x, h, w in (box for box in boxes if box is not None)])
    if not len(sides):
        return True
    top, left = (int(side) for side in sides[:, :2].min(axis=0))
    bottom, right = (int(np.ceil(side)) for side in sides[:, 2:].max(axis=0))
    return top, left, bottom - top, right - left


def lam_figure(result: LamResult, options: FigureOptions | None = None) -> Any:
    """Output with the window, the window enlarged, input, attribution map, and its density over the input."""
    options = (options or FigureOptions()).over(published_look(result))
    view = LamView(result, options)

    def panel(name: str, draw: Callable[[LamView, Slot], None], bar: float = 0.0) -> Panel:
        return Panel(name, partial(draw, view), aspect=view.aspect, extra=bar, most=5.5)

    panels = [panel("output", _output), panel("window", _window)]
    panels.append(view.image_panel("input", view.lr, _input_title(result, view.lr)))
    _, _, high, wide = view.small(view.zoom) or (0, 0, 0, 0)
    panels += view.map_panels(
        "map",
        view.values,
        f"LAM, DI {result.diffusion_index:.2f}, {result.effective_pixels:.0f} effective pixels",
        "|attribution| / max",
        zoom_title=f"the map around the window, {round(high)}×{round(wide)} input pixels",
    )
    panels.append(panel("density", _density, 0.35))
    name = result.provenance["network"]["name"]
    checked = f" Checks: {result.card.overall}" if result.card is not None else ""
    return compose(
        panels,
        options,
        title=f"{name}: which input pixels made this window?",
        notes=result.verdict + checked,
        width=14 if view.zoom is None else 16.5,
    )


def _input_title(result: LamResult, lr: np.ndarray) -> str:
    """Size of the input; of a stereo pair and of bands also what they are, and which of them are shown."""
    shown = result.provenance["network"].get("channels_are", "")
    return f"input {lr.shape[-2]}×{lr.shape[-1]}" + (f", {shown}" if "shown" in shown else "")


def published_look(result: LamResult) -> FigureOptions:
    """The colours of LAM's paper for a result of its published procedure."""
    compat = result.provenance.get("options", {}).get("compat")
    return FigureOptions(look="paper", overlay="apart", scale="sqrt") if compat else FigureOptions()


def _output(view: LamView, slot: Slot) -> None:
    draw_output(slot.axes, view)
    view.outline(slot.axes, view.size[1])
    whole = f"output {view.size[0]}×{view.size[1]}, {_words(view)}"
    slot.title(whole if view.result.is_whole else "bicubic, and output at the window")


def draw_output(axes: Any, view: LamView) -> None:
    """Draw the output, and the enlarged input where the output was not computed. No array of its size is made."""
    box, region = view.result.computed_box, view.crop or (0, 0, *view.size)
    if not view.result.is_whole:
        pixels, (left, right, bottom, top) = shrunk(view.lr, view.small(region))
        ends = [(side + 0.5) * view.factor - 0.5 for side in (left, right, bottom, top)]
        axes.imshow(pixels, extent=ends, interpolation="bicubic")
    _show_computed(axes, view, box if view.crop is None else _common(box, view.crop), interpolation="antialiased")
    axes.set_xlim(region[1] - 0.5, region[1] + region[3] - 0.5)
    axes.set_ylim(region[0] + region[2] - 0.5, region[0] - 0.5)


def draw_window(axes: Any, view: LamView) -> None:
    """Draw the output inside the window."""
    _show_computed(axes, view, view.window)


def _show_computed(axes: Any, view: LamView, region: Region, **how: Any) -> None:
    """Draw a region of the output of which only `computed_part` is there, in output pixels."""
    top, left, _, _ = view.result.computed_box
    drawn = show(axes, view.result.computed_part, (region[0] - top, region[1] - left, *region[2:]), **how)
    start, end, bottom, first = drawn.get_extent()
    drawn.set_extent((start + left, end + left, bottom + top, first + top))


def enlarged_window(view: LamView) -> np.ndarray:
    """(C,height,width): the bicubic enlargement of the input inside the window."""
    return upsample_window(torch.from_numpy(view.lr)[None].float(), view.size, view.result.region)[0].numpy()


def _common(box: Region, crop: Region) -> Region:
    """The part of a box inside of the crop; the box's nearest pixel if they do not meet."""
    top, left = max(box[0], crop[0]), max(box[1], crop[1])
    bottom, right = min(box[0] + box[2], crop[0] + crop[2]), min(box[1] + box[3], crop[1] + crop[3])
    return top, left, max(bottom - top, 1), max(right - left, 1)


def _window(view: LamView, slot: Slot) -> None:
    draw_window(slot.axes, view)
    mask = not view.result.region.is_rectangle
    if mask:
        view.outline(slot.axes, view.size[1], thin=True)
    psnr = "" if view.result.window_psnr is None else f", PSNR {view.result.window_psnr:.2f} dB"
    slot.title(f"the {'mask' if mask else 'window'}{psnr}, at ({view.window[0]}, {view.window[1]})")


def _words(view: LamView) -> str:
    """The window in words."""
    _, _, height, width = view.window
    region = view.result.region
    return f"window {height}×{width}" if region.is_rectangle else f"mask of {region.area} pixels"


def _density(view: LamView, slot: Slot) -> None:
    drawn = draw_density(slot.axes, slot.look, view, view.small(view.crop))
    slot.title("density of the map, over the input")
    slot.bar(drawn, "density / max", [0, 0.5, 1])


def draw_attribution(axes: Any, look: Look, view: LamView, region: Region | None) -> Any:
    """Draw the map by the look, of a region of output pixels, with the window."""
    return view.draw_map(axes, look, view.values, region)


def draw_density(axes: Any, look: Look, view: LamView, region: Region | None) -> Any:
    """Draw the density of the map over the grey input."""
    from matplotlib.colors import Normalize

    values = thinned(view.values)
    factor = view.values.shape[1] / values.shape[1]
    density = kde(values)
    share = density / max(float(density.max()), 1e-30)
    height, width = view.values.shape
    if values.shape != view.values.shape:
        height, width = round(values.shape[0] * factor), round(values.shape[1] * factor)
    draw_under(axes, view.image if view.image is not None else view.lr, view.values.shape[1], region, grey=True)
    drawn = axes.imshow(
        share, cmap=look.colormap, norm=Normalize(0, 1), alpha=np.clip(np.sqrt(share), 0, 0.85),
        interpolation="bicubic", extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )  # fmt: skip
    limit(axes, region or (0, 0, *view.values.shape))
    return drawn
