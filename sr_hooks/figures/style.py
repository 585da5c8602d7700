"""Our class of figures, its files, and colours, captions and axes that all share; matplotlib is imported late."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Set
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from sr_hooks.figures.shrink import rgb_of
from sr_hooks.images.regions import outline
from sr_hooks.images.windows import Window

__all__ = [
    "COLOURS",
    "DPI",
    "HATCHES",
    "INK",
    "MAP_COLOURS",
    "NOTES_FILE",
    "PAPER_COLOURS",
    "WINDOW_COLOUR",
    "caption",
    "colour_bar",
    "figure_class",
    "image_of",
    "new_figure",
    "notes_of",
    "panel",
    "pixels",
    "plain",
    "png",
    "region_outline",
    "save_figure",
    "window_box",
    "with_picture",
]

DPI = 150
NOTES_FILE = "notes.txt"
_PRINT_DPI = 300
INK = "#222222"
WINDOW_COLOUR = "#ff3b30"
MAP_COLOURS = "inferno"
PAPER_COLOURS = "jet"  # the LAM paper's colours, only with compat="lam_demo": not safe for colour-blind readers
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"]  # Okabe and Ito
HATCHES = ["", "///", "...", "xxx", "\\\\\\", "+++", "ooo", "---"]


def new_figure(width: float, height: float) -> Any:
    """A matplotlib Figure of width x height inches, without a window and without global state."""
    return figure_class()(figsize=(width, height), dpi=_dpi(), layout="constrained")


def _dpi() -> float:
    """`DPI`, or the rcParam figure.dpi where the user has changed that."""
    import matplotlib

    stated = matplotlib.rcParams["figure.dpi"]
    return DPI if stated == matplotlib.rcParamsDefault["figure.dpi"] else float(stated)


@cache
def figure_class() -> Any:
    """The class of our figures: a matplotlib Figure that notebooks show, with `save` for PDF, SVG and PNG."""
    import io

    from matplotlib.figure import Figure

    class SrHooksFigure(Figure):
        """A matplotlib Figure. `save("x.pdf")` writes text as text; notes that are switched off go to notes.txt."""

        def save(self, path: Any, *, dpi: float | None = None) -> Any:
            return save_figure(self, path, dpi=dpi)

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

        def __reduce__(self) -> Any:  # the class is made in a function: pickled by the function's name
            return _empty_figure, (), self.__getstate__()

    return SrHooksFigure


def _empty_figure() -> Any:
    made = figure_class()
    return made.__new__(made)


def notes_of(figure: Any) -> str:
    """The notes of a figure: its verdict, whether they are drawn or not."""
    stored = getattr(figure, "sr_hooks_notes", None)
    if stored is not None:
        return str(stored)
    label = getattr(figure, "_supxlabel", None)
    return "" if label is None else " ".join(label.get_text().replace(r"\$", "$").split())


def save_figure(figure: Any, path: str | Path, *, dpi: float | None = None, suffix: str = "") -> Path:
    """Save a figure as PDF or SVG (text as text, no date) or as PNG with 300 dots per inch.

    A figure whose notes are switched off gets them in `notes.txt` beside the file, unless `suffix` states the format
    of a file that is renamed later.
    """
    import matplotlib

    path = Path(path)
    beside = not suffix
    suffix = suffix or path.suffix.lower().lstrip(".") or "png"
    metadata: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(suffix, {})
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "sr_hooks"}):
        figure.savefig(path, format=suffix, dpi=dpi or _PRINT_DPI, metadata=metadata)
    label = getattr(figure, "_supxlabel", None)
    if beside and notes_of(figure) and (label is None or not label.get_text()):
        (path.parent / NOTES_FILE).write_text(notes_of(figure) + "\n", encoding="utf-8")
    return path


def with_picture(figure: Any) -> Any:
    """The same Figure, which a notebook shows as a picture, also without `%matplotlib inline`."""
    if figure is not None and not hasattr(figure, "_repr_png_"):
        figure._repr_png_ = partial(png, figure)
    return figure


def png(figure: Any) -> bytes:
    """The bytes of a PNG file of a matplotlib Figure."""
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def plain(text: str, longest: int = 60) -> str:
    """Make a text safe to draw: no mathtext, no control characters, limited length.

    A character that the font lacks would be drawn as an empty box; it is written as its code instead.
    """
    text = "".join(c if c.isprintable() else " " for c in text)
    text = text if len(text) <= longest else text[: longest - 3] + "..."
    known = _characters()
    return "".join(c if ord(c) in known else f"[U+{ord(c):X}]" for c in text).replace("$", r"\$")


@lru_cache(maxsize=1)
def _characters() -> Set[int]:
    """The characters of matplotlib's default font."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties())).get_charmap().keys()


def caption(figure: Any, text: str, *, width: int = 150) -> None:
    """Write a text below the panels, wrapped: the verdict."""
    figure.supxlabel(textwrap.fill(text.replace("$", r"\$"), width), fontsize=8, color=INK, x=0.01, ha="left")


def image_of(array: np.ndarray) -> np.ndarray:
    """Convert (C,h,w) in [0, 1] to the (h,w,3) array that imshow takes, clipped."""
    image: np.ndarray = np.clip(rgb_of(array), 0, 1).transpose(1, 2, 0)
    return image


def window_box(
    axes: Any, window: tuple[float, float, float, float], *, thin: bool = False, colour: str = "white"
) -> None:
    """Outline (top, left, height, width) in red with a white rim, or thin and in one colour for a map."""
    from matplotlib.patches import Rectangle

    top, left, height, width = window
    for line, edge in ((0.7, colour),) if thin else ((2.6, "white"), (1.3, WINDOW_COLOUR)):
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, linewidth=line, edgecolor=edge))


def region_outline(
    axes: Any, region: Window, *, factor: float = 1.0, thin: bool = False, colour: str = "white"
) -> None:
    """Outline a window, or a region along its mask, as `window_box` does, on an image `factor` times smaller."""
    if region.is_rectangle:
        top, left, height, width = (side / factor for side in region.as_tuple())
        window_box(axes, (top, left, height, width), thin=thin, colour=colour)
        return
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Line

    borders = [Line(border[:, ::-1] / factor - 0.5, closed=True) for border in outline(region)]
    line = Line.make_compound_path(*borders)
    for thickness, edge in ((0.7, colour),) if thin else ((2.6, "white"), (1.3, WINDOW_COLOUR)):
        axes.add_patch(PathPatch(line, fill=False, linewidth=thickness, edgecolor=edge))


def colour_bar(figure: Any, shown: Any, axes: Any, label: str, ticks: list[float]) -> None:
    """Draw a narrow colour bar with a label beside an image, as high as the image, or beside several axes."""
    if isinstance(axes, list):
        bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.02, ticks=ticks)
    else:
        bar = figure.colorbar(shown, cax=axes.inset_axes((1.025, 0.0, 0.045, 1.0)), ticks=ticks)
    bar.ax.tick_params(labelsize=7)
    bar.set_label(label, fontsize=7)


def panel(axes: Any, title: str) -> None:
    """Prepare the axes of an image: a title, a thin frame, no ticks."""
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.5)


def pixels(figure: Any) -> np.ndarray:
    """Render a matplotlib Figure to (H,W,3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
