"""Rows of numbers as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["cell", "label", "text_table"]


def cell(value: Any) -> str:
    """A number with four digits, anything else as it is, nothing as a dash."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def label(name: str) -> str:
    """A number's name for people; a tap's name is left as taps are written."""
    return name.replace("_", " ") if name.isidentifier() else name


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Aligned columns under their names; numbers to the right."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[cell(row.get(column)) for column in columns] for row in rows]
    heads = [label(column) for column in columns]
    widths = [max(len(heads[i]), *(len(row[i]) for row in cells)) for i in range(len(columns))]
    right = [all(isinstance(row.get(column), (int, float, type(None))) for row in rows) for column in columns]

    def line(texts: Sequence[str]) -> str:
        return "  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, widths, right, strict=True)).rstrip()

    return "\n".join([line(heads), "  ".join("-" * w for w in widths), *map(line, cells)])
