"""Regular files of a bounded size, read without waiting for a pipe or a device; names that no file can have."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["expanded", "is_disk_full", "is_file", "is_folder", "open_regular", "read_bytes"]

_LARGEST = 2**31  # bytes of a file that is read whole, unless the caller has a lower limit
_UNUSABLE = (OSError, ValueError)  # ValueError: a name with a null byte


def is_file(path: str | Path) -> bool:
    """Whether there is a regular file of this name; False for every name that no file can have."""
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except _UNUSABLE:
        return False


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of this name; False for every name that no folder can have."""
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except _UNUSABLE:
        return False


def expanded(path: str | Path) -> Path:
    """The path with the user's home for "~"; as it is where it names a user that there is not."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


@contextmanager
def open_regular(path: str | Path, *, largest: int | None = None) -> Iterator[BinaryIO]:
    """Open a regular file for reading. A pipe, a device or a folder is refused at once, and nothing waits for it.

    Raises:
        OSError: the file cannot be opened, is no regular file, or has more than `largest` bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as problem:
        raise OSError(errno.EINVAL, str(problem)) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EISDIR, "it is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file")
        if largest is not None and status.st_size > largest:
            raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, and at most {largest} are read")
        yield file


def read_bytes(path: str | Path, *, largest: int = _LARGEST) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: as `open_regular`; the text of the error says what is wrong.
    """
    with open_regular(path, largest=largest) as file:
        return file.read(largest)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that the disk or the user's share of it is full, or the file is."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        error = error.__cause__
    return False
