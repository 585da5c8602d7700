"""Draw a result's figure with figure options, also of an analysis whose figure takes none, and save it beside it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sr_hooks.core import registry as plugins
from sr_hooks.errors import OptionError
from sr_hooks.figures.options import GRID_OPTIONS, MAP_OPTIONS, FigureOptions, read_figure_options

__all__ = [
    "KEY",
    "draw_figure",
    "refuse_options",
    "save_beside",
    "set_options",
    "stated_options",
    "taken_by",
    "training_step",
]

KEY = "figure"
"""Where a result's provenance holds the figure options that a flag or an option file stated."""


_COMMON = ("width", "font_size", "title", "notes", "look")  # every figure takes them


def stated_options(provenance: Mapping[str, Any]) -> FigureOptions:
    """The figure options that were stated when the result was computed."""
    return read_figure_options(provenance.get(KEY), where="figure")


def set_options(result: Any, options: FigureOptions) -> None:
    """Keep figure options with a result, so that every later figure of the result has them."""
    if options.stated():
        result.provenance[KEY] = options.stated()


def draw_figure(self: Any, options: FigureOptions) -> Any:
    """Draw the figure of a result; options that are not given are those that its provenance states.

    A figure function may take a keyword `options`. Of any other, the finished figure is changed as far as possible.

    Raises:
        OptionError: an option that figures of this analysis do not take.
    """
    from sr_hooks.figures.finish import add_to_title, restyle
    from sr_hooks.figures.style import with_picture

    refuse_options(self.analysis, self.figure_options(), options)
    options = options.over(stated_options(self.provenance))
    draw = self.painter()
    if draw is None:
        return None
    takes_options = _takes_options(draw)
    figure = draw(self, options=options) if takes_options else draw(self)
    if figure is None:
        return None
    if not takes_options:
        figure = restyle(figure, options)
    step = training_step(self.provenance)
    if step and options.title is None and options.axes is None:
        add_to_title(figure, step)
    return with_picture(figure)


def taken_by(kind: Any) -> tuple[str, ...]:
    """The options of MAP_OPTIONS, GRID_OPTIONS, panels and axes that the figure of an analysis takes."""
    if not _takes_options(getattr(kind, "figure", draw_figure)):
        return ("colormap",)  # of a finished figure, the colours can be changed
    return ("panels", "axes", *kind.figure_options)


def refuse_options(analysis: str, taken: Sequence[str], options: FigureOptions) -> None:
    """Refuse stated options that a figure does not take, and name the figures that take them.

    Raises:
        OptionError: an option is stated that is not among those that are taken.
    """
    for name in ("panels", "axes", *MAP_OPTIONS, *GRID_OPTIONS):
        if getattr(options, name) is None or name in taken:
            continue
        known = plugins.contributions("register_analyses")
        others = [other for other, kind in sorted(known.items()) if name in taken_by(kind)]
        others += [*(["compare"] if name in ("panels", "axes", *MAP_OPTIONS) else []), "grid"]
        common = [f.name for f in dataclasses.fields(FigureOptions) if f.name in taken or f.name in _COMMON]
        raise OptionError(
            f"figure: {name} is no option of the figure of {analysis}, which takes {', '.join(common)}; {name} is one "
            f"of the figures of {', '.join(others)}"
        )


def _takes_options(draw: Callable[..., Any]) -> bool:
    parameters = inspect.signature(draw).parameters.values()
    return any(p.name == "options" or p.kind is p.VAR_KEYWORD for p in parameters)


def training_step(provenance: Mapping[str, Any]) -> str:
    """Iteration and image of a result of a watched run, e.g. "iteration 5000, baby.png"; "" of any other result."""
    iteration = provenance.get("watch", {}).get("iteration")
    if iteration is None:
        return ""
    image = provenance.get("input_file")
    return f"iteration {iteration}" + (f", {image}" if image else "")


def save_beside(figure: Any, path: Path, provenance: Mapping[str, Any]) -> None:
    """Save `figure.png`; with stated figure options also `figure.pdf`, and `notes.txt` if its notes are off."""
    from sr_hooks.figures.style import save_figure

    if not provenance.get(KEY):
        figure.savefig(path)
        return
    save_figure(figure, path)
    save_figure(figure, path.with_suffix(".pdf"))
