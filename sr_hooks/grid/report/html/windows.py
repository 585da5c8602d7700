"""The sections of the HTML report that show a window: the shared images, and the map of each network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import NoneType
from typing import Any

import numpy as np
import torch

from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.figures.data_uri import compact_uri, density_uri, map_uri, photo_uri, ramp
from sr_hooks.grid.report.html.status import status_of
from sr_hooks.grid.report.html.thumbnails import map_thumbnail
from sr_hooks.grid.report.rows import GridRows, Row, is_map, map_images
from sr_hooks.grid.report.warnings import ComparisonWarning
from sr_hooks.images.image import upsample
from sr_hooks.images.regions import Region, outline

__all__ = ["anchor_of", "sections"]


def anchor_of(row: Row) -> str:
    """The anchor of the section that shows a cell."""
    if is_map(row.cell) and row.cell.window is not None:
        return f"place-{row.cell.image}-" + "-".join(map(str, row.cell.window))
    return f"cell-{row.number}"


def sections(grid: GridRows, warnings: Sequence[ComparisonWarning]) -> list[dict[str, Any]]:
    """A section for every window of every image, with the maps of all networks."""
    pages: dict[str, dict[str, Any]] = {}
    several = len({row.cell.analysis for row in grid.rows if is_map(row.cell)}) > 1
    for row in grid.rows:
        result = grid.result(row.cell.key)
        if not is_map(row.cell) or not isinstance(result, (LamResult, NoneType)):
            continue
        page = pages.setdefault(anchor_of(row), _empty(row))
        if result is not None and "reference" not in page:
            page |= {"reference": _reference(grid, row, result), "title": _title(row, result)}
        page["entries"].append(
            {
                "row": row,
                "name": f"{row.network} ({row.cell.analysis})" if several else row.network,
                "status": status_of(row, warnings),
                "map": _map(result) if result is not None else None,
            }
        )
    listed = list(pages.values())
    for before, after in pairwise(listed):
        before["next"], after["previous"] = after, before
    return listed


def _empty(row: Row) -> dict[str, Any]:
    return {
        "anchor": anchor_of(row),
        "image": row.image,
        "window": row.cell.window,
        "title": _title(row, None),
        "entries": [],
        "previous": None,
        "next": None,
    }


def _title(row: Row, result: LamResult | None) -> str:
    """Where the window lies; of a mask how many pixels it has."""
    top, left, high, wide = row.cell.window or (0, 0, 0, 0)
    if result is not None and _is_mask(result):
        return f"mask of {result.region.area} pixels within {high}×{wide} at ({top}, {left})"
    return f"window {high}×{wide} at ({top}, {left})"


def _is_mask(result: LamResult) -> bool:
    return isinstance(result.region, Region) and not result.region.is_rectangle


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
        "thumbnail": photo_uri(whole, longest=144, quality=85),
        "is_truth": truth is not None,
        "size": (height, width),
        "outline": _path(result, 1.0),
        "truth": compact_uri(whole[cut]) if truth is not None else None,
        "bicubic": compact_uri(enlarged[cut]),
        "patch": _patch_outline(result),
    }


def _map(result: LamResult) -> dict[str, Any]:
    published = bool(result.provenance.get("options", {}).get("compat"))
    shown = map_images(result)
    lr, output = shown.lr, shown.output
    top, left, high, wide = result.window
    zoom = output.shape[-1] / lr.shape[-1]
    centre = ((left + wide / 2) / output.shape[-1], (top + high / 2) / output.shape[-2])
    return {
        "lr": compact_uri(lr),
        "map": map_uri(shown.map, published=published),
        "density": density_uri(shown.density, lr, published=published),
        "patch": compact_uri(output[:, top : top + high, left : left + wide]),
        "thumbnail": map_thumbnail(shown, published=published),
        "size": lr.shape[-2:],
        "outline": _path(result, zoom),
        "centre": [round(100 * share, 1) for share in centre],
        "ramp": ramp(published=published),
    }


def _path(result: LamResult, factor: float, corner: tuple[float, float] = (0.0, 0.0)) -> str:
    """The border of the window or mask as the path of an SVG, in pixels that are `factor` output pixels wide."""
    lines = []
    for border in outline(result.region):
        points = np.round((border - np.array(corner)) / factor, 3)
        lines.append("M" + "L".join(f"{x:g} {y:g}" for y, x in points[:-1]) + "Z")
    return "".join(lines)


def _patch_outline(result: LamResult) -> dict[str, Any] | None:
    """The border of a mask within its bounding window; None for a window."""
    if not _is_mask(result):
        return None
    top, left, high, wide = result.window
    return {"size": (high, wide), "outline": _path(result, 1.0, (top, left))}
