"""Run a whole grid: plan the cells, compute the missing ones with all workers, write figure, tables and report."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sr_hooks.core.options import as_plain
from sr_hooks.errors import OptionError, ResultError
from sr_hooks.grid.cluster.executors import Executor, run_in
from sr_hooks.grid.cluster.follow import GridState, state_of
from sr_hooks.grid.compute import CellComputer
from sr_hooks.grid.folder import MARKER, GridFolder
from sr_hooks.grid.plan import GridPlan
from sr_hooks.grid.report.formats import as_text
from sr_hooks.grid.report.outputs import Outputs
from sr_hooks.grid.report.tables import make_tables
from sr_hooks.grid.request import GridRequest
from sr_hooks.grid.work.stored_plans import shared_plan
from sr_hooks.grid.work.tasks import Task, run_shared
from sr_hooks.grid.workers import Workers, default_device, default_jobs, work_on_when_terminated
from sr_hooks.results.writing import write_file
from sr_hooks.version import __version__

__all__ = ["GridSummary", "GridWorker", "open_folder", "run_grid", "run_worker"]

_log = logging.getLogger("sr_hooks")


@dataclass(frozen=True)
class GridSummary:
    """What a run of a grid has done.

    Attributes:
        folder: the grid's folder.
        cells: number of different cells.
        computed: number of cells that were missing at the start and were computed in this run, by any worker.
        checked: number of maps whose faithfulness was checked in this run.
        tables: the table of every analysis, as text.
        failures: (label, reason) of each cell or output that failed.
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
    request: GridRequest,
    out: str | Path = "grid",
    *,
    jobs: int | None = None,
    device: str = "auto",
    threads: int = 1,
    progress: Callable[[int, int], None] = lambda settled, total: None,
    earlier: Sequence[str | Path] = (),
    executor: Executor | None = None,
    together: bool | None = None,
) -> GridSummary:
    """Compute every missing cell of networks x images x windows x analyses, then write figure, tables and report.

    The folder `out` receives `figure.pdf` and `figure.png` (and `figure_2`, ... when one page is too small),
    `table.csv`, `table.md`, `table.tex` and `report.html`. `cells/` keeps every result under the SHA-256 of its inputs.
    A run may be stopped at any moment; the same call continues the run. Several processes may make the same call at
    once, also on several machines that share the folder. They divide the cells by file locks; when one process dies,
    the others take over its cell. Under torchrun each worker uses the GPU of its local rank.

    Args:
        request: from `read_request` or `parse_request`.
        out: a new or empty folder, or the folder of an earlier grid.
        jobs: number of processes on this machine, with this one. Default: one for each CPU core or GPU; one under
            torchrun. With an executor: the number of workers that are submitted.
        device: cpu, cuda, cuda:1, ...; auto is the request's own, and else cuda if a GPU is present.
        threads: threads of each process. The number is part of a cell's key, because it can change the last bits.
        progress: called with the number of settled cells and the number of all cells.
        earlier: folders of other grids, whose cells are copied where this grid has the same cells.
        executor: where workers run, instead of on this machine: a `concurrent.futures` executor, one of submitit, or
            Dask's `Client.get_executor()`. Each worker plans on its own device; files must have the same paths there.
            Workers that die are submitted again; if the executor is broken, this process computes what is left.
        together: whether all windows of an image are computed in one call; by default on a GPU, where that is faster.
            It is part of a cell's key, since it can change the last bits.

    Raises:
        SRHooksError: no network can be used or the request cannot be answered (raised before anything is computed), or
            the folder cannot be written. A network that cannot be used is among the failures, and the others run.
    """
    device = request.device if device == "auto" else device
    if threads < 1 or (jobs is not None and jobs < 1):
        raise OptionError(f"jobs and threads must be at least 1, not {jobs} and {threads}")
    folder = open_folder(request, out)
    worker = GridWorker(request, folder.path.absolute(), device, threads, folder.now(), tuple(earlier), together)
    if executor is None:
        return worker.run(jobs, progress)
    folder.log("submitted", "", "workers", workers=jobs)
    look = _Look(folder, progress)
    count = jobs or getattr(executor, "_max_workers", None) or default_jobs("cpu")
    summary = run_in(executor, worker, count, computed=look.computed, on_look=look)
    if summary is None:
        _log.warning("this process computes what is left")
        summary = worker.run(1, progress)
    return replace(summary, computed=look.computed())


def open_folder(request: GridRequest, out: str | Path) -> GridFolder:
    """Create the folder of a grid, or continue in it; see `GridFolder.open`."""
    folder = GridFolder(out)
    folder.open({"asked": as_plain(request), "sr_hooks": __version__, "torch": torch.__version__})
    return folder


class _Look:
    """Tells the progress of workers elsewhere, from the journal; seldom, since the journal of a large grid is long."""

    def __init__(self, folder: GridFolder, progress: Callable[[int, int], None]) -> None:
        self._folder, self._progress, self._next = folder, progress, 0.0

    def __call__(self) -> None:
        if time.monotonic() >= self._next:
            begin = time.monotonic()
            state = self._state()
            self._progress(state.done + state.failed, state.total)
            self._next = time.monotonic() + max(2.0, 20 * (time.monotonic() - begin))

    def computed(self) -> int:
        """How many cells this run has computed."""
        return self._state().computed

    def _state(self) -> GridState:
        return state_of(self._folder.journal(), self._folder.now())


