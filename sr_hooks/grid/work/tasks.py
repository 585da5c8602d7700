"""Tasks that several processes share: a process claims a task by its lock file, runs the task, looks for the next."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sr_hooks.errors import SRHooksError
from sr_hooks.grid.folder import GridFolder

__all__ = ["Task", "run_shared", "settled"]

_PAUSE = (0.05, 1.0)  # seconds between looks while other processes hold all open tasks: the first, the longest


@dataclass(frozen=True)
class Task:
    """A piece of work that one process does once.

    Attributes:
        key: the name of the task's claim.
        label: the task's name in messages.
        done: tells whether the task's output exists and is whole.
        run: does the work.
        network: the network of the task, which a worker loads once for all of them; None if there is none.
        cost: estimated seconds of work.
        others: keys and labels of further cells that the same call computes.
    """

    key: str
    label: str
    done: Callable[[], bool]
    run: Callable[[], None]
    network: int | None = None
    cost: float = 0.0
    others: tuple[tuple[str, str], ...] = field(default=())

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """Keys and labels of all that the task computes."""
        return ((self.key, self.label), *self.others)


def settled(task: Task, folder: GridFolder, since: float) -> bool:
    """Whether the task is done or has failed in this run."""
    return task.done() or folder.failure(task.key, since) is not None


def run_shared(
    tasks: Sequence[Task], folder: GridFolder, *, since: float, on_settled: Callable[[Task], None] = lambda task: None
) -> int:
    """Run the tasks that no other process has claimed, until all tasks are settled; return how many ran here.

    A worker stays with one network while that network has tasks, and takes the network with the most work first. Only
    when other workers are at all networks, it helps at the one with the most work left, from the other end.

    When a worker dies, another worker claims its task at the next look. Tasks during which a worker died come last:
    a task that kills its worker cannot prevent the other tasks.

    Args:
        since: when this run began, in seconds of `folder.now()`. Tasks that failed before are tried again.
        on_settled: called with each settled task, of this process or another one.
    """
    journal = folder.journal()
    deaths = _deaths(journal)
    costs = _measured(tasks, journal)
    sound = [task for task in tasks if deaths.get(task.key, 0) <= 0]
    doubtful = [task for task in tasks if deaths.get(task.key, 0) > 0]
    with folder.beating():
        return sum(_Share(folder, since, on_settled, costs).run(part) for part in (sound, doubtful))


def _deaths(journal: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many workers began each task and did not live to its end."""
    deaths: dict[str, int] = {}
    for line in journal:
        step = {"begun": 1, "finished": -1, "failed": -1}.get(line.get("event", ""), 0)
        deaths[line.get("key", "")] = deaths.get(line.get("key", ""), 0) + step
    return deaths


def _measured(tasks: Sequence[Task], journal: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """By how much the tasks of a network cost more than was estimated, where some have been computed."""
    by_key = {task.key: task for task in tasks if task.network is not None and task.cost > 0}
    sums: dict[int, tuple[float, float]] = {}
    for line in journal:
        task = by_key.get(str(line.get("key", "")))
        if task is not None and task.network is not None and line.get("event") == "finished" and "cpu" in line:
            seconds, expected = sums.get(task.network, (0.0, 0.0))
            sums[task.network] = seconds + float(line["cpu"]), expected + task.cost
    return {network: seconds / expected for network, (seconds, expected) in sums.items()}


class _Share:
    """One worker's share of some tasks."""

    def __init__(
        self, folder: GridFolder, since: float, on_settled: Callable[[Task], None], costs: Mapping[int, float]
    ) -> None:
        self.folder, self.since, self.on_settled, self.costs = folder, since, on_settled, costs
        self._open: dict[int | None, list[Task]] = {}

    def run(self, tasks: Sequence[Task]) -> int:
        """Run tasks until all are settled; return how many ran here."""
        for task in sorted(tasks, key=self._cost, reverse=True):
            self._open.setdefault(task.network, []).append(task)
        total, pause = 0, _PAUSE[0]
        while self._open:
            performed = self._look()
            total += performed
            if self._open and not performed:
                time.sleep(pause)
            pause = _PAUSE[0] if performed else min(2 * pause, _PAUSE[1])
        return total

    def _cost(self, task: Task) -> float:
        return task.cost if task.network is None else task.cost * self.costs.get(task.network, 1.0)

    def _look(self) -> int:
        """Work through one network that no other worker is at, or help at one; return how many tasks ran."""
        networks = sorted(self._open, key=lambda network: sum(map(self._cost, self._open[network])), reverse=True)
        for network in networks:
            with self.folder.claimed(f"network-{network}") as is_free:
                if is_free and (performed := self._work(network)):
                    return performed
        for network in networks:
            if network in self._open and (performed := self._work(network, from_the_end=True)):
                return performed
        return 0

    def _work(self, network: int | None, *, from_the_end: bool = False) -> int:
        """Run the open tasks of a network that no other process has claimed."""
        performed, remaining = 0, []
        for task in self._open[network][:: -1 if from_the_end else 1]:
            if not settled(task, self.folder, self.since):
                with self.folder.claimed(task.key) as free:
                    if not free:
                        remaining.append(task)
                        continue
                    if not settled(task, self.folder, self.since):  # another process may have run it since the look
                        _perform(task, self.folder)
                        performed += 1
            self.on_settled(task)
        self._open[network] = remaining[:: -1 if from_the_end else 1]
        if not remaining:
            del self._open[network]
        return performed


def _perform(task: Task, folder: GridFolder) -> None:
    for key, label in task.cells:
        folder.log("begun", key, label)
    clock = time.process_time()
    try:
        folder.retried(task.run)
    except SRHooksError as error:
        _record_failure(task, folder, str(error))
    except Exception as error:
        _record_failure(task, folder, f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
    else:
        seconds = (time.process_time() - clock) / len(task.cells)
        for key, label in task.cells:
            folder.clear_failure(key)
            folder.log("finished", key, label, cpu=round(seconds, 3))


def _record_failure(task: Task, folder: GridFolder, message: str, **more: str) -> None:
    for key, label in task.cells:
        folder.record_failure(key, label, message)
        folder.log("failed", key, label, error=message, **more)
