"""Submit a grid to SLURM, follow its workers, and submit again what a killed worker left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sr_hooks.grid.cluster.follow import GridState, follow
from sr_hooks.grid.cluster.slurm import parse_slurm, slurm_executor, submit_array
from sr_hooks.grid.request import GridRequest
from sr_hooks.grid.run import GridWorker, open_folder

__all__ = ["submit_to_slurm"]

_LOSSES = 3  # arrays in a row of which all workers died and no cell was computed


def submit_to_slurm(
    request: GridRequest,
    out: str | Path,
    slurm: str,
    *,
    workers: int,
    show: Callable[[GridState], None],
    device: str = "auto",
    threads: int = 1,
    earlier: Sequence[str | Path] = (),
    together: bool | None = None,
    every: float = 10.0,
) -> GridState:
    """Submit an array of workers and show how far they are, until the grid is finished.

    Preempted workers, and those whose time is over, are queued again by submitit; an array whose workers all died is
    submitted again while cells are computed. Ctrl-C ends this process alone; `follow` shows the rest.

    Args:
        slurm: options of sbatch, e.g. `partition=gpu,gpus=1,time=60` (`parse_slurm`); time in minutes.
        workers: tasks of the array.
        show: called with the state every `every` seconds.

    Raises:
        OptionError: an option cannot be read, submitit is missing, or this machine has no SLURM.
        ResultError: the folder cannot be written or has no locks.
    """
    options = parse_slurm(slurm)
    folder = open_folder(request, out)
    logs = folder.path.absolute() / "slurm"
    executor = slurm_executor(options, logs)
    worker = GridWorker(request, folder.path.absolute(), device, threads, folder.now(), tuple(earlier), together)
    folder.log("submitted", "", "workers", workers=workers)
    losses, before = 0, 0
    while True:
        jobs = submit_array(executor, worker, workers)
        state = follow(folder.path, show, every=every, until=lambda jobs=jobs: all(job.done() for job in jobs))  # type: ignore[misc]
        losses, before = (0 if state.computed > before else losses + 1), state.computed
        if state.is_over or losses >= _LOSSES:
            return state
