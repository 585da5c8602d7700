"""`MapView`: images and maps of one scene in panels, cropped, enlarged and laid over each other as the options say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sr_hooks.errors import OptionError
from sr_hooks.figures.look import Look
from sr_hooks.figures.options import FigureOptions
from sr_hooks.figures.panels import Panel, Slot
from sr_hooks.figures.shrink import show, shrunk_map
from sr_hooks.figures.style import region_outline, window_box
from sr_hooks.images.windows import Window

__all__ = ["MapView", "Region", "draw_map"]

_MASS = 0.99  # the share of the map that the zoom panel holds
_MIX = 0.5  # of map and image in the overlay in red, as in LAM's published code
_ZOOM_BOX = "#56B4E9"
_LAYOUT = ("least", "weight", "most", "extra", "starts_row", "shown")  # keywords of Panel

Region = tuple[float, float, float, float]
"""(top, left, height, width)."""


class MapView:
    """What the panels of a scene show: one crop, one zoom box and one window for images and maps of any size.

        view = MapView(output.shape[-2:], options, image=lr, window=window)
        panels = [view.image_panel("output", output, "output"), *view.map_panels("map", values, "the map", "gradient")]
        figure = compose(panels, options, title="...", notes=result.verdict, width=9)

    Attributes:
        size: (H,W) in output pixels, in which `crop`, `zoom` and `window` are stated.
        image: (C,h,w) below the maps, or None where there is no image.
        window: outlined in all panels, or None.
        crop: (top, left, height, width), or None for the whole.
        zoom: the box of the zoom panel; None for no such panel, or until `map_panels` has chosen the box.

    Raises:
        OptionError: `crop` or `zoom` of the options lies outside of the output. What leaves the output in part is cut.
    """

    def __init__(
        self,
        size: tuple[int, int],
        options: FigureOptions | None = None,
        *,
        image: np.ndarray | None = None,
        window: Window | None = None,
    ) -> None:
        options = options or FigureOptions()
        self.size, self.image, self.region = (int(size[0]), int(size[1])), image, window
        self.crop: Region | None = self._inside_output("crop", options.crop)
        self.zooms = bool(options.zoom) or bool(options.panels and "zoom" in options.panels)
        stated = options.zoom if isinstance(options.zoom, tuple) else None
        self.zoom: Region | None = self._inside_output("zoom", stated)

    def _inside_output(self, name: str, box: Region | None) -> Region | None:
        """The part of a box that lies in the output: a grid has images of several sizes."""
        if box is None:
            return None
        top, left, height, width = box
        high, wide = self.size
        if top >= high or left >= wide:
            raise OptionError(
                f"figure: {name} {', '.join(f'{side:g}' for side in box)} lies outside of the output, which is {high} "
                f"pixels high and {wide} wide: give top, left, height, width in output pixels"
            )
        return top, left, min(height, high - top), min(width, wide - left)

    @property
    def aspect(self) -> float:
        """Height / width of what is shown, not below 0.4 and not above 2."""
        region = self.crop or (0, 0, *self.size)
        return float(min(max(region[2] / region[3], 0.4), 2.0))

    def scaled(self, region: Region | None, width: float) -> Region | None:
        """A region of output pixels in the pixels of an image or map of this width."""
        if region is None:
            return None
        factor = self.size[1] / width
        top, left, height, wide = (side / factor for side in region)
        return top, left, height, wide

    def outline(self, axes: Any, width: float, *, thin: bool = False, colour: str = "white") -> None:
        """Outline the window, or its mask, on an image or map of this width."""
        if self.region is not None:
            region_outline(axes, self.region, factor=self.size[1] / width, thin=thin, colour=colour)

    def draw_image(self, axes: Any, image: np.ndarray, **how: Any) -> Any:
        """Draw (C,h,w) with the window, cropped, in the image's own pixels."""
        drawn = show(axes, image, self.scaled(self.crop, image.shape[-1]), **how)
        self.outline(axes, image.shape[-1])
        return drawn

    def draw_map(self, axes: Any, look: Look, values: np.ndarray, region: Region | None, **how: Any) -> Any:
        """`draw_map` with the view's image and window; `region` is of output pixels."""
        across = how.get("canvas", values.shape)[1]
        drawn = draw_map(axes, look, values, image=self.image, region=self.scaled(region, across), **how)
        light = look.overlay == "apart" and not look.is_paper and not how.get("signed")
        self.outline(axes, across, thin=True, colour="white" if light else "#222222")
        return drawn

    def image_panel(
        self, name: str, image: np.ndarray, title: str, *, after: Callable[[Slot], None] | None = None, **how: Any
    ) -> Panel:
        """A panel of an image (C,h,w) with the window; `after` draws more. Other keywords are those of `Panel`."""

        def draw(slot: Slot) -> None:
            self.draw_image(slot.axes, image)
            if after is not None:
                after(slot)
            slot.title(title)

        return Panel(name, draw, **{"aspect": self.aspect, "most": 5.5, **how})

    def map_panels(
        self,
        name: str,
        values: np.ndarray,
        title: str,
        label: str,
        *,
        zoom_title: str = "",
        zoomed: bool = True,
        **how: Any,
    ) -> list[Panel]:
        """A panel of a map with its colour bar and, if the options ask for it, one of its enlarged part.

        Args:
            name: the panel's name; the other panel is called `zoom`.
            values: (h,w), not negative unless `signed`.
            title: of the panel.
            label: of the colour bar.
            zoomed: whether this map has the enlarged part; one map of a figure has.
            zoom_title: of the enlarged part; by default the title and the size of the part.
            how: keywords of `draw_map`: `largest`, `ends`, `signed`, `power`; `canvas` and `pixel` for maps of blocks.
                `unit`: the value at 1 on the colour bar, which then shows values, not shares of the largest.
                `after`: a function that draws more into the panel's Slot. Also keywords of `Panel`.
        """
        if self.zooms and self.zoom is None:
            self.zoom = self.around(values, **how)
        panels = [self._map_panel(name, values, title, label, **how)]
        if self.zooms and zoomed:
            across = how.get("canvas", values.shape)[1]
            _, _, height, width = self.scaled(self.zoom, across) or (0, 0, 0, 0)
            zoom_title = zoom_title or f"{title}: {round(height)}×{round(width)} pixels"
            panels.append(self._map_panel("zoom", values, zoom_title, label, enlarged=True, **how))
        return panels

    def _map_panel(
        self, name: str, values: np.ndarray, title: str, label: str, *, enlarged: bool = False, **how: Any
    ) -> Panel:
        drawn_how = {key: value for key, value in how.items() if key not in ("unit", "after", *_LAYOUT)}
        layout = {"extra": 0.35, "most": 5.5} | {key: how[key] for key in _LAYOUT if key in how}

        def draw(slot: Slot) -> None:
            drawn = self.draw_map(slot.axes, slot.look, values, self.zoom if enlarged else self.crop, **drawn_how)
            if self.zoom is not None and not enlarged:
                across = how.get("canvas", values.shape)[1]
                window_box(slot.axes, self.scaled(self.zoom, across) or self.zoom, thin=True, colour=_ZOOM_BOX)
            slot.title(title)
            ticks = slot.look.ticks_of(how.get("power"), signed=bool(how.get("signed")))
            bar = slot.bar(drawn, label, ticks)
            low, high = how.get("ends") or (0, how.get("unit"))
            if high is not None:  # the values themselves, not their shares of the largest
                bar.set_ticks(ticks, labels=[f"{low + tick * (high - low):.3g}" for tick in ticks])
            if how.get("after") is not None:
                how["after"](slot)

        region = self.zoom if enlarged else None
        aspect = self.aspect if region is None else float(min(max(region[2] / region[3], 0.4), 2.0))
        return Panel(name, draw, aspect=aspect, **layout)

    def around(self, values: np.ndarray, **how: Any) -> Region:
        """The box that holds 99 % of a map and the window, in output pixels; square as far as the image allows."""
        pixel, (h, w) = float(how.get("pixel", 1)), how.get("canvas", values.shape)
        window = None if self.region is None else self.scaled(self.region.as_tuple(), w)
        top, left, height, width = window or (h / 2, w / 2, 0.0, 0.0)
        size = np.nan_to_num(np.abs(values))
        rows = _span(size.sum(axis=1), pixel, top, top + height)
        columns = _span(size.sum(axis=0), pixel, left, left + width)
        side = 1.2 * max(rows[1] - rows[0], columns[1] - columns[0], 3 * height, 3 * width, 4 * pixel)
        (row, high), (column, wide) = (
            _inside((span[0] + span[1]) / 2, min(side, full), full)
            for span, full in zip((rows, columns), (h, w), strict=True)
        )
        factor = self.size[1] / w
        return row * factor, column * factor, high * factor, wide * factor


