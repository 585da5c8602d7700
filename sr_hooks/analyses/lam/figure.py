"""The figure of LAM of an image; that of a clip is in `clip_figure`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sr_hooks.figures.look import Look
from sr_hooks.figures.options import FigureOptions
from sr_hooks.figures.panels import Panel, Slot, compose
from sr_hooks.figures.shrink import show, shrunk, shrunk_map, thinned
from sr_hooks.figures.style import region_outline, window_box
from sr_hooks.images.windows import upsample_window
from sr_hooks.statistics.measures import kde

if TYPE_CHECKING:
    from sr_hooks.analyses.lam.result import LamResult

__all__ = [
    "LamView",
    "common_zoom",
    "draw_density",
    "draw_map",
    "draw_output",
    "draw_window",
    "enlarged_window",
    "lam_figure",
    "published_look",
]

_MASS = 0.99  # the share of the map that the zoom panel holds
_MIX = 0.5  # of map and image in the overlay in red, as in LAM's published code

Region = tuple[float, float, float, float]


class LamView:
    """What the panels of a map show: the part of the image, in output and in input pixels, and the zoom box."""

    def __init__(self, result: LamResult, options: FigureOptions, image: np.ndarray | None = None) -> None:
        """`image` (C,H,W) lies below the map; by default the input."""
        self.result = result
        self.lr, self.values = result.shown_frame
        self.image = self.lr if image is None else image
        self.size = result.output_size
        self.factor = self.size[1] / self.values.shape[-1]
        self.largest = max(float(self.values.max()), 1e-30)
        self.crop: Region | None = options.crop
        self.zoom: Region | None = None
        if options.zoom or (options.panels and "zoom" in options.panels):
            self.zoom = options.zoom if isinstance(options.zoom, tuple) else self._around_the_map()

    def small(self, region: Region | None) -> Region | None:
        """A region of output pixels in input pixels."""
        if region is None:
            return None
        top, left, height, width = (side / self.factor for side in region)
        return top, left, height, width

    @property
    def window(self) -> Region:
        return self.result.window

    def outline(self, axes: Any, *, small: bool = False, thin: bool = False, colour: str = "white") -> None:
        """Outline the window, or the mask, on an image of the output's size or, if `small`, of the map's."""
        factor = self.factor if small else 1.0
        region_outline(axes, self.result.region, factor=factor, thin=thin, colour=colour)

    @property
    def aspect(self) -> float:
        region = self.crop or (0, 0, *self.size)
        return float(min(max(region[2] / region[3], 0.4), 2.0))

    def _around_the_map(self) -> Region:
        """The box around the window that holds 99 % of the map, in output pixels; square as far as the image allows."""
        top, left, height, width = self.small(self.window) or (0, 0, 1, 1)
        rows = _span(self.values.sum(axis=1), top, top + height)
        columns = _span(self.values.sum(axis=0), left, left + width)
        side = 1.2 * max(rows[1] - rows[0], columns[1] - columns[0], 3 * height, 3 * width)
        (row, high), (column, wide) = (
            _inside((span[0] + span[1]) / 2, min(side, full), full)
            for span, full in zip((rows, columns), self.values.shape, strict=True)
        )
        return row * self.factor, column * self.factor, high * self.factor, wide * self.factor


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


def _span(sums: np.ndarray, start: float, end: float) -> tuple[float, float]:
    """The rows (or columns) from the first to the last that hold the middle 99 % of the sums, and the window."""
    total = float(sums.sum())
    if total <= 0:
        return start, end
    shares = np.cumsum(sums) / total
    first, last = np.searchsorted(shares, [(1 - _MASS) / 2, 1 - (1 - _MASS) / 2])
    return min(float(first), start), max(float(min(last + 1, len(sums))), end)


def _inside(middle: float, side: float, full: int) -> tuple[float, float]:
    return float(min(max(middle - side / 2, 0), full - side)), side


def lam_figure(result: LamResult, options: FigureOptions | None = None) -> Any:
    """Output with the window, the window enlarged, input, attribution map, and its density over the input."""
    options = (options or FigureOptions()).over(published_look(result))
    view = LamView(result, options)

    def panel(name: str, draw: Callable[[LamView, Slot], None], bar: float = 0.0) -> Panel:
        return Panel(name, partial(draw, view), aspect=view.aspect, extra=bar, most=5.5)

    panels = [panel("output", _output), panel("window", _window), panel("input", _input), panel("map", _map, 0.35)]
    if view.zoom is not None:
        panels.append(panel("zoom", _zoom, 0.35))
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


def published_look(result: LamResult) -> FigureOptions:
    """The colours of LAM's paper for a result of its published procedure."""
    compat = result.provenance.get("options", {}).get("compat")
    return FigureOptions(look="paper", overlay="apart", scale="sqrt") if compat else FigureOptions()


