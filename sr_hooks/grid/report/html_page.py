"""The HTML report: collect what the page shows and fill the template."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.analyses.faig.result import FaigResult
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.core.text import cell, one_line
from sr_hooks.figures.data_uri import density_uri, map_uri, photo_uri, pixels_uri, ramp
from sr_hooks.grid.report.html_plots import histogram_of, scatters_of
from sr_hooks.grid.report.rows import GridRows, Row, is_map, map_images
from sr_hooks.grid.report.tables import make_tables, name_of
from sr_hooks.grid.report.warnings import ComparisonWarning
from sr_hooks.images.image import upsample
from sr_hooks.results.result import Result
from sr_hooks.version import __version__

__all__ = ["make_report"]

_TEMPLATES = Path(__file__).parent / "templates"


def make_report(grid: GridRows, warnings: Sequence[ComparisonWarning]) -> str:
    """Return the page's HTML. Every name is escaped, and the page's policy allows only the page's own script."""
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
    }
    style, script = (_part(name) for name in ("report.css", "report.js"))
    return environment.get_template("report.html").render(
        title="sr-hooks grid",
        version=__version__,
        style=Markup(style),  # style and script are files of this package
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        warnings=warnings,
        tables=make_tables(grid, warnings),
        overviews=_overviews(grid, warnings),
        places=_places(grid),
        clouds=_clouds(grid),
        histograms=_histograms(grid),
        others=_others(grid),
        rows=[_provenance(grid, row) for row in grid.rows],
    )


def _part(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _sentence(text: str) -> str:
    """Remove characters that break lines or change the direction of text; the length is not limited."""
    return one_line(text, None)


def _hash(text: str) -> str:
    """The hash by which a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _overviews(grid: GridRows, warnings: Sequence[ComparisonWarning]) -> list[dict[str, Any]]:
    """A sortable table for every analysis: a row for each cell, with printed values and sort keys."""
    overviews = []
    for analysis in grid.plan.request.analyses:
        rows = grid.of(analysis)
        keys = list(dict.fromkeys(key for row in rows for key in row.numbers))
        overviews.append(
            {
                "analysis": analysis,
                "heads": [name_of(key) for key in keys],
                "windowed": any(row.cell.window for row in rows),
                "checked": any(row.card is not None for row in rows),
                "rows": [
                    {
                        "row": row,
                        "link": _anchor(row),
                        "numbers": [_number(row.numbers.get(key)) for key in keys],
                        "word": "failed" if row.failure else re.split("[:;]", row.verdict)[0].rstrip("."),
                        "marked": any(c.single and row.number in c.rows for c in warnings),
                    }
                    for row in rows
                ],
            }
        )
    return overviews


def _number(value: Any) -> dict[str, Any]:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return {"text": cell(value), "sort": repr(float(value)) if numeric else cell(value), "numeric": numeric}


def _anchor(row: Row) -> str:
    """The anchor of the section that shows a cell."""
    if is_map(row.cell) and row.cell.window is not None:
        return f"place-{row.cell.image}-" + "-".join(map(str, row.cell.window))
    return f"cell-{row.number}"


def _places(grid: GridRows) -> list[dict[str, Any]]:
    """A section for every window of every image, with the maps of all networks."""
    pages: dict[str, dict[str, Any]] = {}
    for row in grid.rows:
        result = grid.result(row.cell.key)
        if not is_map(row.cell) or not isinstance(result, (LamResult, NoneType)):
            continue
        page = pages.setdefault(
            _anchor(row), {"anchor": _anchor(row), "image": row.image, "window": row.cell.window, "entries": []}
        )
        if result is not None and "reference" not in page:
            page["reference"] = _reference(grid, row, result)
        page["entries"].append({"row": row, "map": _map(result) if result is not None else None})
    return list(pages.values())


def _reference(grid: GridRows, row: Row, result: LamResult) -> dict[str, Any]:
    """The images that all networks of a section share: ground truth and bicubic enlargement."""
    truth, shown = grid.truth(row.cell), map_images(result)
    output = shown.output
    height, width = output.shape[-2:]
    whole = output if truth is None else truth[0, :, :height, :width].numpy()
    enlarged = upsample(torch.from_numpy(shown.lr)[None], (height, width))[0].numpy()
    top, left, high, wide = result.window
    cut = (slice(None), slice(top, top + high), slice(left, left + wide))
    return {
        "photo": photo_uri(whole),
        "is_truth": truth is not None,
        "size": (height, width),
        "truth": pixels_uri(whole[cut]) if truth is not None else None,
        "bicubic": pixels_uri(enlarged[cut]),
    }


def _map(result: LamResult) -> dict[str, Any]:
    published = bool(result.provenance.get("options", {}).get("compat"))
    shown = map_images(result)
    lr, output = shown.lr, shown.output
    top, left, high, wide = result.window
    zoom = output.shape[-1] / lr.shape[-1]
    return {
        "lr": pixels_uri(lr),
        "map": map_uri(shown.map, published=published),
        "density": density_uri(shown.density, lr, published=published),
        "patch": pixels_uri(output[:, top : top + high, left : left + wide]),
        "size": lr.shape[-2:],
        "box": [round(side / zoom, 3) for side in (left, top, wide, high)],
        "ramp": ramp(published=published),
    }


def _results(grid: GridRows) -> Iterator[tuple[Row, Result | None]]:
    """Each row with its result; the result is None if the cell failed."""
    for row in grid.rows:
        yield row, grid.result(row.cell.key) if row.failure is None else None


def _clouds(grid: GridRows) -> list[dict[str, Any]]:
    return [
        {"row": row, "anchor": _anchor(row), "scatters": scatters_of(result)}
        for row, result in _results(grid)
        if isinstance(result, DdrResult)
    ]


def _histograms(grid: GridRows) -> list[dict[str, Any]]:
    return [
        {"row": row, "anchor": _anchor(row), "plot": histogram_of(result)}
        for row, result in _results(grid)
        if isinstance(result, FaigResult)
    ]


def _others(grid: GridRows) -> list[dict[str, Any]]:
    """Cells for which the page has no plot: the figure that the analysis draws, or the failure."""
    others = []
    for row, result in _results(grid):
        if is_map(row.cell) or isinstance(result, (DdrResult, FaigResult)):
            continue
        others.append(
            {"row": row, "anchor": _anchor(row), "figure": _figure(grid, result) if result is not None else None}
        )
    return others


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
