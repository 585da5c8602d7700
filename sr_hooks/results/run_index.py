"""The index of a watched run on disk: which results it has, its time accounts, and the saved running sums."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from sr_hooks.errors import ResultError
from sr_hooks.results.result import write_file

__all__ = ["RunIndex", "read_index"]

FORMAT = 1
_FILE = "index.json"
_STATES = "states"
_SAVED_STATES = 3  # states; a run is resumed from its last checkpoint, or one or two before it
_REMAINS = re.compile(r"\..+\.(part|old)")


def read_index(folder: str | Path) -> list[dict[str, Any]]:
    """The entries of a watched run's index, in order of writing: iteration, analysis, folder, headline, verdict, ...

    Each entry's `folder` is relative to `folder` and can be given to `sr_hooks.load`.

    Raises:
        ResultError: no index there, damaged, or of a newer format.
    """
    return RunIndex(folder, must_exist=True).entries


class RunIndex:
    """index.json of a folder: entries of results, runs of the process, and the time account of each analysis.

    A result is listed only after it lies whole on disk, and is removed from the list before it is replaced.
    """

    def __init__(self, folder: str | Path, *, must_exist: bool = False) -> None:
        self.folder = Path(folder)
        self.path = self.folder / _FILE
        self.entries: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.time: dict[str, Any] = {}
        if self.path.is_file() or must_exist:
            self._load()

    def _load(self) -> None:
        try:
            record = json.loads(self.path.read_text(encoding="utf-8"))
            if record["format"] > FORMAT:
                raise ResultError(f"{self.path} was written by a newer sr_hooks (format {record['format']}); upgrade")
            self.entries, self.runs, self.time = list(record["results"]), list(record["runs"]), dict(record["time"])
        except FileNotFoundError:
            raise ResultError(f"no watched run in {self.folder}: there is no {_FILE}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            kind = type(error).__name__
            raise ResultError(f"{self.path} is damaged ({kind}: {error}): move it away to begin a new one") from None

    def begin(self, start: int) -> None:
        """A process begins at iteration `start`; unfinished files of an earlier process are deleted."""
        self.runs.append({"start": start})
        if self.folder.is_dir():
            for path in sorted(self.folder.rglob(".*")):
                if _REMAINS.fullmatch(path.name):
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        self.write()

    def remove(self, folder: str) -> None:
        """Remove a result from the list, before its folder is replaced."""
        if any(entry["folder"] == folder for entry in self.entries):
            self.entries = [entry for entry in self.entries if entry["folder"] != folder]
            self.write()

    def add(self, entry: dict[str, Any]) -> None:
        """List a result, whose folder is whole by now."""
        self.entries.append({**entry, "run": len(self.runs) - 1})
        self.write()

    def write(self) -> None:
        """Write the whole index; the file is replaced at once."""
        record = {"format": FORMAT, "runs": self.runs, "time": self.time, "results": self.entries}
        text = json.dumps(record, indent=1, ensure_ascii=False, default=str)
        write_file(self.path, lambda part: part.write_text(text, encoding="utf-8"))

    def save_state(self, iteration: int, state: dict[str, Any]) -> None:
        """Save the running sums of this iteration; all but the last few saved states are deleted."""
        folder = self.folder / _STATES
        write_file(folder / f"{iteration}.pt", lambda part: torch.save(state, part))
        for old in self._states()[:-_SAVED_STATES]:
            (folder / f"{old}.pt").unlink(missing_ok=True)

    def load_state(self, iteration: int) -> tuple[int, dict[str, Any]] | None:
        """The running sums of this iteration, or of the last before it, and which that was."""
        for saved in reversed([i for i in self._states() if i <= iteration]):
            try:
                return saved, torch.load(self.folder / _STATES / f"{saved}.pt", map_location="cpu", weights_only=True)
            except Exception:
                continue  # an older one is better than none
        return None

    def _states(self) -> list[int]:
        return sorted(int(path.stem) for path in (self.folder / _STATES).glob("*.pt") if path.stem.isdigit())
