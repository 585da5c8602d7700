"""How far a grid is, whoever computes it: read from its journal, with an estimate of the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr_hooks.core.text import duration
from sr_hooks.errors import ResultError
from sr_hooks.grid.folder import MARKER, GridFolder

__all__ = ["GridState", "follow", "state_of"]


@dataclass(frozen=True)
class GridState:
    """How far a grid is.

    Attributes:
        total: number of cells; 0 until a worker has planned.
        done, failed, computed: cells that have a result, that failed in this run, and that this run has computed.
        workers: processes that are at work on a cell.
        ended: workers that have ended since the run began.
        remaining: seconds to the end by the rate so far; None while no cell is finished.
    """

    total: int
    done: int
    failed: int
    workers: int
    ended: int
    remaining: float | None
    computed: int = 0

    @property
    def is_over(self) -> bool:
        """Whether all cells are settled and a worker has ended, which it does after the outputs."""
        return 0 < self.total <= self.done + self.failed and self.ended > 0

    def __str__(self) -> str:
        if not self.total:
            return "the workers are planning, or still wait in the queue"
        text = f"{self.done} of {self.total} cells, {self.workers} workers"
        if self.failed:
            text += f", {self.failed} failed"
        if self.remaining is not None and self.done + self.failed < self.total:
            text += f", some {duration(self.remaining)} to the end"
        return text


def state_of(journal: Sequence[Mapping[str, Any]], now: float) -> GridState:
    """The state of the run that began last: at its line "submitted", or else at the first plan.

    Args:
        now: of `GridFolder.now`.
    """
    first = max((n for n, line in enumerate(journal) if line.get("event") == "submitted"), default=0)
    run = journal[first:]
    plans = [line for line in run if line.get("event") == "planned"]
    total, present = (int(plans[-1]["cells"]), int(plans[0]["present"])) if plans else (0, 0)
    busy: dict[str, tuple[Any, Any]] = {}
    finished: dict[str, float] = {}
    failed: set[str] = set()
    for line in run:
        key, event = str(line.get("key", "")), line.get("event")
        if event == "begun":
            busy[key] = (line.get("host"), line.get("pid"))
        elif event in ("finished", "failed"):
            busy.pop(key, None)
            failed.discard(key)
            if "-" not in key:  # a cell, not its check or an output
                finished.pop(key, None)
                if event == "finished":
                    finished[key] = float(line["time"])
                else:
                    failed.add(key)
    ended = sum(line.get("event") == "ended" for line in run)
    done = min(present + len(finished), total)
    remaining = None
    if finished and plans:
        seconds = max(now - float(plans[0]["time"]), 1e-3)
        remaining = max(total - done - len(failed), 0) * seconds / len(finished)
    return GridState(total, done, len(failed), len(set(busy.values())), ended, remaining, len(finished))


def follow(
    folder: str | Path,
    show: Callable[[GridState], None],
    *,
    every: float = 10.0,
    until: Callable[[], bool] = lambda: False,
) -> GridState:
    """Show the state of a grid again and again until the grid is finished; Ctrl-C ends this, and no worker.

    Args:
        every: seconds between two looks.
        until: ends the following, e.g. when all jobs have ended.

    Raises:
        ResultError: the folder is no grid.
    """
    if not (Path(folder) / MARKER).is_file():
        raise ResultError(f"{folder} is no folder of a grid: name the folder that the workers have as --out")
    grid = GridFolder(folder)
    while True:
        state = state_of(grid.journal(), grid.now())
        show(state)
        if state.is_over or until():
            return state
        time.sleep(every)
