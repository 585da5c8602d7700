"""The folder of a grid: results by content, claims, what failed, and a journal of who did what."""

from __future__ import annotations

import glob
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sr_hooks.errors import ResultError
from sr_hooks.results.cache import Cache
from sr_hooks.results.result import check_folder, write_file

__all__ = ["MARKER", "Place"]

MARKER = "grid.json"
_JOURNAL = "journal.jsonl"


class Place:
    """A grid's folder, shared by all that work on it, on one machine or several.

    `cells/` holds results by key; `claims/` a lock file for what somebody is at: the operating system lets go of it
    when its holder dies, however that happens. `failures/` says why a cell has no answer; `outputs/` of which content
    each figure, table and report was made; `journal.jsonl` has a line for whatever was begun, finished or failed.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.cache = Cache(self.folder / "cells")

    def open(self, record: dict[str, Any]) -> None:
        """Make the folder, or take up one that a grid was written to before.

        Raises:
            ResultError: it holds something else, or cannot be written.
        """
        if not self._just_begun():
            check_folder(self.folder, marker=MARKER)
        text = json.dumps(record, indent=1, ensure_ascii=False, default=str)
        write_file(self.folder / MARKER, lambda part: part.write_text(text, encoding="utf-8"))
        (self.folder / "claims").mkdir(exist_ok=True)

    def _just_begun(self) -> bool:
        """Whether all that is there is a marker that another worker is writing, or was when it was killed."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return bool(names) and all(name.startswith(f".{MARKER}.") and name.endswith(".part") for name in names)

    @contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Whether what the key names is this process's to do; it is until the block is left, or the process dies."""
        lock = FileLock(self.folder / "claims" / f"{key}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        except OSError as error:
            raise ResultError(f"cannot lock files in {self.folder}: {error.strerror or error}") from None
        try:
            yield True
        finally:
            lock.release()

    def sweep(self, path: Path) -> None:
        """Remove what somebody who was killed had begun to write for a path; only whoever has claimed it may."""
        for remains in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            if remains.is_dir():
                shutil.rmtree(remains, ignore_errors=True)
            else:
                remains.unlink(missing_ok=True)

    def fail(self, key: str, label: str, message: str) -> None:
        """Say why a cell has no answer."""
        record = {"label": label, "message": message, "time": time.time()}
        write_file(self._failure(key), lambda part: part.write_text(json.dumps(record), encoding="utf-8"))

    def failure(self, key: str, since: float = 0.0) -> str | None:
        """Why, if it failed at that time or later."""
        try:
            record = json.loads(self._failure(key).read_text(encoding="utf-8"))
            return str(record["message"]) if record["time"] >= since else None
        except (OSError, ValueError, KeyError):
            return None

    def forgive(self, key: str) -> None:
        """It has an answer now."""
        self._failure(key).unlink(missing_ok=True)

    def _failure(self, key: str) -> Path:
        return self.folder / "failures" / f"{key}.json"

    def note(self, event: str, key: str, label: str, **more: Any) -> None:
        """Add a line to the journal, whole: it is one write to a file that is only appended to."""
        who = {"pid": os.getpid(), "host": socket.gethostname(), "rank": int(os.environ.get("RANK", 0))}
        line = (
            json.dumps({"event": event, "key": key, "what": label, "time": round(time.time(), 3), **who, **more}) + "\n"
        )
        handle = os.open(self.folder / _JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def journal(self) -> list[dict[str, Any]]:
        """What was noted so far, in order; a line that a dying machine left half is passed over."""
        try:
            lines = (self.folder / _JOURNAL).read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def rendered(self, name: str) -> str | None:
        """Of which content an output was made; None where it was not."""
        try:
            return (self.folder / "outputs" / name).read_text(encoding="utf-8")
        except OSError:
            return None

    def render(self, name: str, content: str) -> None:
        """An output was made of that content."""
        write_file(self.folder / "outputs" / name, lambda part: part.write_text(content, encoding="utf-8"))
