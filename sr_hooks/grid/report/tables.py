"""The tables of a grid as papers print them: a row for each network, the best value of each column, and notes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sr_hooks.core.text import for_csv, label
from sr_hooks.grid.report.rows import GridRows, Row, better
from sr_hooks.grid.report.warnings import ComparisonWarning
from sr_hooks.results.card import PASSES

__all__ = ["DECIMALS", "Head", "Table", "Value", "as_csv", "make_tables", "name_of"]

_WIDE = 8  # with more columns, a table is transposed
_NAMES = {
    "diffusion_index": "DI",
    "psnr_y": "PSNR-Y, dB",
    "ssim_y": "SSIM-Y",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "chi": "CHI",
}
DECIMALS = {"diffusion_index": 2, "psnr_y": 2, "ssim_y": 4, "psnr": 2, "ssim": 4, "chi": 2}
_QUALITY = ("psnr_y", "ssim_y")  # of the whole image


@dataclass(frozen=True)
class Head:
    """The head of a column or row: its text, its better direction ("higher", "lower", ""), the letters of its notes.

    `number` is the name of the number below it; "" below the networks.
    """

    text: str
    better: str = ""
    notes: str = ""
    number: str = ""


@dataclass(frozen=True)
class Value:
    """A value as it is printed; whether it is the best of its column; the letters of its notes."""

    text: str
    best: bool = False
    notes: str = ""


@dataclass(frozen=True)
class Table:
    """The table of one analysis: `values[r][c]` is in `rows[r]` and `columns[c]`; `notes` are (letter, sentence)."""

    analysis: str
    caption: str
    corner: str
    columns: tuple[Head, ...]
    rows: tuple[Head, ...]
    values: tuple[tuple[Value, ...], ...]
    notes: tuple[tuple[str, str], ...]

    def turned(self) -> Table:
        """The table with rows and columns exchanged."""
        values = tuple(zip(*self.values, strict=True))
        return Table(self.analysis, self.caption, "", self.rows, self.columns, values, self.notes)


@dataclass(frozen=True)
class _Column:
    """A column without notes and best values yet: `members` are the rows that each of its numbers comes from."""

    text: str
    better: str
    members: list[list[Row]]
    number: str
    averages: bool = False


def make_tables(grid: GridRows, warnings: Sequence[ComparisonWarning]) -> list[Table]:
    """One table for each analysis, in the order of the request."""
    return [_table(grid, name, warnings) for name in grid.plan.request.analyses if grid.of(name)]


def _table(grid: GridRows, analysis: str, warnings: Sequence[ComparisonWarning]) -> Table:
    rows = grid.of(analysis)
    networks = list(dict.fromkeys(row.cell.network for row in rows))
    columns = _columns(rows, networks, better(analysis))
    relevant = [c for c in warnings if c.applies({row.number for row in rows})]
    failures = [row for row in rows if row.failure is not None]
    letters = {id(c): _letter(i) for i, c in enumerate(relevant)}
    failed = {row.number: _letter(len(relevant) + i) for i, row in enumerate(failures)}
    values, heads = [], []
    for column in columns:
        head, cells = _filled(column, relevant, letters, failed, [grid.plan.networks[n]["scale"] for n in networks])
        heads.append(head)
        values.append(cells)
    notes = [(letters[id(c)], c.sentence) for c in relevant]
    notes += [(failed[row.number], f"Failed: {row.failure}") for row in failures]
    names = tuple(Head(grid.plan.request.networks[n].name) for n in networks)
    table = Table(
        analysis,
        _caption(analysis, columns),
        "network",
        tuple(heads),
        names,
        tuple(zip(*values, strict=True)),
        tuple(notes),
    )
    return table.turned() if len(columns) > _WIDE else table


def _columns(rows: Sequence[Row], networks: Sequence[int], directions: Any) -> list[_Column]:
    def by_network(wanted: Sequence[Row]) -> list[list[Row]]:
        return [[row for row in wanted if row.cell.network == network] for network in networks]

    numbers = list(dict.fromkeys(key for row in rows for key in row.numbers))
    if all(row.cell.image is None for row in rows):
        return [_Column(name_of(key), directions.get(key, ""), by_network(rows), key) for key in numbers] or [
            _Column("result", "", by_network(rows), "")
        ]
    main = next((key for key in directions if key in numbers and key not in _QUALITY), numbers[0] if numbers else "")
    positions = list(dict.fromkeys((row.cell.image, row.cell.window) for row in rows))
    single_window = {image: sum(i == image for i, _ in positions) == 1 for image, _ in positions}
    columns = []
    for image, window in positions:
        position_rows = [row for row in rows if (row.cell.image, row.cell.window) == (image, window)]
        text = (
            position_rows[0].image
            if single_window[image] or not window
            else f"{position_rows[0].image} ({position_rows[0].window})"
        )
        columns.append(_Column(text, directions.get(main, ""), by_network(position_rows), main))
    if len(positions) > 1:
        columns.append(_Column("mean", directions.get(main, ""), by_network(rows), main, averages=True))
    once = [row for row in rows if row.cell.window == next(w for i, w in positions if i == row.cell.image)]
    for quality in (key for key in _QUALITY if key in numbers):
        columns.append(_Column(name_of(quality), "higher", by_network(once), quality, averages=True))
    if any(row.card is not None for row in rows):
        columns.append(_Column("maps that pass all checks", "", by_network(rows), "card"))
    return columns


def _filled(
    column: _Column,
    warnings: Sequence[ComparisonWarning],
    letters: dict[int, str],
    failed: dict[int, str],
    scales: Sequence[float],
) -> tuple[Head, list[Value]]:
    everyone = {row.number for members in column.members for row in members}
    about = [] if column.number in (*_QUALITY, "card") else warnings
    general = [
        c for c in about if c.unsound and not c.single and c.applies(everyone) and (c.kind != "mean" or column.averages)
    ]
    numbers, notes = [], []
    for members in column.members:
        single = [c for c in about if c.single and c.rows & {row.number for row in members}]
        numbers.append(_number(column, members))
        notes.append(
            "".join(letters[id(c)] for c in single) + "".join(failed[r.number] for r in members if r.number in failed)
        )
    best = _best(column, numbers, notes, scales) if column.better and not general else {}
    values = []
    for number, note, scale in zip(numbers, notes, scales, strict=True):
        text = _printed(number, column.number)
        is_best = scale in best and not note and text == _printed(best[scale], column.number)
        values.append(Value(text, is_best, note))
    return Head(column.text, column.better, "".join(letters[id(c)] for c in general), column.number), values


def _best(column: _Column, numbers: Sequence[Any], notes: Sequence[str], scales: Sequence[float]) -> dict[float, float]:
    """The best number of each scale that several networks have: numbers of different scales are not compared."""
    groups: dict[float, list[float]] = {}
    for number, note, scale in zip(numbers, notes, scales, strict=True):
        if isinstance(number, float) and math.isfinite(number) and not note:
            groups.setdefault(scale, []).append(number)
    choose = max if column.better == "higher" else min
    return {scale: choose(group) for scale, group in groups.items() if len(group) > 1}


def _number(column: _Column, members: Sequence[Row]) -> Any:
    """The value of a table cell: a number, the mean of several numbers, or text; None if it is empty."""
    if column.number == "card":
        cards = [row.card for row in members if row.card is not None]
        return f"{sum(card.word == PASSES for card in cards)} of {len(cards)}" if cards else None
    values = [row.numbers.get(column.number) for row in members if row.failure is None]
    if not column.averages:
        value = values[0] if values else None
        return float(value) if column.better and isinstance(value, int) else value
    if not values or len(values) < len(members) or not all(isinstance(v, (int, float)) for v in values):
        return None  # a mean without a failed cell would be a mean of something else
    return math.fsum(float(v) for v in values if v is not None) / len(values)


def _printed(value: Any, number: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.{DECIMALS[number]}f}" if number in DECIMALS else f"{value:.4g}"
    return str(value)


def name_of(number: str) -> str:
    """The name under which a number is shown."""
    return _NAMES.get(number, label(number))


def _caption(analysis: str, columns: Sequence[_Column]) -> str:
    main = next((c for c in columns if c.better and c.number not in _QUALITY), None)
    if main is None:
        return f"{analysis.upper()} of each network."
    best = "largest" if main.better == "higher" else "smallest"
    text = f"{name_of(main.number)} ({analysis.upper()}) of each network; bold: the {best} of a column"
    if main.number == "diffusion_index":
        text += ", that is the most widely drawn upon input, which by itself is no merit"
    if any(c.number in _QUALITY for c in columns):
        text += ". PSNR and SSIM are of the whole image, and the best is marked among networks of one scale"
    return text + ". Nothing is bold where a note says that a comparison is unsound."


def _letter(index: int) -> str:
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def as_csv(grid: GridRows, warnings: Sequence[ComparisonWarning]) -> str:
    """All cells as CSV, one row for each cell, with every number at full precision."""
    keys = list(dict.fromkeys(key for row in grid.rows for key in row.numbers))
    groups = [network.group for network in grid.plan.request.networks]
    facts = ["analysis", "network", *(["group"] if any(groups) else []), "image", "window"]
    ends = ["verdict", "faithfulness", "cautions", "failure", "weights", "weights_sha256", "key"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*facts, *map(for_csv, keys), *ends])
    for row in grid.rows:
        network = grid.plan.networks[row.cell.network]
        sentences = " ".join(c.sentence for c in warnings if row.number in c.rows)
        group = [groups[row.cell.network]] if any(groups) else []
        texts = [row.cell.analysis, row.network, *group, row.image, row.window]
        numbers = [row.numbers.get(key) for key in keys]
        overall = row.card.overall if row.card is not None else ""
        last_columns = [
            row.verdict,
            overall,
            sentences,
            row.failure or "",
            network["weights"],
            network["sha256"],
            row.cell.key,
        ]
        writer.writerow(
            [*map(for_csv, texts), *(_plain(n) for n in numbers), *(for_csv(str(text)) for text in last_columns)]
        )
    return buffer.getvalue()


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, (int, float)) else for_csv(str(value))
