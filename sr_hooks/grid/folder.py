"""The folder of a grid on disk: results under their keys, claims (lock files), failures, and a journal of events."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import BaseFileLock, Timeout

from sr_hooks.errors import ResultError
from sr_hooks.files.regular_files import is_disk_full, read_bytes
from sr_hooks.files.strict_json import from_json, to_json
from sr_hooks.grid.claims.clock import FolderClock
from sr_hooks.grid.claims.lease import Heartbeat, Observer
from sr_hooks.grid.claims.locks import check_locks, file_lock, no_locks
from sr_hooks.grid.claims.overlaps import overlapping_claims
from sr_hooks.results.cache import Cache
from sr_hooks.results.reading import read_record
from sr_hooks.results.writing import check_folder, sweep, write_file

__all__ = ["MARKER", "GridFolder"]

MARKER = "grid.json"
_JOURNAL = "journal.jsonl"
_MOST_HOLDERS = 8  # of one claim, all but the last of which stand still
_AWAY = 600.0  # seconds that a folder may be out of reach
T = TypeVar("T")
_log = logging.getLogger("sr_hooks")


class GridFolder:
    """A grid's folder, shared by all processes that work on the grid, on one machine or several.

    `cells/` holds results under their keys. `claims/` holds a lock file for each task that a process works on; the
    operating system releases the lock when the process ends or dies. `failures/` holds the reason for each failed cell.
    `outputs/` holds a hash of the content that each figure, table and report was made from. `journal.jsonl` has a line
    for each task that was begun, finished or failed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.cache = Cache(self.path / "cells")
        self.now = FolderClock(self.path / "claims").now
        self._failures: dict[str, tuple[str, float]] = {}
        self._heartbeat, self._observer = Heartbeat(), Observer()
        self._took_over = False  # then a process that stands still may go on with its partial files

    def open(self, record: dict[str, Any]) -> None:
        """Create the folder, or continue in the folder of an earlier grid.

        Raises:
            ResultError: the folder holds other files, cannot be written, or is on a file system without locks.
        """
        if not self._just_begun():
            check_folder(self.path, marker=MARKER)
        write_file(self.path / MARKER, lambda part: part.write_text(to_json(record), encoding="utf-8"))
        try:
            (self.path / "claims").mkdir(exist_ok=True)
        except OSError as error:
            raise ResultError(f"cannot write to {self.path}: {error.strerror or error}") from error
        check_locks(self.path / "claims")

    def _just_begun(self) -> bool:
        """Whether the folder holds nothing but a marker that another worker is writing, or died while writing."""
        names = [path.name for path in self.path.iterdir()] if self.path.is_dir() else []
        return bool(names) and all(name.startswith(f".{MARKER}.") and name.endswith(".part") for name in names)

    @contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Claim a key; yield whether this process has the claim. The claim ends with the block or with the process.

        Under `beating`, the holder gives signs of life. A claim without one for `claims.lease.LEASE` seconds is taken
        over: its process stands still, and if it goes on, both compute the same.
        """
        lock, number = self._lock(key)
        if lock is None:
            yield False
            return
        try:
            if number:
                self.log("taken over", key, "a claim without signs of life")
                self._took_over = True
            yield True
        finally:
            self._heartbeat.let_go(Path(lock.lock_file))
            lock.release()

    def _lock(self, key: str) -> tuple[BaseFileLock | None, int]:
        """The first free lock of a key, if those before it are abandoned, and its number; None if there is none."""
        for number in range(_MOST_HOLDERS):
            path = self.path / "claims" / (f"{key}.{number}.lock" if number else f"{key}.lock")
            lock = file_lock(path)
            try:
                self.retried(lambda lock=lock: lock.acquire(blocking=False))  # type: ignore[misc]
            except Timeout:
                if self._observer.is_abandoned(path):
                    continue
                return None, number
            except (OSError, NotImplementedError) as error:
                reason = getattr(error, "strerror", None) or error
                raise no_locks(self.path, f"locking fails here ({reason})") from None
            self._observer.forget(path)
            self._heartbeat.hold(path)
            return lock, number
        return None, _MOST_HOLDERS

    def beating(self) -> AbstractContextManager[None]:
        """While open, this process gives signs of life for its claims."""
        return self._heartbeat.beating()

    def is_there(self) -> bool:
        """Whether the folder can be reached: an unmounted file system, or a folder that was moved, cannot."""
        return (self.path / MARKER).is_file()

    def wait_until_there(self) -> None:
        """Return once the folder can be reached.

        Raises:
            ResultError: it does not come back.
        """
        if self.is_there():
            return
        _log.warning("%s cannot be reached; waiting for its return", self.path)
        end = time.monotonic() + _AWAY
        while not self.is_there():
            if time.monotonic() > end:
                raise ResultError(f"{self.path} has vanished: mount it or move it back, and repeat the command")
            time.sleep(0.2)

    def retried(self, work: Callable[[], T]) -> T:
        """What `work` returns; tried again if it failed while the folder could not be reached."""
        while True:
            try:
                return work()
            except Timeout:
                raise
            except Exception:
                if self.is_there():
                    raise
                self.wait_until_there()

    def remove_partial_files(self, path: Path) -> None:
        """Remove partial files that a killed process has left for a path. Only the holder of its claim may do so."""
        if path.parent.is_dir():
            sweep(path.parent, target=path.name, held=not self._took_over)

    def record_failure(self, key: str, label: str, message: str) -> None:
        """Write down why a cell or output failed."""
        moment = self.now()
        record = {"label": label, "message": message, "time": moment}
        self._failures[key] = message, moment  # remembered too, in case that the disk is full
        try:
            write_file(self._failure(key), lambda part: part.write_text(to_json(record), encoding="utf-8"))
        except ResultError as error:
            _log.warning("the failure of %s cannot be written down: %s", label, error)

    def failure(self, key: str, since: float = 0.0) -> str | None:
        """The reason of the failure, if it happened at that time (of `now`) or later, else None."""
        try:
            record = read_record(self._failure(key), {"message": str, "time": float})
            message, moment = record["message"], record["time"]
        except (OSError, ValueError):
            message, moment = self._failures.get(key, (None, 0.0))
        return message if moment >= since else None

    def clear_failure(self, key: str) -> None:
        """Forget an earlier failure, because the cell or output is there now."""
        self._failures.pop(key, None)
        with suppress(OSError):
            self._failure(key).unlink(missing_ok=True)

    def _failure(self, key: str) -> Path:
        return self.path / "failures" / f"{key}.json"

    def log(self, event: str, key: str, label: str, **more: Any) -> None:
        """Append a line to the journal. It is one write in append mode, so lines of several processes do not mix."""
        worker = {"pid": os.getpid(), "host": socket.gethostname(), "rank": int(os.environ.get("RANK", 0))}
        entry = {"event": event, "key": key, "what": label, "time": round(self.now(), 3), **worker, **more}
        line = to_json(entry, indent=None) + "\n"
        try:
            self.retried(lambda: self._append(line))
        except OSError as error:
            if not is_disk_full(error):
                raise ResultError(f"cannot write to {self.path / _JOURNAL}: {error.strerror or error}") from error
            _log.warning("the journal cannot be written: the disk is full")

    def _append(self, line: str) -> None:
        handle = os.open(self.path / _JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def journal(self) -> list[dict[str, Any]]:
        """All entries of the journal, in order. An incomplete line, left by a machine that died, is skipped."""
        try:
            lines = read_bytes(self.path / _JOURNAL).splitlines()
        except OSError:
            return []
        entries = []
        for line in lines:
            with suppress(ValueError):
                entry = from_json(line)
                if isinstance(entry, dict):
                    entries.append(entry)
        return entries

    def overlaps(self) -> dict[str, tuple[str, ...]]:
        """Keys of cells that two hosts (or processes) worked on at once, and their names: locks do not hold there."""
        return overlapping_claims(self.journal())

    def output_content(self, name: str) -> str | None:
        """The hash of the content that an output was made from; None if the output was never made."""
        try:
            return read_bytes(self.path / "outputs" / name, largest=4096).decode()
        except (OSError, ValueError):
            return None

    def record_output(self, name: str, content: str) -> None:
        """Write down the hash of the content that an output was made from."""
        write_file(self.path / "outputs" / name, lambda part: part.write_text(content, encoding="utf-8"))
