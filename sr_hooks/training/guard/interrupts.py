"""Ctrl-C, and what else a signal handler of the program raises, waits while the guard saves and restores."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping
from types import CodeType, FrameType
from typing import Any

__all__ = ["Deferral"]

_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGHUP")
    if hasattr(signal, name)
)


class Deferral:
    """Signals that arrive while a function of `critical` runs are handled at `release`, all others at once.

    The handlers stay in place from `install` to `release`: a `with` statement has no instruction between its block and
    `__exit__` at which Python looks for signals, so that none falls between.
    """

    def __init__(self, *critical: CodeType) -> None:
        self.pending: list[int] = []
        self._critical = frozenset(critical)
        self._handlers: dict[int, Any] = {}

    def install(self) -> None:
        """Take the place of the program's own handlers; signals reach the main thread alone."""
        if threading.current_thread() is not threading.main_thread():
            return
        try:
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                self._handlers[number] = handler
                if callable(handler):
                    signal.signal(number, self._receive)
        except BaseException:  # of a handler that was not yet replaced
            self.release()
            raise

    def release(self) -> None:
        """Give the program its handlers back, and call those whose signal has arrived meanwhile."""
        handlers = dict(self._handlers)
        try:
            _put_back(handlers)
        except BaseException:  # of a handler that is back already
            _put_back(handlers)
            raise
        self._handlers.clear()
        while self.pending:
            number = self.pending.pop(0)
            handlers[number](number, sys._getframe(2))

    def _receive(self, number: int, frame: FrameType | None) -> Any:
        caller = frame
        while caller is not None:
            if caller.f_code in self._critical:
                self.pending.append(number)
                return None
            caller = caller.f_back
        return self._handlers[number](number, frame)


def _put_back(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)
