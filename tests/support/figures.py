"""What is wrong with the texts of a figure: too small, or outside of the canvas."""

from __future__ import annotations

from typing import Any


def texts(figure: Any) -> list[Any]:
    """The visible texts, with tick labels, after the figure was laid out."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    shown = []
    for text in figure.findobj(Text):
        axes = text.axes
        if text.get_visible() and text.get_text().strip() and (axes is None or axes.get_visible()):
            shown.append(text)
    return shown


def small_texts(figure: Any, points: float) -> list[str]:
    return [f"{t.get_text()!r}: {t.get_fontsize():g}" for t in texts(figure) if t.get_fontsize() < points - 1e-6]


def cut_texts(figure: Any) -> list[str]:
    """Texts that leave the canvas; tick labels that matplotlib does not draw are outside of their axes' view."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    shown = texts(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    ticks = {
        id(label): axis
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        for label in (tick.label1, tick.label2)
    }
    drawn = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis._update_ticks()
        for label in (tick.label1, tick.label2)
    }
    width, height = figure.bbox.width, figure.bbox.height
    cut = []
    for text in shown:
        if id(text) in ticks and id(text) not in drawn:
            continue
        box = text.get_window_extent(renderer)
        if box.x0 < -1.5 or box.y0 < -1.5 or box.x1 > width + 1.5 or box.y1 > height + 1.5:
            cut.append(f"{text.get_text()!r}: {box}")
    return cut
