"""How many cells a grid has, how long they take and how much disk they need, before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr_hooks.core.text import duration
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import Cell, GridPlan, make_plan
from sr_hooks.grid.request import GridRequest

__all__ = ["GridEstimate", "cost_of", "estimate"]

_FORWARDS = 40  # of the whole image, as which a cell counts until cells of its network have been computed
_BYTES = 4  # of a number of an array


@dataclass(frozen=True)
class GridEstimate:
    """What a grid will cost.

    Attributes:
        cells, present: number of different cells, and how many of them are in the folder.
        networks, problems: number of networks, and the sentence about those that cannot be used.
        seconds: of computation for the missing cells, on one worker.
        measured: share of these seconds that rests on cells of the same network in the folder.
        workers: among how many the cells are divided.
        longest: seconds of the longest cell, below which no number of workers brings the time.
        size: bytes on disk of the missing cells.
    """

    cells: int
    present: int
    networks: int
    problems: str
    seconds: float
    measured: float
    workers: int
    longest: float
    size: int

    @property
    def time(self) -> float:
        """Seconds to the end with all workers."""
        return max(self.seconds / self.workers, self.longest)

    def __str__(self) -> str:
        missing = self.cells - self.present
        text = f"{self.cells} cells of {self.networks} networks, {self.present} of them are there"
        if missing:
            alone, shared = (duration(max(seconds, 1)) for seconds in (self.seconds, self.time))
            text += f"; the other {missing} take some {alone} on one worker, {shared} on {self.workers}"
            text += f", and some {_megabytes(self.size)} of disk"
            text += f" ({self.measured:.0%} of the time by measured cells, the rest by forwards)"
        return text + (f"\n{self.problems}" if self.problems else "")


def estimate(
    request: GridRequest, out: str | Path, *, workers: int, device: str, threads: int = 1, together: bool = False
) -> GridEstimate:
    """Plan a grid, and tell what its missing cells will cost. Nothing is computed and nothing is written.

    The time follows from cells of the same network that are in the folder. Without them a cell counts as 40 forwards of
    the image, each estimated from a forward on a small image, which may be wrong by a factor of five.

    Args:
        out: the folder of the grid; it need not exist.

    Raises:
        SRHooksError: the request cannot be answered, as `run_grid`.
    """
    plan = make_plan(request, device=device, threads=threads, together=together)
    folder = GridFolder(out)
    cells = {cell.key: cell for cell in plan.cells if cell.network not in plan.problems}
    present = [cell for cell in cells.values() if (folder.cache.path(cell.key) / "result.json").is_file()]
    there = {cell.key for cell in present}
    missing = [cell for cell in cells.values() if cell.key not in there]
    known = _measured(folder.journal(), cells) if folder.path.is_dir() else {}
    costs = [known.get((cell.network, cell.analysis), cost_of(plan, cell)) for cell in missing]
    by_measure = sum(c for c, cell in zip(costs, missing, strict=True) if (cell.network, cell.analysis) in known)
    return GridEstimate(
        len(cells),
        len(present),
        len(request.networks),
        plan.problems_sentence(),
        sum(costs),
        by_measure / sum(costs) if sum(costs) else 1.0,
        max(min(workers, len(missing)), 1),
        max(costs, default=0.0),
        _size(plan, folder, present, missing),
    )


def cost_of(plan: GridPlan, cell: Cell) -> float:
    """Seconds that a cell takes, from the time of a forward; 0 if that is not known."""
    per_pixel = plan.seconds[cell.network] if plan.seconds else 0.0
    if not per_pixel:
        return 0.0
    return _FORWARDS * per_pixel * sum(math.prod(side) for side in _inputs(plan, cell))


def _inputs(plan: GridPlan, cell: Cell) -> list[tuple[int, int]]:
    """Height and width of the network's inputs for a cell."""
    numbers = [cell.image] if cell.image is not None else range(len(plan.request.images))
    scale = float(plan.networks[cell.network]["scale"]) if plan.request.hr else 1.0
    return [(int(plan.sizes[number][0] / scale), int(plan.sizes[number][1] / scale)) for number in numbers]


def _measured(journal: Sequence[Mapping[str, Any]], cells: Mapping[str, Cell]) -> dict[tuple[int, str], float]:
    """Mean seconds of the computed cells of each network and analysis."""
    seconds: dict[tuple[int, str], list[float]] = {}
    for line in journal:
        cell = cells.get(str(line.get("key", "")))
        if cell is not None and line.get("event") == "finished" and "cpu" in line:
            seconds.setdefault((cell.network, cell.analysis), []).append(float(line["cpu"]))
    return {key: sum(values) / len(values) for key, values in seconds.items()}


def _size(plan: GridPlan, folder: GridFolder, present: Sequence[Cell], missing: Sequence[Cell]) -> int:
    """Bytes of the missing cells: as large as those in the folder; else map, input and output as plain numbers."""
    if present:
        files = [file for cell in present[:50] for file in folder.cache.path(cell.key).rglob("*") if file.is_file()]
        return round(sum(file.stat().st_size for file in files) / len(present[:50]) * len(missing))
    size = 0
    for cell in missing:
        scale = float(plan.networks[cell.network]["scale"])
        size += sum(round(3 * _BYTES * height * width * (2 + scale**2)) for height, width in _inputs(plan, cell))
    return size


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 0.1):.1f} MB"