def _output(view: LamView, slot: Slot) -> None:
    draw_output(slot.axes, view)
    view.outline(slot.axes)
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
        view.outline(slot.axes, thin=True)
    psnr = "" if view.result.window_psnr is None else f", PSNR {view.result.window_psnr:.2f} dB"
    slot.title(f"the {'mask' if mask else 'window'}{psnr}, at ({view.window[0]}, {view.window[1]})")


def _words(view: LamView) -> str:
    """The window in words."""
    _, _, height, width = view.window
    region = view.result.region
    return f"window {height}×{width}" if region.is_rectangle else f"mask of {region.area} pixels"


def _input(view: LamView, slot: Slot) -> None:
    show(slot.axes, view.lr, view.small(view.crop))
    view.outline(slot.axes, small=True)
    slot.title(f"input {view.lr.shape[-2]}×{view.lr.shape[-1]}")


def _map(view: LamView, slot: Slot) -> None:
    drawn = draw_map(slot.axes, slot.look, view, view.small(view.crop))
    if view.zoom is not None:
        window_box(slot.axes, view.small(view.zoom) or view.zoom, thin=True, colour="#56B4E9")
    slot.title(f"LAM, DI {view.result.diffusion_index:.2f}, {view.result.effective_pixels:.0f} effective pixels")
    slot.bar(drawn, _label("|attribution|"), slot.look.ticks)


def _zoom(view: LamView, slot: Slot) -> None:
    assert view.zoom is not None
    drawn = draw_map(slot.axes, slot.look, view, view.small(view.zoom))
    _, _, height, width = view.small(view.zoom) or view.zoom
    slot.title(f"the map around the window, {round(height)}×{round(width)} input pixels")
    slot.bar(drawn, _label("|attribution|"), slot.look.ticks)


def _density(view: LamView, slot: Slot) -> None:
    drawn = draw_density(slot.axes, slot.look, view, view.small(view.crop))
    slot.title("density of the map, over the input")
    slot.bar(drawn, _label("density"), [0, 0.5, 1])


def _label(what: str) -> str:
    return f"{what} / max"


def draw_map(axes: Any, look: Look, view: LamView, region: Region | None) -> Any:
    """Draw the map by the look: apart, in red over the image, or in colours over the grey image."""
    share, extent = shrunk_map(view.values, region)
    share = share / view.largest
    how: dict[str, Any] = {"cmap": look.colormap, "norm": look.norm(), "extent": extent, "interpolation": "nearest"}
    if look.overlay == "red":
        _under(axes, view, region, grey=False)
        how["alpha"] = _MIX
    elif look.overlay == "grey":
        _under(axes, view, region, grey=True)
        how["alpha"] = np.clip(np.sqrt(share), 0, 0.85)
    drawn = axes.imshow(share, **how)
    _limits(axes, view, region)
    colour = "white" if look.overlay == "apart" and not look.is_paper else "#222222"
    view.outline(axes, small=True, thin=True, colour=colour)
    return drawn


def _under(axes: Any, view: LamView, region: Region | None, *, grey: bool) -> None:
    """Draw the image below the map, in the map's pixel coordinates, whatever the image's own size."""
    factor = view.image.shape[-1] / view.values.shape[-1]
    large = None if region is None else tuple(side * factor for side in region)
    drawn = show(axes, view.image, large, grey=grey)
    drawn.set_extent([(end + 0.5) / factor - 0.5 for end in drawn.get_extent()])


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
    _under(axes, view, region, grey=True)
    drawn = axes.imshow(
        share, cmap=look.colormap, norm=Normalize(0, 1), alpha=np.clip(np.sqrt(share), 0, 0.85),
        interpolation="bicubic", extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )  # fmt: skip
    _limits(axes, view, region)
    return drawn


def _limits(axes: Any, view: LamView, region: Region | None) -> None:
    top, left, height, width = region or (0, 0, *view.values.shape)
    axes.set_xlim(left - 0.5, left + width - 0.5)
    axes.set_ylim(top + height - 0.5, top - 0.5)
