"""A grid from what is asked to what is shown: plan, compute what is missing, show."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from sr_hooks.core.options import as_plain
from sr_hooks.errors import OptionError
from sr_hooks.grid.compute import Computer
from sr_hooks.grid.folder import Place
from sr_hooks.grid.plan import Plan, make_plan
from sr_hooks.grid.report.formats import as_text
from sr_hooks.grid.report.outputs import Outputs
from sr_hooks.grid.report.tables import make_tables
from sr_hooks.grid.request import Asked
from sr_hooks.grid.tasks import Task, share
from sr_hooks.grid.workers import Crew, default_device, default_jobs, patient
from sr_hooks.version import __version__

__all__ = ["Summary", "run_grid", "work"]

_log = logging.getLogger("sr_hooks")


@dataclass(frozen=True)
class Summary:
    """How a grid went.

    Attributes:
        cells: different cells of the grid.
        computed: of them, those that were missing when this run began and were computed since, by any worker.
        checked: maps whose faithfulness was checked since.
        tables: one of every analysis, as text.
        failures: what each cell without an answer is, and why.
        seconds: wall-clock time.
    """

    folder: Path
    cells: int
    computed: int
    checked: int
    tables: str
    failures: tuple[tuple[str, str], ...]
    seconds: float


def run_grid(
    asked: Asked,
    out: str | Path = "grid",
    *,
    jobs: int | None = None,
    device: str = "auto",
    threads: int = 1,
    tell: Callable[[int, int], None] = lambda settled, total: None,
) -> Summary:
    """Networks x images x windows x analyses: compute what is not there yet, then draw figure, tables and report.

    `out` then holds `figure.pdf` and `figure.png` (and `figure_2`, ... where one page does not take all), `table.csv`,
    `table.md`, `table.tex` and `report.html`; `cells/` keeps every result under the SHA-256 of what it follows from.
    Ended at any moment, the same call goes on where it was. Any number of processes may make the same call at once, on
    machines that share the folder: they divide the cells among them by file locks, and when one dies the others take
    over what it was at. Under torchrun each worker takes the GPU of its local rank.

    Args:
        asked: from `read_asked` or `parse_asked`.
        out: a new or empty folder, or one of an earlier grid.
        jobs: processes of this machine, this one among them; by default one a CPU core or GPU, and one under torchrun.
        device: cpu, cuda, cuda:1, ...; auto is cuda where there is one.
        threads: of each process. Results are kept apart by it, since it can change their last bits.
        tell: called with the number of settled cells and of all.

    Raises:
        SRHooksError: something that cannot be answered, before anything is computed; a folder that cannot be written.
    """
    start = time.time()
    if threads < 1 or (jobs is not None and jobs < 1):
        raise OptionError(f"jobs and threads must be at least 1, not {jobs} and {threads}")
    place = Place(out)
    place.open({"asked": as_plain(asked), "sr_hooks": __version__, "torch": torch.__version__})
    patient()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        plan = make_plan(asked, device=default_device() if device == "auto" else device, threads=threads)
        _discard_damaged(plan, place)
        computer = Computer(plan, place)
        missing = [task for task in computer.tasks() if not task.done()]
        unchecked = computer.unchecked()
        count = min(jobs or default_jobs(plan.device), len(missing) + unchecked) - 1
        others = [default_device(number) if device == "auto" else device for number in range(1, count + 1)]
        with Crew(plan, place.folder, start, others) as crew:
            work(plan, place, since=start, tell=tell)
            for status in crew.wait():
                _log.warning("a worker ended with status %d; the others did its part", status)
    finally:
        torch.set_num_threads(before)
    return _summary(plan, place, missing, unchecked, start)


def work(
    plan: Plan, place: Place, *, since: float, tell: Callable[[int, int], None] = lambda settled, total: None
) -> None:
    """What every worker does: its part of the cells, and when all are settled its part of the outputs."""
    computer = Computer(plan, place)
    cells = computer.tasks()
    told: list[Task] = []

    def settle(task: Task) -> None:
        told.append(task)
        tell(len(told), len(cells))

    share(cells, place, since=since, tell=settle)
    share(computer.checks(), place, since=since)
    share(Outputs(plan, place, since).tasks(), place, since=since)
    place.note("ended", "", "a worker", cpu=round(time.process_time(), 3))


def _discard_damaged(plan: Plan, place: Place) -> None:
    """Results that cannot be read are computed again; no sound one is touched."""
    for key in dict.fromkeys(cell.key for cell in plan.cells):
        path = place.cache.path(key)
        if path.exists() and place.cache.get(key) is None:
            with place.claimed(key) as free:
                if free and place.cache.get(key) is None:
                    shutil.rmtree(path, ignore_errors=True)


def _summary(plan: Plan, place: Place, missing: list[Task], unchecked: int, start: float) -> Summary:
    computer, outputs = Computer(plan, place), Outputs(plan, place, start)
    failures = {}
    for task in [*computer.tasks(), *computer.checks(), *outputs.tasks()]:
        if not task.done():
            failures[task.label] = place.failure(task.key, start) or "not done"
    return Summary(
        folder=place.folder,
        cells=len({cell.key for cell in plan.cells}),
        computed=sum(task.done() for task in missing),
        checked=unchecked - computer.unchecked(),
        tables="\n\n".join(map(as_text, make_tables(outputs.gathered, outputs.cautions))),
        failures=tuple(failures.items()),
        seconds=time.time() - start,
    )
