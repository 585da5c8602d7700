"""Locks of files that the operating system releases when their process ends, and the test that they hold."""

from __future__ import annotations

import os
import socket
import uuid
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sr_hooks.errors import ResultError

__all__ = ["check_locks", "file_lock", "no_locks"]

_REMEDY = (
    "mount the file system with locks (NFS 4 or NFS 3 with lockd, without nolock or local_lock; Lustre with flock; "
    "CephFS, GPFS and BeeGFS with locks enabled), or choose a folder on another file system"
)


def file_lock(path: Path) -> FileLock:
    """A lock of the operating system. It is never a soft lock, which is a file that a killed process leaves behind."""
    return FileLock(path, fallback_to_soft=False)


def no_locks(folder: Path, reason: str) -> ResultError:
    """The error for a folder on a file system without locks, in one line with the remedy."""
    return ResultError(f"{folder}: workers of a grid need file locks, and {reason}: {_REMEDY}")


def check_locks(folder: Path) -> None:
    """Lock a file in the folder twice; the second lock must fail while the first one is held.

    Raises:
        ResultError: the file system has no locks, or a lock locks nothing.
    """
    path = folder / f".probe-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
    first, second = file_lock(path), file_lock(path)
    try:
        first.acquire(blocking=False)
        try:
            second.acquire(blocking=False)
        except Timeout:
            return
        raise no_locks(folder, "a locked file can be locked again here")
    except Timeout:
        raise no_locks(folder, "a file that nobody has locked cannot be locked here") from None
    except (OSError, NotImplementedError) as error:
        raise no_locks(folder, f"locking fails here ({getattr(error, 'strerror', None) or error})") from None
    finally:
        for lock in (second, first):
            with suppress(OSError):
                lock.release()
        with suppress(OSError):
            path.unlink(missing_ok=True)
