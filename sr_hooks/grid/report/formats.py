"""Write a table as plain text, as Markdown, or as LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from sr_hooks.core.text import for_latex, for_markdown, one_line, text_table
from sr_hooks.grid.report.tables import Head, Table, Value

__all__ = ["as_latex", "as_markdown", "as_text"]

_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
_LATEX_ARROWS = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", "": ""}
_PREAMBLE = r"""% Made by sr-hooks grid. Needs \usepackage{booktabs}; with pdfLaTeX also [T1]{fontenc} and {textcomp}.
\providecommand{\srhookschar}[1]{\ifdefined\Umathchar\char"#1\relax\else[U+#1]\fi}
"""


def as_text(table: Table) -> str:
    """The table as text for a terminal; the best value of a column has an asterisk."""
    heads = [one_line(head.text) + _ARROWS[head.better] + _bracketed(head.notes) for head in table.columns]
    rows = []
    for head, values in zip(table.rows, table.values, strict=True):
        texts = [f"{one_line(v.text)}{'*' if v.best else ''}{_bracketed(v.notes)}" for v in values]
        rows.append(
            {table.analysis: one_line(head.text) + _bracketed(head.notes), **dict(zip(heads, texts, strict=True))}
        )
    notes = [f"[{letter}] {sentence}" for letter, sentence in table.notes]
    return "\n".join([text_table(rows), *notes])


def _bracketed(letters: str) -> str:
    return f" [{letters}]" if letters else ""


def as_markdown(tables: Sequence[Table]) -> str:
    """All tables as Markdown, with captions and notes."""
    parts = []
    for table in tables:
        heads = [table.corner, *(for_markdown(h.text) + _ARROWS[h.better] + _sup(h.notes) for h in table.columns)]
        lines = [f"**{for_markdown(table.analysis)}.** {for_markdown_text(table.caption)}", "", _line(heads)]
        lines.append(_line(["---", *["---:"] * len(table.columns)]))
        for head, values in zip(table.rows, table.values, strict=True):
            name = for_markdown(head.text) + _ARROWS[head.better] + _sup(head.notes)
            lines.append(_line([name, *map(_markdown_value, values)]))
        lines += [""] + [f"{_sup(letter)} {for_markdown_text(sentence)}  " for letter, sentence in table.notes]
        parts.append("\n".join(lines).rstrip() + "\n")
    return "\n".join(parts)


def for_markdown_text(text: str) -> str:
    """Escape a sentence word by word, so that no word is cut short."""
    return " ".join(for_markdown(word) for word in text.split())


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _sup(letters: str) -> str:
    return f"<sup>{letters}</sup>" if letters else ""


def _markdown_value(value: Value) -> str:
    text = for_markdown(value.text)
    return (f"**{text}**" if value.best else text) + _sup(value.notes)


def as_latex(tables: Sequence[Table]) -> str:
    """All tables as LaTeX, each in its own `table` float."""
    return _PREAMBLE + "\n".join(map(_latex_table, tables))


def _latex_table(table: Table) -> str:
    heads = " & ".join([for_latex(table.corner), *map(_latex_head, table.columns)])
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{_sentence(table.caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        heads + r" \\",
        r"\midrule",
    ]
    for head, values in zip(table.rows, table.values, strict=True):
        cells = " & ".join([_latex_head(head), *map(_latex_value, values)])
        lines.append("{}" + cells + r" \\")  # {}: what follows \\ may begin with * or [
    lines += [r"\bottomrule", r"\end{tabular}"]
    for letter, sentence in table.notes:
        lines.append(rf"\par\smallskip\footnotesize {_latex_sup(letter)} {_sentence(sentence)}")
    return "\n".join([*lines, r"\end{table}", ""])


def _sentence(text: str) -> str:
    return " ".join(for_latex(word) for word in text.split())


def _latex_head(head: Head) -> str:
    return for_latex(head.text) + _LATEX_ARROWS[head.better] + _latex_sup(head.notes)


def _latex_sup(letters: str) -> str:
    return rf"\textsuperscript{{{letters}}}" if letters else ""


def _latex_value(value: Value) -> str:
    text = for_latex(value.text)
    return (rf"\textbf{{{text}}}" if value.best else text) + _latex_sup(value.notes)
