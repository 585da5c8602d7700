"""The first page of the HTML report: a table of pictures, networks x windows, and a sortable table of all cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sr_hooks.core.text import cell
from sr_hooks.grid.report.html.status import status_of
from sr_hooks.grid.report.html.windows import anchor_of
from sr_hooks.grid.report.rows import GridRows, is_map
from sr_hooks.grid.report.tables import DECIMALS, name_of
from sr_hooks.grid.report.warnings import ComparisonWarning

__all__ = ["cell_tables", "picture_tables"]


def picture_tables(grid: GridRows, sections: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For every analysis that gives maps: a column for each window below its image, a row for each network."""
    tables = []
    for analysis in grid.plan.request.analyses:
        columns, entries = [], {}
        for section in sections:
            of_analysis = {
                entry["row"].cell.network: entry
                for entry in section["entries"]
                if entry["row"].cell.analysis == analysis
            }
            if of_analysis:
                entries[section["anchor"]] = of_analysis
                columns.append(section)
        networks = list(dict.fromkeys(row.cell.network for row in grid.of(analysis) if is_map(row.cell)))
        if not columns:
            continue
        groups: dict[str, int] = {}
        for column in columns:
            groups[column["image"]] = groups.get(column["image"], 0) + 1
        rows = []
        for network in networks:
            cells = [entries[column["anchor"]].get(network) for column in columns]
            rows.append({"name": grid.plan.request.networks[network].name, "cells": [_with_number(c) for c in cells]})
        tables.append({"analysis": analysis, "groups": list(groups.items()), "columns": columns, "rows": rows})
    return tables


def _with_number(entry: dict[str, Any] | None) -> dict[str, Any] | None:
    """An entry with the number that stands below its picture."""
    if entry is None:
        return None
    numbers = entry["row"].numbers
    key = "diffusion_index" if "diffusion_index" in numbers else next(iter(numbers), "")
    value = numbers.get(key)
    text = f"{value:.{DECIMALS[key]}f}" if isinstance(value, float) and key in DECIMALS else cell(value)
    return {**entry, "key": key, "text": f"{name_of(key)} {text}" if key else ""}


def cell_tables(grid: GridRows, warnings: Sequence[ComparisonWarning]) -> list[dict[str, Any]]:
    """A sortable table for every analysis: a row for each cell, with printed values and sort keys."""
    tables = []
    for analysis in grid.plan.request.analyses:
        rows = grid.of(analysis)
        keys = list(dict.fromkeys(key for row in rows for key in row.numbers))
        tables.append(
            {
                "analysis": analysis,
                "keys": keys,
                "windowed": any(row.cell.window for row in rows),
                "checked": any(row.card is not None for row in rows),
                "rows": [
                    {
                        "row": row,
                        "link": anchor_of(row),
                        "numbers": [_number(row.numbers.get(key)) for key in keys],
                        "status": status_of(row, warnings),
                    }
                    for row in rows
                ],
            }
        )
    return tables


def _number(value: Any) -> dict[str, Any]:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    sort = repr(float(value)) if numeric else cell(value)
    return {"text": cell(value), "sort": sort, "numeric": numeric or value is None}
