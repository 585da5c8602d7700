"""Run workers of a grid in any executor of concurrent.futures, and start again those that died while cells remain."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from sr_hooks.errors import SRHooksError

__all__ = ["Executor", "run_in"]

_POLL = 0.2  # seconds between looks at the workers
_GRACE = 10.0  # seconds that the other workers have to end, once one has seen the end of the grid
_LOSSES = 3  # rounds in a row in which workers died and no cell was computed
_log = logging.getLogger("sr_hooks")
T = TypeVar("T")


class Executor(Protocol):
    """What `concurrent.futures.Executor`, submitit's executors and Dask's `Client.get_executor()` have in common."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Start the function; return a future with `done` and `result`."""


def run_in(
    executor: Executor,
    work: Callable[[int], T],
    count: int,
    *,
    computed: Callable[[], int],
    on_look: Callable[[], None] = lambda: None,
) -> T | None:
    """Run `work` as `count` workers until one of them has seen the end of the grid, and return its answer.

    Workers that die are started again, as long as cells are computed between.

    Args:
        work: what each worker runs, called with the worker's number; it must be picklable. It returns when all cells
            are settled, so the first answer is the answer of the grid.
        computed: how many cells are done.
        on_look: called at each look at the workers.

    Returns:
        the answer of a worker; None if workers die without computing, or the executor starts none any more.

    Raises:
        SRHooksError: the error of a worker, if the request itself cannot be answered.
    """
    losses, before, first = 0, computed(), 0
    while losses < _LOSSES:
        try:
            futures = [executor.submit(work, first + number) for number in range(count)]
        except Exception as error:  # a broken pool
            _log.warning("the executor starts no workers: %s", _reason(error))
            return None
        answers, errors = _answers_of(futures, on_look)
        if answers:
            answer: T = answers[0]
            return answer
        if refusal := next((e for e in errors if isinstance(e, SRHooksError)), None):
            raise refusal
        _log.warning("all %d workers died (%s)", count, _reason(errors[0]) if errors else "no reason is known")
        first += count  # new numbers, since Dask takes a call with equal arguments for the same task
        now = computed()
        losses, before = (0 if now > before else losses + 1), now
    return None


def _answers_of(futures: list[Any], on_look: Callable[[], None]) -> tuple[list[Any], list[BaseException]]:
    """The answers, none once all workers have ended without one; and the errors of the others."""
    answers: list[Any] = []
    errors: list[BaseException] = []
    waiting = list(futures)
    end = math.inf
    while waiting and time.monotonic() < end:
        on_look()
        for future in [future for future in waiting if future.done()]:
            waiting.remove(future)
            try:
                answers.append(future.result())
                end = min(end, time.monotonic() + _GRACE)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                errors.append(error)
                _log.warning("a worker ended: %s; the others take over its cell", _reason(error))
        if waiting:
            time.sleep(_POLL)
    for future in waiting:  # it has nothing to do any more, or still waits in a queue
        future.cancel()
    return answers, errors


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"[:300]
