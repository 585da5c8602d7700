"""Progress of long computations on standard error: a bar in a terminal; elsewhere, where a caller asks, lines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

from sr_hooks.errors import SRHooksError

__all__ = ["ProgressBar", "Stopped", "no_progress", "progress_bar", "progress_lines", "stoppable"]

_counts: list[ProgressBar] = []
"""The counts that run now, the innermost last."""
_bars = {"off": 0}
_is_unwanted: ContextVar[Callable[[], bool] | None] = ContextVar("is_unwanted", default=None)


class Stopped(SRHooksError):
    """A computation was stopped between two of its steps, because nobody wants its answer any more."""


class ProgressBar:
    """A count with a tqdm bar; it counts also where nothing is drawn, so that `progress_lines` can tell how far it is.

    Attributes:
        n: of units that are done.
        total: of units; None where unknown.
    """

    def __init__(self, what: str, total: float | None, unit: str) -> None:
        self._what, self._unit, self.n = what, unit, 0.0
        hidden = True if _bars["off"] else None
        self._bar = tqdm(desc=what, total=total, unit=f" {unit}", delay=2, disable=hidden, leave=False)
        self.total = total
        _counts.append(self)

    @property
    def total(self) -> float | None:
        return self._total

    @total.setter
    def total(self, total: float | None) -> None:
        self._total = self._bar.total = total

    def update(self, n: float = 1) -> None:
        """Count `n` more units as done.

        Raises:
            Stopped: the caller does not want the answer any more, see `stoppable`.
        """
        is_unwanted = _is_unwanted.get()
        if is_unwanted is not None and is_unwanted():
            raise Stopped(f"{self.state()}: stopped, since the answer is not wanted any more")
        self.n += n
        self._bar.update(n)

    def close(self) -> None:
        """Remove the bar; the count is over."""
        _counts[:] = [count for count in _counts if count is not self]
        self._bar.close()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def state(self) -> str:
        """What is counted, and how far it is, e.g. "LAM: 12 of 65 gradients"."""
        of = f" of {self.total:g}" if self.total else ""
        return f"{self._what}: {self.n:g}{of} {self._unit}"


def progress_bar(what: str, total: int | None = None, *, unit: str = "steps") -> ProgressBar:
    """A tqdm bar that appears after two seconds, only where stderr is a terminal; `update(n)` it and close it (`with`).

    Args:
        what: the analysis, as people call it.
        total: of units, where known.
        unit: what is counted, in the plural.
    """
    return ProgressBar(what, total, unit)


@contextmanager
def no_progress() -> Iterator[None]:
    """Draw no bar in this block, not in a terminal either."""
    _bars["off"] += 1
    try:
        yield
    finally:
        _bars["off"] -= 1


@contextmanager
def stoppable(is_unwanted: Callable[[], bool]) -> Iterator[None]:
    """In this block, and this thread, a computation that counts its progress ends at its next step once it is unwanted.

    Args:
        is_unwanted: asked at every step; where it says True, `Stopped` is raised.
    """
    token = _is_unwanted.set(is_unwanted)
    try:
        yield
    finally:
        _is_unwanted.reset(token)


@contextmanager
def progress_lines(write: Callable[[str], object], seconds: float) -> Iterator[None]:
    """Call `write` with a line every few seconds: what is counted now, how far it is, the time since the start."""
    start, stop = time.monotonic(), threading.Event()

    def tell() -> None:
        while not stop.wait(seconds):
            running = _counts[-1:]
            state = running[0].state() if running else "still at work"
            write(f"{state}, {_duration(time.monotonic() - start)}")

    thread = threading.Thread(target=tell, name="sr_hooks progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
