"""Who computes a cell: file locks that hold, a clock that all hosts share, and hosts that began the same cell."""

from sr_hooks.grid.claims.clock import FolderClock
from sr_hooks.grid.claims.lease import Heartbeat, Observer
from sr_hooks.grid.claims.locks import check_locks, file_lock
from sr_hooks.grid.claims.overlaps import overlapping_claims

__all__ = [
    "FolderClock",
    "Heartbeat",
    "Observer",
    "check_locks",
    "file_lock",
    "overlapping_claims",
]
