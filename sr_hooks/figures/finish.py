"""Finish a drawn figure: title, notes, width, texts that fit and are large enough."""

from __future__ import annotations

import textwrap
from typing import Any

from sr_hooks.figures.options import LEAST_POINTS, FigureOptions
from sr_hooks.figures.style import INK, notes_of, plain

__all__ = ["add_to_title", "finish", "fit_texts", "restyle"]


def finish(figure: Any, options: FigureOptions, *, title: str, notes: str) -> Any:
    """Write title and notes as the options say, and make all texts fit."""
    text = title if options.title is None else options.title
    look_small, heading = _sizes(options, figure)
    if text:
        figure.suptitle(plain(text, 200), fontsize=heading, color=INK, x=0.01, ha="left")
    figure.sr_hooks_notes = notes
    if options.notes is not False and notes:
        figure.supxlabel(notes.replace("$", r"\$"), fontsize=look_small, color=INK, x=0.01, ha="left")
    fit_texts(figure)
    return figure


def _sizes(options: FigureOptions, figure: Any) -> tuple[float, float]:
    from sr_hooks.figures.look import Look

    look = Look(options, figure.get_figwidth())
    return look.small, look.heading


def restyle(figure: Any, options: FigureOptions) -> Any:
    """Apply what can be applied to a figure that was drawn without options: width, colours, sizes, title, notes."""
    notes = notes_of(figure)
    figure.sr_hooks_notes = notes
    if options.inches is not None:
        ratio = options.inches / figure.get_figwidth()
        height = figure.get_figheight() * max(ratio, min(1.0, 1.6 * ratio))  # texts do not shrink with the width
        figure.set_size_inches(options.inches, height)
        if options.font_size is None:
            _scale_texts(figure, min(1.0, max(ratio, 0.75)))
    if options.font_size is not None:
        _scale_texts(figure, options.font_size / 8)
    if options.colormap is not None or options.look == "paper":
        from sr_hooks.figures.look import Look

        for axes in figure.axes:
            for image in axes.images:
                if image.get_array().ndim == 2 and image.get_cmap().name == "inferno":
                    image.set_cmap(Look(options, figure.get_figwidth()).colormap)
    if options.title is not None and figure._suptitle is not None:
        figure._suptitle.set_text(plain(options.title, 200))
    if options.notes is False and figure._supxlabel is not None:
        figure._supxlabel.set_text("")
    fit_texts(figure)
    return figure


def add_to_title(figure: Any, words: str) -> None:
    """Add words to the title of a figure, such as the iteration of a training run."""
    title = getattr(figure, "_suptitle", None)
    if title is None or not title.get_text():
        figure.suptitle(plain(words), fontsize=9, color=INK, x=0.01, ha="left")
    else:
        title.set_text(f"{title.get_text()} ({plain(words)})")
    fit_texts(figure)


def _texts(figure: Any) -> list[Any]:
    from matplotlib.text import Text

    return [text for text in figure.findobj(Text) if text.get_visible()]


def _scale_texts(figure: Any, factor: float) -> None:
    for text in _texts(figure):
        text.set_fontsize(max(text.get_fontsize() * factor, LEAST_POINTS))
    for axes in figure.axes:  # tick labels are made anew when a figure is drawn
        for axis in (axes.xaxis, axes.yaxis):
            for tick in axis.get_major_ticks()[:1]:
                axis.set_tick_params(labelsize=max(tick.label1.get_fontsize() * factor, LEAST_POINTS))


def fit_texts(figure: Any) -> None:
    """Raise texts to 6 points, wrap titles to their axes, the figure's title and notes to its width."""
    for text in _texts(figure):
        if text.get_fontsize() < LEAST_POINTS:
            text.set_fontsize(LEAST_POINTS)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if any(tick.label1.get_fontsize() < LEAST_POINTS for tick in axis.get_major_ticks()[:1]):
                axis.set_tick_params(labelsize=LEAST_POINTS)
    renderer = _renderer(figure)
    for part in (figure, *getattr(figure, "subfigs", [])):
        for text in (part._suptitle, part._supxlabel):
            if text is not None and text.get_text():
                _wrap(text, 0.95 * part.bbox.width, renderer, 12)
    figure.draw_without_rendering()
    for axes in figure.axes:
        if axes.get_title() and not hasattr(axes, "_colorbar"):
            _wrap(axes.title, 0.99 * axes.get_position(original=True).width * axes.figure.bbox.width, renderer, 4)


def _renderer(figure: Any) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    return canvas.get_renderer()


def _wrap(text: Any, room: float, renderer: Any, most_lines: int) -> None:
    """Break a text into lines that are no wider than the room in pixels."""
    wide = text.get_window_extent(renderer).width
    if wide <= room or wide <= 0:
        return
    lines = text.get_text().splitlines()
    most = max(len(line) for line in lines)
    for letters in range(max(int(most * room / wide) + 4, 8), 5, -1):
        wrapped = [part for line in lines for part in (textwrap.wrap(line, letters) or [""])]
        text.set_text("\n".join(wrapped[:most_lines]))
        if text.get_window_extent(renderer).width <= room:
            return
