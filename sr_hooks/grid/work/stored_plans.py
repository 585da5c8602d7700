"""One plan for all workers: the first worker plans, the others read the plan from the folder of the grid."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from sr_hooks.core.options import as_plain
from sr_hooks.errors import SRHooksError
from sr_hooks.files.regular_files import is_folder, read_bytes
from sr_hooks.files.strict_json import from_json, to_json
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import Cell, GridPlan, make_plan, options_of_cell, version_of
from sr_hooks.grid.request import GridRequest
from sr_hooks.images.regions import Region
from sr_hooks.images.windows import Window
from sr_hooks.results.writing import write_file
from sr_hooks.version import __version__

__all__ = ["shared_plan"]

_PAUSE = (0.1, 2.0)  # seconds between looks while another worker plans: the first, the longest
_LARGEST = 2**30  # bytes of a stored plan


def shared_plan(
    request: GridRequest, folder: GridFolder, *, device: str, threads: int, since: float, together: bool = False
) -> GridPlan:
    """The plan that another worker has made of the same request; or a new plan, which is stored for the others.

    A stored plan holds while the request, the versions of the packages and all files that the request names are the
    same. A plan in which a network failed holds for the run in which it was made.

    Args:
        since: when this run began, in seconds of `folder.now()`.

    Raises:
        SRHooksError: as `make_plan`.
    """
    file = folder.path / f"plan_{torch.device(device).type}.json"
    name = _fingerprint(request, threads, together)
    pause = _PAUSE[0]
    while True:
        plan = _stored(file, name, request, device, since)
        if plan is not None:
            return plan
        with folder.beating(), folder.claimed(file.stem) as free:
            if free:
                plan = _stored(file, name, request, device, since)
                if plan is None:
                    plan = make_plan(request, device=device, threads=threads, together=together)
                    _store(file, name, plan, folder.now())
                return plan
        time.sleep(pause)
        pause = min(2 * pause, _PAUSE[1])


def _fingerprint(request: GridRequest, threads: int, together: bool) -> str:
    """Changes when the request, a version, or the size or time of a file that the request names changes."""
    plain = as_plain(request)
    plain.pop("device")
    versions = [__version__, torch.__version__, *map(version_of, request.analyses)]
    content = [plain, versions, threads, together, sorted(set(_files(plain)))]
    return hashlib.sha256(to_json(content, indent=None).encode()).hexdigest()


def _files(value: Any) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of each file that is named somewhere in a request, and of the files of each folder."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for inside in value:
            yield from _files(inside)
    elif isinstance(value, str):
        for text in {value, value.partition("=")[2], value.partition(".py:")[0] + ".py"}:
            try:
                path = Path(text)
                paths = path.rglob("*") if text and is_folder(path) else [path] if text else []
                for each in paths:
                    state = each.stat()
                    yield str(each), state.st_size, state.st_mtime_ns
            except (OSError, ValueError):
                continue  # no name of a file


def _store(file: Path, name: str, plan: GridPlan, moment: float) -> None:
    first: dict[str, int] = {}  # the network by whose options the cells of a network stand that cannot be used
    for cell in plan.cells:
        if cell.network not in plan.problems:
            first.setdefault(cell.analysis, cell.network)
    cells = []
    for cell in plan.cells:
        source = first[cell.analysis] if cell.network in plan.problems else cell.network
        region = None
        if isinstance(cell.options.get("window"), Region) and cell.image is not None:
            region = (plan.request.images[cell.image].windows or ()).index(cell.options["window"])
        cells.append([cell.key, cell.analysis, cell.network, source, cell.image, cell.window, region, cell.check])
    content = {
        "name": name,
        "time": moment,
        "cells": cells,
        "networks": [dict(network) for network in plan.networks],
        "hashes": plan.hashes,
        "threads": plan.threads,
        "problems": {str(row): reason for row, reason in plan.problems.items()},
        "sizes": plan.sizes,
        "seconds": plan.seconds,
        "together": plan.together,
    }
    write_file(file, lambda part: part.write_text(to_json(content, indent=None), encoding="utf-8"))


def _stored(file: Path, name: str, request: GridRequest, device: str, since: float) -> GridPlan | None:
    """The stored plan, if it is of this name; None if there is none, or none that can be read."""
    try:
        content = from_json(read_bytes(file, largest=_LARGEST))
        if content["name"] != name or (content["problems"] and content["time"] < since):
            return None
        return GridPlan(
            request,
            tuple(_cell(request, *entry) for entry in content["cells"]),
            tuple(content["networks"]),
            tuple(content["hashes"]),
            device,
            int(content["threads"]),
            {int(row): str(reason) for row, reason in content["problems"].items()},
            tuple((int(height), int(width)) for height, width in content["sizes"]),
            tuple(map(float, content["seconds"])),
            bool(content["together"]),
        )
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, SRHooksError):
        return None


def _cell(
    request: GridRequest,
    key: str,
    analysis: str,
    network: int,
    source: int,
    image: int | None,
    box: list[int] | None,
    region: int | None,
    check: bool,
) -> Cell:
    window: Window | None = Window(*box) if box else None
    if region is not None and image is not None:
        window = (request.images[image].windows or ())[region]  # type: ignore[assignment]
    stated = request.options_of(request.networks[source], analysis) or {}
    options = options_of_cell(analysis, stated, window)
    return Cell(key, analysis, network, image, tuple(box) if box else None, options, check)  # type: ignore[arg-type]
