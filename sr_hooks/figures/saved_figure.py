"""The class of our figures, and how they are saved: PDF, SVG, PNG, with notes beside the file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["DPI", "NOTES_FILE", "figure_class", "new_figure", "notes_of", "save_figure"]

DPI = 150
NOTES_FILE = "notes.txt"
_PRINT_DPI = 300


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
