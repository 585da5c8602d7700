"""Read the cells of one grid, or of several together, as a table: a DataFrame of pandas if pandas is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sr_hooks.core.text import for_csv
from sr_hooks.errors import ResultError
from sr_hooks.files.regular_files import read_bytes

__all__ = ["GridTable", "read", "read_table"]

_FACTS = ("analysis", "network", "group", "image", "window")
_TEXTS = (*_FACTS, "grid", "verdict", "faithfulness", "cautions", "failure", "weights", "weights_sha256", "key")


@dataclass(frozen=True)
class GridTable:
    """All cells of one or several grids.

    Attributes:
        columns: analysis, network, group (if any network has one), image, window; every number; verdict, faithfulness,
            cautions, failure, weights, weights_sha256, key; and grid, the folder's name, if several grids were read.
        rows: one tuple for each cell, in the order of the columns. A number that a cell does not have is None.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns with numbers."""
        return tuple(column for column in self.columns if column not in _TEXTS)

    def records(self) -> list[dict[str, Any]]:
        """Each cell as a dictionary."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_csv(self, path: str | Path | None = None) -> str:
        """The table as CSV, numbers at full precision; also written to a file if a path is given."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(map(for_csv, self.columns))
        writer.writerows([[for_csv(v) if isinstance(v, str) else v for v in row] for row in self.rows])
        if path is not None:
            Path(path).write_text(buffer.getvalue(), encoding="utf-8")
        return buffer.getvalue()


def read(*folders: str | Path) -> Any:
    """Read all cells and numbers of a grid, or of several grids as one table.

    ```python
    from sr_hooks.grid import read

    table = read("results/fig1")                                  # or read("results/fig1", "results/fig2")
    table.groupby("network")["diffusion_index"].mean()            # with pandas
    ```

    A cell that several grids have is taken from the first of them.

    Returns:
        a pandas.DataFrame if pandas is installed, else a `GridTable`. PSNR is in dB, SSIM and a completeness gap are
        shares; other units are those of each analysis.

    Raises:
        ResultError: a folder is no grid, or its table is not written yet.
    """
    table = read_table(folders)
    if find_spec("pandas") is None:
        return table
    import pandas

    return pandas.DataFrame(table.records(), columns=list(table.columns))


def read_table(folders: Sequence[str | Path]) -> GridTable:
    """See `read`; without pandas."""
    if not folders:
        raise ResultError("no grid to read: name one folder or several")
    records: dict[str, dict[str, Any]] = {}
    columns: dict[str, None] = {}
    for folder in folders:
        header, lines = _lines(Path(folder))
        columns |= dict.fromkeys(header)
        for line in lines:
            record = {name: _value(name, text) for name, text in zip(header, line, strict=True)}
            records.setdefault(record["key"], {**record, "grid": Path(folder).name})
    middle = [name for name in columns if name not in _TEXTS]
    ends = [name for name in columns if name in _TEXTS and name not in _FACTS]
    facts = [name for name in _FACTS if name in columns]
    order = ([*facts, *middle, *ends, "grid"] if len(folders) > 1 else list(columns)) or []
    rows = [tuple(record.get(n, "" if n in _TEXTS else None) for n in order) for record in records.values()]
    return GridTable(tuple(order), tuple(rows))


def _lines(folder: Path) -> tuple[list[str], list[list[str]]]:
    path = folder / "table.csv"
    try:
        lines = list(csv.reader(io.StringIO(read_bytes(path).decode("utf-8"))))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResultError(
            f"{folder}: no table of a grid ({reason}): run sr-hooks grid --out {folder} to its end"
        ) from None
    if not lines or "key" not in lines[0] or any(len(line) != len(lines[0]) for line in lines):
        raise ResultError(f"{path} is no table that sr-hooks grid wrote")
    return lines[0], lines[1:]


def _value(name: str, text: str) -> Any:
    if name in _TEXTS:
        return text[1:] if text.startswith("'") and for_csv(text[1:]) == text else text
    try:
        return float(text) if text else None
    except ValueError:
        return text