def draw_map(
    axes: Any,
    look: Look,
    values: np.ndarray,
    *,
    image: np.ndarray | None = None,
    region: Region | None = None,
    largest: float | None = None,
    ends: tuple[float, float] | None = None,
    signed: bool = False,
    power: float | None = None,
    canvas: tuple[int, int] | None = None,
    pixel: float = 1.0,
) -> Any:
    """Draw a map by the look: apart, in red over the image, or in colours over the grey image.

    Args:
        axes: of matplotlib.
        look: of the figure.
        values: (h,w), not negative unless `signed`; NaN is not drawn.
        image: (C,h,w) of any size, below the map.
        region: the part to draw, in the canvas's pixels.
        largest: what the colours end at; by default the largest |value|.
        ends: the values at both ends of the colours, for values that do not begin at 0; instead of `largest`.
        signed: from -1 to 1, by diverging colours; over the image only with the overlay "grey".
        power: the exponent of the colours' scale where the option `scale` is not stated; 0.5 by default.
        canvas: (h,w) of the coordinates, of a map whose values are blocks; by default the map's own.
        pixel: the side of one value in the canvas's pixels.
    """
    high, wide = canvas or values.shape
    top, left, height, width = region or (0, 0, high, wide)
    part, extent = shrunk_map(values, (top / pixel, left / pixel, height / pixel, width / pixel))
    low, high_value = ends or (0.0, largest or max(float(np.nanmax(np.abs(values))), 1e-30))
    share = (part - low) / max(high_value - low, 1e-30)
    how: dict[str, Any] = {
        "cmap": look.signed_colormap if signed else look.colormap,
        "norm": look.norm(power, signed=signed),
        "extent": [(end + 0.5) * pixel - 0.5 for end in extent],
        "interpolation": "nearest",
    }
    opacity = np.nan_to_num(np.clip(np.sqrt(np.abs(share)), 0, 0.85))
    if look.overlay == "red" and not signed and image is not None:
        draw_under(axes, image, wide, region)
        how["alpha"] = _MIX
    elif look.overlay == "grey" and image is not None:
        draw_under(axes, image, wide, region, grey=True)
        how["alpha"] = opacity
    drawn = axes.imshow(share, **how)
    limit(axes, (top, left, height, width))
    return drawn


