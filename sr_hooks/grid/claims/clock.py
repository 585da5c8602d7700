"""The clock of a folder's file system, which is the same for all hosts that share the folder."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path

__all__ = ["FolderClock"]

_SAME = 1.0  # seconds: clocks that differ by less count as one clock


class FolderClock:
    """Tells the time by the file system, since the clocks of hosts may differ by hours.

    The difference to this host's clock is measured once, by the time stamp of a file that is touched.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def now(self) -> float:
        """Seconds since 1970."""
        return _host_time() + self._difference

    @cached_property
    def _difference(self) -> float:
        path = self._folder / "clock"
        try:
            path.touch()
            difference = path.stat().st_mtime - _host_time()
        except OSError:
            return 0.0  # a folder that cannot be written is reported where a result is written
        return difference if abs(difference) > _SAME else 0.0


def _host_time() -> float:
    return time.time()
