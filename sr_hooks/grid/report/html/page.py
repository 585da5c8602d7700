"""The HTML report: collect what the page shows and fill the template."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.analyses.faig.result import FaigResult
from sr_hooks.analyses.number_glossary import explanation
from sr_hooks.core.text import one_line
from sr_hooks.grid.report.html.overview import cell_tables, picture_tables
from sr_hooks.grid.report.html.status import status_of
from sr_hooks.grid.report.html.thumbnails import PatchSheets
from sr_hooks.grid.report.html.windows import anchor_of, sections
from sr_hooks.grid.report.html_plots import histogram_of, scatters_of
from sr_hooks.grid.report.rows import GridRows, Row, is_map
from sr_hooks.grid.report.tables import make_tables, name_of
from sr_hooks.grid.report.warnings import ComparisonWarning
from sr_hooks.results.result import Result
from sr_hooks.version import __version__

__all__ = ["make_report"]

_MOST_LINKS = 8  # to pages of one kind
_TEMPLATES = Path(__file__).parent / "templates"


def make_report(grid: GridRows, warnings: Sequence[ComparisonWarning], files: Sequence[str] = ()) -> str:
    """Return the page's HTML. Every name is escaped, and the page's policy allows only the page's own script.

    Args:
        grid: the cells.
        warnings: of `comparison_warnings`.
        files: names of the files beside the page, to which the page links.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "name": one_line,
        "short": partial(one_line, longest=24),
        "sentence": _sentence,
        "number_name": name_of,
        "explained": explanation,
    }
    shown, sheets = sections(grid, warnings), PatchSheets()
    linked = [file for kind in _by_kind(files) for file in kind[:_MOST_LINKS]]
    style, script = (_part(name) for name in ("report.css", "report.js"))
    return environment.get_template("report.html").render(
        title=one_line(grid.plan.request.title, 200) or "sr-hooks grid",
        version=__version__,
        style=Markup(style),  # style and script are files of this package
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        warnings=warnings,
        files=linked,
        further_files=len(files) - len(linked),
        counts=_counts(grid),
        tables=make_tables(grid, warnings),
        picture_tables=picture_tables(grid, shown),
        overviews=cell_tables(grid, warnings),
        places=shown,
        clouds=_clouds(grid, warnings, sheets),
        sheets=list(sheets.sheets.values()),
        histograms=_histograms(grid, warnings),
        others=_others(grid, warnings),
        rows=[_provenance(grid, row) for row in grid.rows],
        numbers_explained=_numbers(grid),
    )


def _by_kind(files: Sequence[str]) -> list[list[str]]:
    """The files in groups of one suffix."""
    groups: dict[str, list[str]] = {}
    for file in files:
        groups.setdefault(Path(file).suffix, []).append(file)
    return list(groups.values())


def _part(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _sentence(text: str) -> str:
    """Remove characters that break lines or change the direction of text; the length is not limited."""
    return one_line(text, None)


def _hash(text: str) -> str:
    """The hash by which a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _results(grid: GridRows) -> Iterator[tuple[Row, Result | None]]:
    """Each row with its result; the result is None if the cell failed."""
    for row in grid.rows:
        yield row, grid.result(row.cell.key) if row.failure is None else None


def _counts(grid: GridRows) -> list[str]:
    """What the grid holds, for the line below the title."""
    request = grid.plan.request
    windows = len({(row.cell.image, row.cell.window) for row in grid.rows if row.cell.window})
    failed = sum(row.failure is not None for row in grid.rows)
    counts = [(len(request.networks), "network"), (len(request.images), "image"), (windows, "window")]
    texts = [f"{count} {name}{'s' * (count != 1)}" for count, name in counts if count]
    return [*texts, ", ".join(name.upper() for name in request.analyses), *([f"{failed} failed"] if failed else [])]


def _numbers(grid: GridRows) -> list[tuple[str, str]]:
    """Every number on the page that is explained: its printed name and its meaning."""
    keys = [(key, row.cell.analysis) for row in grid.rows for key in row.numbers]
    texts = {name_of(key.partition("/")[0]): explanation(key, analysis) for key, analysis in keys}
    return [(name, text) for name, text in texts.items() if text]


def _clouds(grid: GridRows, warnings: Sequence[ComparisonWarning], sheets: PatchSheets) -> list[dict[str, Any]]:
    return [
        {
            "row": row,
            "anchor": anchor_of(row),
            "status": status_of(row, warnings),
            "scatters": scatters_of(result),
            "sheet": sheets.of(result),
        }
        for row, result in _results(grid)
        if isinstance(result, DdrResult)
    ]


def _histograms(grid: GridRows, warnings: Sequence[ComparisonWarning]) -> list[dict[str, Any]]:
    return [
        {"row": row, "anchor": anchor_of(row), "status": status_of(row, warnings), "plot": histogram_of(result)}
        for row, result in _results(grid)
        if isinstance(result, FaigResult)
    ]


def _others(grid: GridRows, warnings: Sequence[ComparisonWarning]) -> list[dict[str, Any]]:
    """Cells for which the page has no plot: the figure that the analysis draws, or the failure."""
    return [
        {
            "row": row,
            "anchor": anchor_of(row),
            "status": status_of(row, warnings),
            "figure": _figure(grid, result) if result is not None else None,
        }
        for row, result in _results(grid)
        if not is_map(row.cell) and not isinstance(result, (DdrResult, FaigResult))
    ]


def _figure(grid: GridRows, result: Result) -> str | None:
    """The analysis's own figure as a data URI; None if there is none or drawing fails. The numbers are shown anyway."""
    try:
        known = {k: v for k, v in grid.plan.request.figure.items() if k in ("look", "colormap", "scale", "notes")}
        figure = result.figure(**known)
        if figure is None:
            return None
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    except Exception:
        return None
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _provenance(grid: GridRows, row: Row) -> dict[str, Any]:
    return {
        "label": grid.plan.label(row.cell),
        "number": row.number,
        "facts": [("key", row.cell.key), *_flat(row.provenance)],
    }


def _flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix}{key}"
        pairs += _flat(value, f"{name}: ") if isinstance(value, Mapping) else [(name, str(value))]
    return pairs
