"""Text for people: tables of numbers, and names made safe for a line, CSV, Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sr_hooks.errors import OptionError, shortened

__all__ = [
    "cell",
    "duration",
    "for_csv",
    "for_latex",
    "for_markdown",
    "label",
    "one_line",
    "text_table",
    "unique_names",
    "value_text",
]

_LONGEST = 80
_LONGEST_VALUE = 200  # characters
_FORMULA = ("=", "+", "-", "@")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "—": "---",
}
_LATIN = range(0xA1, 0x180)  # letters that LaTeX's utf8 knows with T1 fonts


def cell(value: Any) -> str:
    """The text of a table's cell: four digits of a float, a dash for None, anything else as `str` gives it."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def label(name: str) -> str:
    """The name of a number with spaces for underscores; a tap's name, which has dots or colons, is left as it is."""
    return name.replace("_", " ") if name.isidentifier() else name


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A text table with aligned columns under their names; numbers are aligned to the right."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[cell(row.get(column)) for column in columns] for row in rows]
    heads = [label(column) for column in columns]
    widths = [max(len(heads[i]), *(len(row[i]) for row in cells)) for i in range(len(columns))]
    right = [all(isinstance(row.get(column), (int, float, type(None))) for row in rows) for column in columns]

    def line(texts: Sequence[str]) -> str:
        return "  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, widths, right, strict=True)).rstrip()

    return "\n".join([line(heads), "  ".join("-" * w for w in widths), *map(line, cells)])


def one_line(text: str, longest: int | None = _LONGEST) -> str:
    """The text without line breaks, control and direction characters; the middle of a very long text is left out."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if longest is None or len(text) <= longest:
        return text
    return f"{text[: longest // 2 - 1]}…{text[-(longest // 2) :]}"


def for_csv(text: str) -> str:
    """The whole text in one line, with an apostrophe in front where a spreadsheet would take it for a formula."""
    text = one_line(text, None)
    return f"'{text}" if text.startswith(_FORMULA) else text


def for_markdown(text: str) -> str:
    """The text for a cell of a Markdown table: every character that means something in Markdown or HTML is escaped."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~$@])", r"\\\1", text)
    return re.sub(r"(?i)(?<=http)(?=s?:)|(?<=www)(?=\.)|(?<=ftp)(?=:)", "&#8203;", text)  # no bare links


def for_latex(text: str) -> str:
    """For text: special characters escaped; what pdfLaTeX has no letter for, by the macro \\srhookschar.

    The macro, which the table file defines, sets the character under XeLaTeX and LuaLaTeX and its code under pdfLaTeX.
    """
    return "".join(_latex(c) for c in one_line(text))


def _latex(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if character == "…":
        return r"\ldots{}"
    if ord(character) < 0x80 or ord(character) in _LATIN:
        return character
    return rf"\srhookschar{{{ord(character):X}}}"


def value_text(value: Any) -> str:
    """A value as messages show it."""
    try:
        return shortened(repr(value), _LONGEST_VALUE)
    except ValueError:  # a whole number of more digits than Python prints
        return "a number of thousands of digits"


def duration(seconds: float) -> str:
    """Seconds below 90 as such, minutes below 90 as such, then hours and minutes."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def unique_names(names: list[str], files: list[str], where: str) -> list[str]:
    """Keep stated names; name the others by their file's stem, with parent folders in front until names are unique.

    Raises:
        OptionError: two names that are stated are equal, or two files.
    """
    stated = [name for name in names if name]
    for name in stated:
        if stated.count(name) > 1:
            raise OptionError(f"{where}: two are called {name!r}: give them other names")
    paths = [Path(file) for file in files]
    depth = 0
    while True:
        candidates = [
            name or "/".join([*path.absolute().parts[:-1][len(path.absolute().parts) - 1 - depth :], path.stem])
            for name, path in zip(names, paths, strict=True)
        ]
        duplicates = [name for name in candidates if candidates.count(name) > 1]
        if not duplicates:
            return candidates
        if depth >= max(len(path.absolute().parts) for path in paths):
            raise OptionError(f"{where}: {duplicates[0]!r} is there twice: leave one out, or give both names")
        depth += 1
