"""Signs of life of the holders of claims: a lock ends with its process, but not while that process stands still."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["BEAT", "LEASE", "Heartbeat", "Observer"]

BEAT = 10.0  # seconds between two signs of life
LEASE = 120.0  # seconds without a sign of life after which a claim is taken over


class Heartbeat:
    """Touches the lock files of this process's claims, from a separate thread."""

    def __init__(self) -> None:
        self._files: set[Path] = set()
        self._users, self._stop, self._lock = 0, threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None

    def hold(self, file: Path) -> None:
        """Give a sign of life now, and from now on while the heart beats."""
        self._files.add(file)
        _touch(file)

    def let_go(self, file: Path) -> None:
        """Give no more signs of life for a file."""
        self._files.discard(file)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """While open, all files that are held get signs of life."""
        with self._lock:
            self._users += 1
            if self._thread is None:
                self._stop.clear()
                self._thread = threading.Thread(target=self._beat, daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                thread, self._thread = (self._thread, None) if not self._users else (None, self._thread)
            if thread is not None:
                self._stop.set()
                thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            for file in list(self._files):
                _touch(file)


class Observer:
    """Tells whose claims have had no sign of life for a lease, by this process's own clock.

    The time of a lock file is only compared with its earlier one, so clocks of hosts and file systems may differ.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, float]] = {}

    def is_abandoned(self, file: Path) -> bool:
        """Whether a lock file that another process holds has stayed as it is for a lease, over several looks."""
        try:
            state = file.stat().st_mtime_ns
        except OSError:
            self._seen.pop(file, None)
            return False
        now = time.monotonic()
        before = self._seen.get(file)
        if before is None or before[0] != state:
            self._seen[file] = state, now
            return False
        return now - before[1] > LEASE

    def forget(self, file: Path) -> None:
        """Start anew with a file, since nobody holds it."""
        self._seen.pop(file, None)


def _touch(file: Path) -> None:
    with suppress(OSError):  # the folder is away; that is reported where a result is written
        os.utime(file)
