"""Draw a result's figure with figure options, also of an analysis whose figure takes none, and save it beside it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sr_hooks.figures.options import FigureOptions, read_figure_options

__all__ = ["KEY", "draw_figure", "save_beside", "set_options", "stated_options", "training_step"]

KEY = "figure"
"""Where a result's provenance holds the figure options that a flag or an option file stated."""


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
    """
    from sr_hooks.figures.finish import add_to_title, restyle
    from sr_hooks.figures.style import with_picture

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
    from sr_hooks.figures.saved_figure import save_figure

    if not provenance.get(KEY):
        figure.savefig(path)
        return
    save_figure(figure, path)
    save_figure(figure, path.with_suffix(".pdf"))
