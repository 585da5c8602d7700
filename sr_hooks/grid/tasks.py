"""Tasks shared by workers that know nothing of each other: a claim is taken, the task done, the next one looked for."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sr_hooks.errors import SRHooksError
from sr_hooks.grid.folder import Place

__all__ = ["Task", "settled", "share"]

_PAUSE = (0.05, 1.0)  # seconds between looks while others are at all that is left: the first, the longest


@dataclass(frozen=True)
class Task:
    """Something to be done once.

    Attributes:
        key: under which it is claimed.
        label: for people.
        done: whether its outcome is there, whole.
        run: does it.
    """

    key: str
    label: str
    done: Callable[[], bool]
    run: Callable[[], None]


def settled(task: Task, place: Place, since: float) -> bool:
    """Whether it is done, or has failed in this run."""
    return task.done() or place.failure(task.key, since) is not None


def share(
    tasks: Sequence[Task], place: Place, *, since: float, tell: Callable[[Task], None] = lambda task: None
) -> int:
    """Do what nobody else is at until all is settled; returns how many were done here.

    A task whose worker died is claimed by another at its next look. Tasks that workers have died of, or been killed
    at, come last, so that one that kills its worker cannot keep the others from being done.

    Args:
        since: when this run began, in seconds of `time.time()`: what failed earlier is tried again.
        tell: called with each task that is settled, by whomever.
    """
    deaths: dict[str, int] = {}
    for line in place.journal():
        step = {"begun": 1, "finished": -1, "failed": -1}.get(line.get("event", ""), 0)
        deaths[line.get("key", "")] = deaths.get(line.get("key", ""), 0) + step
    left = sorted(tasks, key=lambda task: max(deaths.get(task.key, 0), 0))
    count, pause = 0, _PAUSE[0]
    while left:
        mine, remaining = 0, []
        for task in left:
            if not settled(task, place, since):
                with place.claimed(task.key) as free:
                    if not free:
                        remaining.append(task)
                        continue
                    if not settled(task, place, since):  # it may have been done since we looked
                        _perform(task, place)
                        mine += 1
            tell(task)
        left, count = remaining, count + mine
        if left and not mine:
            time.sleep(pause)
        pause = _PAUSE[0] if mine else min(2 * pause, _PAUSE[1])
    return count


def _perform(task: Task, place: Place) -> None:
    place.note("begun", task.key, task.label)
    clock = time.process_time()
    try:
        task.run()
    except SRHooksError as error:
        place.fail(task.key, task.label, str(error))
        place.note("failed", task.key, task.label, error=str(error))
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        place.fail(task.key, task.label, message)
        place.note("failed", task.key, task.label, error=message, traceback=traceback.format_exc())
    else:
        place.forgive(task.key)
        place.note("finished", task.key, task.label, cpu=round(time.process_time() - clock, 3))
