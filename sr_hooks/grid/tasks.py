"""Tasks that several processes share: a process claims a task by its lock file, runs the task, looks for the next."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    """

    key: str
    label: str
    done: Callable[[], bool]
    run: Callable[[], None]


def settled(task: Task, folder: GridFolder, since: float) -> bool:
    """Whether the task is done or has failed in this run."""
    return task.done() or folder.failure(task.key, since) is not None


def run_shared(
    tasks: Sequence[Task], folder: GridFolder, *, since: float, on_settled: Callable[[Task], None] = lambda task: None
) -> int:
    """Run the tasks that no other process has claimed, until all tasks are settled; return how many ran here.

    When a worker dies, another worker claims its task at the next look. Tasks during which a worker died come last:
    a task that kills its worker cannot prevent the other tasks.

    Args:
        since: when this run began, in seconds of `folder.now()`. Tasks that failed before are tried again.
        on_settled: called with each settled task, whichever process ran the task.
    """
    deaths: dict[str, int] = {}
    for line in folder.journal():
        step = {"begun": 1, "finished": -1, "failed": -1}.get(line.get("event", ""), 0)
        deaths[line.get("key", "")] = deaths.get(line.get("key", ""), 0) + step
    open_tasks = sorted(tasks, key=lambda task: max(deaths.get(task.key, 0), 0))
    total, pause = 0, _PAUSE[0]
    while open_tasks:
        performed, remaining = 0, []
        for task in open_tasks:
            if not settled(task, folder, since):
                with folder.claimed(task.key) as free:
                    if not free:
                        remaining.append(task)
                        continue
                    if not settled(task, folder, since):  # another process may have run the task since the last look
                        _perform(task, folder)
                        performed += 1
            on_settled(task)
        open_tasks, total = remaining, total + performed
        if open_tasks and not performed:
            time.sleep(pause)
        pause = _PAUSE[0] if performed else min(2 * pause, _PAUSE[1])
    return total


def _perform(task: Task, folder: GridFolder) -> None:
    folder.log("begun", task.key, task.label)
    clock = time.process_time()
    try:
        task.run()
    except SRHooksError as error:
        folder.record_failure(task.key, task.label, str(error))
        folder.log("failed", task.key, task.label, error=str(error))
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        folder.record_failure(task.key, task.label, message)
        folder.log("failed", task.key, task.label, error=message, traceback=traceback.format_exc())
    else:
        folder.clear_failure(task.key)
        folder.log("finished", task.key, task.label, cpu=round(time.process_time() - clock, 3))
