"""Names that people chose, made harmless for each format: they neither break it nor become part of it."""

from __future__ import annotations

import re

__all__ = ["for_csv", "for_latex", "for_markdown", "one_line"]

_LONGEST = 80
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


def one_line(text: str, longest: int | None = _LONGEST) -> str:
    """Without line breaks, control and direction characters; the middle of a very long one left out."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if longest is None or len(text) <= longest:
        return text
    return f"{text[: longest // 2 - 1]}…{text[-(longest // 2) :]}"


def for_csv(text: str) -> str:
    """Whole; with an apostrophe in front where a spreadsheet would take it for a formula."""
    text = one_line(text, None)
    return f"'{text}" if text.startswith(_FORMULA) else text


def for_markdown(text: str) -> str:
    """For a cell of a table: every character that Markdown or HTML gives a meaning, escaped."""
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
