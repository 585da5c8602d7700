"""Read regular files of a bounded size, and write and read strict JSON: no pipe, no device, no NaN."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "expanded",
    "from_json",
    "is_disk_full",
    "is_file",
    "is_folder",
    "open_regular",
    "read_bytes",
    "restored",
    "to_json",
]

_LARGEST = 2**31  # bytes of a file that is read whole, unless the caller has a lower limit
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
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
    """Whether an error, or one that led to it, says that the disk or the user's share of it is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def to_json(value: Any, *, indent: int | None = 1) -> str:
    """Strict JSON of a value: NaN and infinities as the texts "NaN", "Infinity", "-Infinity"; `restored` undoes that.

    NumPy's numbers and arrays are written as numbers and lists; anything else that JSON lacks, as its `str`.
    """
    text = json.dumps(_strict(value), indent=indent, ensure_ascii=False, allow_nan=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode()  # halves of characters, in names of files, are escaped


def from_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: no JSON, or JSON that is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def restored(value: Any) -> Any:
    """The value with the texts "NaN", "Infinity" and "-Infinity" as the numbers that they stand for."""
    if isinstance(value, str):
        return _NUMBERS.get(value, value)
    if isinstance(value, Mapping):
        return {key: restored(inner) for key, inner in value.items()}
    return [restored(inner) for inner in value] if isinstance(value, list) else value


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _strict(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(inner) for inner in value]
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _strict(value.tolist())
    return value