@dataclass(frozen=True)
class GridWorker:
    """One worker of a grid, as an executor runs it: called with its number, it ends when all cells are settled."""

    request: GridRequest
    out: Path
    device: str
    threads: int
    since: float
    earlier: tuple[str | Path, ...] = ()
    together: bool | None = None

    def __call__(self, number: int) -> GridSummary:
        return self.run(1, lambda settled, total: None)

    def checkpoint(self, number: int) -> Any:
        """What submitit queues again when a job is preempted or its time is over: the same worker."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, number)

    def run(self, jobs: int | None, progress: Callable[[int, int], None]) -> GridSummary:
        """Plan, compute with `jobs` processes of this machine, and sum up."""
        return _run_here(self, jobs, progress)


def _run_here(worker: GridWorker, jobs: int | None, progress: Callable[[int, int], None]) -> GridSummary:
    device, threads, start, out = worker.device, worker.threads, worker.since, worker.out
    clock, folder = time.monotonic(), GridFolder(out)
    work_on_when_terminated()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        own_device = default_device() if device == "auto" else device
        together = own_device.startswith("cuda") if worker.together is None else worker.together
        plan = shared_plan(worker.request, folder, device=own_device, threads=threads, since=start, together=together)
        if plan.problems:
            _log.warning("%s", plan.problems_sentence())
        _discard_damaged(plan, folder)
        computer = CellComputer(plan, folder)
        _take_over(plan, folder, worker.earlier)
        tasks = computer.tasks()
        missing = [task for task in tasks if not task.done()]
        folder.log("planned", "", "the grid", cells=_cells(tasks), present=_cells(tasks) - _cells(missing))
        unchecked = computer.unchecked()
        count = min(jobs or default_jobs(plan.device), len(missing) + unchecked) - 1
        others = [default_device(number) if device == "auto" else device for number in range(1, count + 1)]
        calls = [partial(_work_elsewhere, replace(plan, device=each), folder.path, start) for each in others]
        with Workers(calls) as workers:
            run_worker(plan, folder, since=start, progress=progress)
            for status in workers.wait():
                _log.warning("a worker ended with status %d; the others did its part", status)
    finally:
        torch.set_num_threads(before)
    for names in sorted(set(folder.overlaps().values())):
        _log.warning("%s began the same cells: the file locks of %s do not hold between them", " and ".join(names), out)
    return _summary(plan, folder, missing, unchecked, start, time.monotonic() - clock)


def _work_elsewhere(plan: GridPlan, path: Path, since: float) -> None:
    torch.set_num_threads(plan.threads)
    run_worker(plan, GridFolder(path), since=since)


def run_worker(
    plan: GridPlan,
    folder: GridFolder,
    *,
    since: float,
    progress: Callable[[int, int], None] = lambda settled, total: None,
) -> None:
    """Run one worker: compute its share of the cells, then of the checks, then of the outputs."""
    computer = CellComputer(plan, folder)
    cells = computer.tasks()
    settled, total = 0, _cells(cells)

    def settle(task: Task) -> None:
        nonlocal settled
        settled += len(task.cells)
        progress(settled, total)

    run_shared(cells, folder, since=since, on_settled=settle)
    run_shared(computer.checks(), folder, since=since)
    outputs = Outputs(plan, folder, since)
    run_shared(outputs.linked(), folder, since=since)
    run_shared([outputs.report()], folder, since=since)
    folder.log("ended", "", "a worker", cpu=round(time.process_time(), 3))


def _take_over(plan: GridPlan, folder: GridFolder, earlier: Sequence[str | Path]) -> None:
    """Copy the cells that other grids have computed already, with their cards."""
    for source in map(GridFolder, earlier):
        if not (source.path / MARKER).is_file():
            raise ResultError(f"{source.path} is no folder of a grid, so that no cells can be taken over from there")
        for key in dict.fromkeys(cell.key for cell in plan.cells if cell.network not in plan.problems):
            path, card = source.cache.path(key), source.cache.path(key) / "card.json"
            with folder.claimed(key) as free:
                if free and folder.cache.get(key) is None and (result := source.cache.get(key)) is not None:
                    folder.remove_partial_files(folder.cache.path(key))
                    folder.cache.put(key, result)
                    if card.is_file():
                        write_file(folder.cache.path(key) / "card.json", partial(shutil.copyfile, card))
                    _log.info("%s is taken over from %s", key, path)


def _discard_damaged(plan: GridPlan, folder: GridFolder) -> None:
    """Remove results that cannot be read, so that they are computed again; leave sound results alone."""
    for key in dict.fromkeys(cell.key for cell in plan.cells if cell.network not in plan.problems):
        path = folder.cache.path(key)
        if path.exists() and folder.cache.get(key) is None:
            with folder.claimed(key) as free:
                if free and folder.cache.get(key) is None:
                    shutil.rmtree(path, ignore_errors=True)


def _summary(
    plan: GridPlan, folder: GridFolder, missing: list[Task], unchecked: int, start: float, seconds: float
) -> GridSummary:
    computer, outputs = CellComputer(plan, folder), Outputs(plan, folder, start)
    failures = {f"network {plan.request.networks[row].name}": reason for row, reason in plan.problems.items()}
    for task in [*computer.tasks(), *computer.checks(), *outputs.tasks()]:
        for key, label in task.cells if not task.done() else ():
            failures[label] = folder.failure(key, start) or "not done"
    return GridSummary(
        folder=folder.path,
        cells=_cells(computer.tasks()),
        computed=_cells([task for task in missing if task.done()]),
        checked=unchecked - computer.unchecked(),
        tables="\n\n".join(map(as_text, make_tables(outputs.rows, outputs.warnings))),
        failures=tuple(failures.items()),
        seconds=seconds,
    )


def _cells(tasks: Sequence[Task]) -> int:
    """How many cells some tasks have."""
    return sum(len(task.cells) for task in tasks)
