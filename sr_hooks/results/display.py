"""How results show themselves: one line in a console, a table and a picture in a notebook."""

from __future__ import annotations

import base64
import html
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsIndex, TypeVar, overload

from sr_hooks.core.text import cell, label, one_line, text_table
from sr_hooks.figures.style import png

__all__ = ["ResultList", "html_table", "numbers_line", "picture_html", "shorten"]

R = TypeVar("R")
_NUMBERS = 6
_ROWS = 30
_VERDICT = 80


class ResultList(list[R]):
    """A list of results that shows itself as a table. In everything else it is a list."""

    def __repr__(self) -> str:
        if not self:
            return "[]"
        rows = [_row(index, result, _NUMBERS) for index, result in enumerate(self[:_ROWS])]
        more = len(self) - len(rows)
        return text_table(rows) + (f"\n... and {more} more" if more else "")

    def _repr_html_(self) -> str:
        return html_table([_row(index, result, None) for index, result in enumerate(self)])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # IPython prints subclasses of list item by item
        printer.text("[...]" if cycle else repr(self))

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> R: ...
    @overload
    def __getitem__(self, index: slice, /) -> ResultList[R]: ...
    def __getitem__(self, index: Any, /) -> Any:
        items = super().__getitem__(index)
        return ResultList(items) if isinstance(index, slice) else items


def _row(index: int, result: Any, numbers: int | None) -> dict[str, Any]:
    """A row of the table: number, input, window, the first numbers of the headline, the verdict."""
    row: dict[str, Any] = {"#": index}
    source = result.provenance.get("input_file")
    if source is not None:
        row["input"] = source
    window = result.scalars.get("window")
    if isinstance(window, (list, tuple)):
        row["window"] = ",".join(map(str, window))
    return {**row, **dict(list(result.headline().items())[:numbers]), "verdict": shorten(result.verdict, _VERDICT)}


def numbers_line(numbers: Mapping[str, Any]) -> str:
    """The first few numbers as "name=value"; how many more there are."""
    shown = [f"{name}={cell(value)}" for name, value in list(numbers.items())[:_NUMBERS]]
    more = len(numbers) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more else shown)


def shorten(text: str, longest: int) -> str:
    """The text in one line, cut behind a word where it is longer."""
    return textwrap.shorten(text, longest, placeholder=" ...")


def html_table(rows: Sequence[Mapping[str, Any]], *, heads: bool = True) -> str:
    """A table of HTML, one row a mapping, with its keys as heads; every text is escaped."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    style = "text-align:left;vertical-align:top"
    head = "".join(f"<th style='{style}'>{html.escape(label(column))}</th>" for column in columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td style='{style}'>{html.escape(cell(row.get(column)))}</td>" for column in columns)
        + "</tr>"
        for row in rows
    )
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if heads else ''}<tbody>{body}</tbody></table>"


def picture_html(draw: Callable[[], Any], name: str) -> str:
    """The picture of the Figure that `draw` returns, as an image inside the page; nothing where there is none.

    An error of the drawing is written in its place, since the numbers are sound without the picture.
    """
    try:
        figure = draw()
        if figure is None:
            return ""
        data = base64.b64encode(png(figure)).decode()
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        return "<p>no picture: matplotlib is not installed (pip install 'sr_hooks[figures]')</p>"
    except Exception as error:
        return f"<p>no picture: {html.escape(one_line(f'{type(error).__name__}: {error}', 300))}</p>"
    return f"<img alt='{html.escape(name, quote=True)}' style='max-width:100%' src='data:image/png;base64,{data}'>"
