"""`FigureOptions`: what can be changed in a figure of any analysis, without changing a number in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sr_hooks.core.options import as_plain, from_mapping, option
from sr_hooks.core.yaml_files import value_or_text
from sr_hooks.errors import OptionError

__all__ = ["COLUMN_WIDTHS", "GRID_OPTIONS", "LEAST_POINTS", "MAP_OPTIONS", "FigureOptions", "parse_pairs"]

COLUMN_WIDTHS = {"single": 3.5, "double": 7.16}
"""Inches: a column and the full text width of IEEE's two-column pages (IEEEtran: 252 and 516 TeX points)."""

LEAST_POINTS = 6.0
"""The smallest text of a figure, in points: publishers ask for at least as much."""

MAP_OPTIONS = ("colormap", "scale", "overlay", "crop", "zoom")
"""Options that only figures of maps over images take."""

GRID_OPTIONS = ("columns",)
"""Options that only the figure of a grid takes, beside those of maps."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class FigureOptions:
    """Options of figures. None leaves an option to the figure. No option changes a number in the figure.

    matplotlib's rcParams are used where they differ from matplotlib's own defaults: fonts, font.size, image.cmap,
    figure.dpi, line widths.
    """

    colormap: Any = option(None, "colour map of maps: a name of matplotlib or a Colormap", checked=False)
    scale: Literal["linear", "sqrt", "log"] | None = option(None, "how a map's values become colours")
    overlay: Literal["apart", "red", "grey"] | None = option(
        None, "the map apart from the image, over the image in red as in LAM's paper, or over the grey image"
    )
    panels: tuple[str, ...] | None = option(None, "the panels to draw, by name and in this order", checked=False)
    crop: Box | None = option(None, "the part of the image to show: T,L,H,W in output pixels", checked=False)
    zoom: bool | Box | None = option(
        None, "true: one more panel, enlarged around the map; or the box T,L,H,W in output pixels", checked=False
    )
    columns: Literal["networks", "rows"] | None = option(None, "of a grid: a column or a row for each network")
    width: float | str | None = option(
        None, "inches, or single (3.5) or double (7.16), the columns of IEEE's pages", checked=False
    )
    font_size: float | None = option(None, "size of the text in points, at least 6")
    title: str | None = option(None, "the title; an empty text for none")
    notes: bool | None = option(None, "false: no verdict and no notes in the figure; they go to notes.txt beside it")
    look: Literal["safe", "paper"] | None = option(
        None, "safe: colours that colour-blind readers tell apart; paper: the colours of LAM's paper"
    )
    axes: Any = option(None, "matplotlib Axes to draw into, one for each panel", flag=False, checked=False)

    def __post_init__(self) -> None:
        for name, read in (("panels", _names), ("crop", _box), ("zoom", _zoom), ("width", _width)):
            object.__setattr__(self, name, None if getattr(self, name) is None else read(getattr(self, name)))
        if self.font_size is not None and not LEAST_POINTS <= self.font_size <= 72:
            raise ValueError(f"font_size is {self.font_size:g}: it must be between {LEAST_POINTS:g} and 72 points")
        if isinstance(self.colormap, str) and self.colormap not in _colormaps():
            raise ValueError(f"colormap is {self.colormap!r}: matplotlib has no such colour map, e.g. inferno, cividis")

    @property
    def inches(self) -> float | None:
        """The width in inches, or None."""
        return COLUMN_WIDTHS[self.width] if isinstance(self.width, str) else self.width

    def over(self, others: FigureOptions) -> FigureOptions:
        """These options, and those of `others` where these are None."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return dataclasses.replace(others, **{name: value for name, value in own.items() if value is not None})

    def stated(self) -> dict[str, Any]:
        """The options that are not None, as JSON can hold them; `axes` and Colormap objects have no such form."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "axes"}
        if not isinstance(self.colormap, str):
            plain["colormap"] = getattr(self.colormap, "name", None)
        return {name: as_plain(value) for name, value in plain.items() if value is not None}


def parse_pairs(pairs: Sequence[str], *, where: str = "--figure") -> FigureOptions:
    """Read options from texts "key=value", as the flag `--figure` takes them.

    Raises:
        OptionError: a text without "=", an unknown key, or a value that does not fit.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise OptionError(f"{where} {pair}: give key=value, for instance {where} width=double")
        values[key.strip().replace("-", "_")] = (
            value if not value or key.strip() in ("title", "colormap") else value_or_text(value)
        )
    return read_figure_options(values, where=where)


def read_figure_options(values: Mapping[str, Any] | None, *, where: str) -> FigureOptions:
    """Read options from a mapping, as a `figure:` block has them.

    Raises:
        OptionError: no mapping, an unknown key, or a value that does not fit.
    """
    if values is not None and not isinstance(values, Mapping):
        raise OptionError(f"{where} must be a mapping of figure options, e.g. {{width: double}}, not {values!r}")
    if values and "axes" in values:
        raise OptionError(f"{where}: axes can be given from Python only")
    return from_mapping(FigureOptions, values or {}, where=where)


def _colormaps() -> Any:
    from matplotlib import colormaps

    return colormaps


def _names(value: Any) -> tuple[str, ...]:
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else list(value)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"panels is {value!r}: give names of panels, e.g. map,window")
    return tuple(names)


def _box(value: Any, name: str = "crop") -> Box:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        top, left, height, width = (int(part) for part in parts)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}: give top, left, height, width in output pixels") from None
    if top < 0 or left < 0 or height < 1 or width < 1:
        raise ValueError(f"{name} is {value!r}: top and left from 0, height and width from 1")
    return top, left, height, width


def _zoom(value: Any) -> bool | Box:
    return value if isinstance(value, bool) else _box(value, "zoom")


def _width(value: Any) -> float | str:
    if isinstance(value, str) and value in COLUMN_WIDTHS:
        return value
    try:
        inches = float(value)
    except (TypeError, ValueError):
        inches = 0.0
    if isinstance(value, bool) or not 1.5 <= inches <= 60:
        raise ValueError(f"width is {value!r}: give inches between 1.5 and 60, single or double")
    return inches
