"""`LatestOnly`: of the requests of one page only the last is computed, and one at a time of all pages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from sr_hooks.core.progress import Stopped, stoppable

__all__ = ["LatestOnly"]

T = TypeVar("T")


class LatestOnly:
    """Computes one request at a time. A newer request of the same page replaces the older ones.

    An older request that waits is dropped at once. An older request that runs is stopped at its next step, as
    `sr_hooks.core.progress.stoppable` does. So one request of a page runs at most, and one waits.

    Attributes:
        computed: how many requests were computed to their end.
        dropped: how many were dropped before they began, or stopped.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._newest: dict[str, int] = {}
        self._times: dict[str, float] = {}
        self._busy = False
        self.computed = self.dropped = 0

    def __call__(self, page: str, compute: Callable[[], T], *, at: float | None = None) -> T | None:
        """What `compute` returns; None where a newer request of the page came before the end.

        Args:
            page: names who asks; requests of other pages wait for each other, and replace none.
            at: when the user asked, by the clock of the page. Requests that are sent side by side may arrive in
                another order: one that was asked earlier than the newest is dropped. None: it is asked now.
        """
        with self._condition:
            if at is not None:
                if at < self._times.get(page, at):
                    self.dropped += 1
                    return None
                self._times[page] = at
            number = self._newest[page] = self._newest.get(page, 0) + 1
            self._condition.notify_all()  # older requests of the page need not wait any more
        answer = None
        with self.alone(unless=lambda: self._is_old(page, number)) as has_turn:
            if has_turn:
                with suppress(Stopped), stoppable(lambda: self._is_old(page, number)):
                    answer = compute()
            is_last = has_turn and not self._is_old(page, number) and answer is not None
            self.computed += is_last
            self.dropped += not is_last
        return answer if is_last else None

    @contextmanager
    def alone(self, *, unless: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Wait until nothing is computed, and let nothing else begin in the block.

        Args:
            unless: ends the waiting as soon as it says True; the block then runs without a turn, and gets False.
        """
        with self._condition:
            self._condition.wait_for(lambda: not self._busy or unless())
            has_turn = not unless()
            self._busy = self._busy or has_turn
        try:
            yield has_turn
        finally:
            if has_turn:
                with self._condition:
                    self._busy = False
                    self._condition.notify_all()

    def forget(self, page: str) -> None:
        """Drop what a page that was closed asked for."""
        with self._condition:
            self._newest.pop(page, None)
            self._times.pop(page, None)
            self._condition.notify_all()

    def _is_old(self, page: str, number: int) -> bool:
        return self._newest.get(page) != number