def draw_under(axes: Any, image: np.ndarray, width: float, region: Region | None, *, grey: bool = False) -> None:
    """Draw an image of any size below a map, in the coordinates of a canvas of this width."""
    factor = image.shape[-1] / width
    large = None if region is None else tuple(side * factor for side in region)
    drawn = show(axes, image, large, grey=grey)
    drawn.set_extent([(end + 0.5) / factor - 0.5 for end in drawn.get_extent()])


def limit(axes: Any, region: Region) -> None:
    """Show a region and no more."""
    top, left, height, width = region
    axes.set_xlim(left - 0.5, left + width - 0.5)
    axes.set_ylim(top + height - 0.5, top - 0.5)


def _span(sums: np.ndarray, pixel: float, start: float, end: float) -> tuple[float, float]:
    """The rows (or columns) from the first to the last that hold the middle 99 % of the sums, and the window."""
    total = float(sums.sum())
    if total <= 0:
        return start, end
    shares = np.cumsum(sums) / total
    first, last = np.searchsorted(shares, [(1 - _MASS) / 2, 1 - (1 - _MASS) / 2])
    return min(float(first) * pixel, start), max(float(min(last + 1, len(sums))) * pixel, end)


def _inside(middle: float, side: float, full: float) -> tuple[float, float]:
    return float(min(max(middle - side / 2, 0), full - side)), side
