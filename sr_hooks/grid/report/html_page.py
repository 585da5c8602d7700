"""What the report shows, gathered for its template, and the template filled in."""

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
from sr_hooks.core.escapes import one_line
from sr_hooks.core.text_tables import cell
from sr_hooks.figures.data_uri import density_uri, map_uri, photo_uri, pixels_uri, ramp
from sr_hooks.grid.report.html_plots import histogram_of, scatters_of
from sr_hooks.grid.report.rows import Gathered, Row, is_map, shown_of
from sr_hooks.grid.report.tables import make_tables, name_of
from sr_hooks.grid.report.warnings import Caution
from sr_hooks.images.image import upsample
from sr_hooks.results.result import Result
from sr_hooks.version import __version__

__all__ = ["make_report"]

_TEMPLATES = Path(__file__).parent / "templates"


def make_report(gathered: Gathered, cautions: Sequence[Caution]) -> str:
    """The page as text. Every name in it is escaped, and its policy lets the browser run no script but its own."""
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
        style=Markup(style),  # both are our own files
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        cautions=cautions,
        tables=make_tables(gathered, cautions),
        overviews=_overviews(gathered, cautions),
        places=_places(gathered),
        clouds=_clouds(gathered),
        histograms=_histograms(gathered),
        others=_others(gathered),
        rows=[_provenance(gathered, row) for row in gathered.rows],
    )


def _part(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _sentence(text: str) -> str:
    """Whole, but without characters that would break lines or turn the direction of what follows."""
    return one_line(text, None)


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _overviews(gathered: Gathered, cautions: Sequence[Caution]) -> list[dict[str, Any]]:
    """A sortable table of every analysis: a row a cell, its numbers as they are printed and as they are sorted."""
    found = []
    for analysis in gathered.plan.asked.analyses:
        rows = gathered.of(analysis)
        keys = list(dict.fromkeys(key for row in rows for key in row.numbers))
        found.append(
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
                        "marked": any(c.single and row.number in c.rows for c in cautions),
                    }
                    for row in rows
                ],
            }
        )
    return found


def _number(value: Any) -> dict[str, Any]:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return {"text": cell(value), "sort": repr(float(value)) if numeric else cell(value), "numeric": numeric}


def _anchor(row: Row) -> str:
    """The page on which a cell is shown."""
    if is_map(row.cell) and row.cell.window is not None:
        return f"place-{row.cell.image}-" + "-".join(map(str, row.cell.window))
    return f"cell-{row.number}"


def _places(gathered: Gathered) -> list[dict[str, Any]]:
    """A page for every window of every image, with what all networks made of it."""
    pages: dict[str, dict[str, Any]] = {}
    for row in gathered.rows:
        result = gathered.result(row.cell.key)
        if not is_map(row.cell) or not isinstance(result, (LamResult, NoneType)):
            continue
        page = pages.setdefault(
            _anchor(row), {"anchor": _anchor(row), "image": row.image, "window": row.cell.window, "entries": []}
        )
        if result is not None and "reference" not in page:
            page["reference"] = _reference(gathered, row, result)
        page["entries"].append({"row": row, "map": _map(result) if result is not None else None})
    return list(pages.values())


def _reference(gathered: Gathered, row: Row, result: LamResult) -> dict[str, Any]:
    """What all networks of a page have in common."""
    truth, shown = gathered.truth(row.cell), shown_of(result)
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
    shown = shown_of(result)
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


def _results(gathered: Gathered) -> Iterator[tuple[Row, Result | None]]:
    """Each row with its result; None for one that failed."""
    for row in gathered.rows:
        yield row, gathered.result(row.cell.key) if row.failure is None else None


def _clouds(gathered: Gathered) -> list[dict[str, Any]]:
    return [
        {"row": row, "anchor": _anchor(row), "scatters": scatters_of(result)}
        for row, result in _results(gathered)
        if isinstance(result, DdrResult)
    ]


def _histograms(gathered: Gathered) -> list[dict[str, Any]]:
    return [
        {"row": row, "anchor": _anchor(row), "plot": histogram_of(result)}
        for row, result in _results(gathered)
        if isinstance(result, FaigResult)
    ]


def _others(gathered: Gathered) -> list[dict[str, Any]]:
    """What has no plot of the page's own, by the figure that its analysis draws; and what failed."""
    found = []
    for row, result in _results(gathered):
        if is_map(row.cell) or isinstance(result, (DdrResult, FaigResult)):
            continue
        found.append({"row": row, "anchor": _anchor(row), "figure": _figure(result) if result is not None else None})
    return found


def _figure(result: Result) -> str | None:
    """The analysis's own figure; None where it has none or it cannot be drawn, which costs the page no numbers."""
    try:
        figure = result.figure()
    except Exception:
        return None
    if figure is None:
        return None
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _provenance(gathered: Gathered, row: Row) -> dict[str, Any]:
    return {
        "label": gathered.plan.label(row.cell),
        "number": row.number,
        "facts": [("key", row.cell.key), *_flat(row.provenance)],
    }


def _flat(facts: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{above}{key}"
        found += _flat(value, f"{name}: ") if isinstance(value, Mapping) else [(name, str(value))]
    return found
