"""The index of a watched run on disk: which results it has, its time accounts, and the saved running sums."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from sr_hooks.core.text import one_line
from sr_hooks.errors import ResultError
from sr_hooks.files.regular_files import is_file
from sr_hooks.files.strict_json import to_json
from sr_hooks.results.reading import read_record
from sr_hooks.results.writing import is_alive, owner, sweep, write_file

__all__ = ["RunIndex", "read_index"]

FORMAT = 1
_FILE = "index.json"
_STATES = "states"
_SAVED_STATES = 3  # states; a run is resumed from its last checkpoint, or one or two before it
_ENTRY = {"iteration": int, "analysis": str, "folder": str, "headline": dict}
_log = logging.getLogger("sr_hooks")


def read_index(folder: str | Path) -> list[dict[str, Any]]:
    """The entries of a watched run's index, in order of writing: iteration, analysis, folder, headline, verdict, ...

    Each entry's `folder` is relative to `folder` and can be given to `sr_hooks.load`.

    Raises:
        ResultError: no index there, damaged, or of a newer format.
    """
    index = RunIndex(folder, must_exist=True)
    for entry in index.entries:
        if not isinstance(entry, dict) or any(not isinstance(entry.get(key), kind) for key, kind in _ENTRY.items()):
            raise ResultError(f"{index.path} is damaged: the entry {one_line(repr(entry))} lacks what an entry has")
    return index.entries


class RunIndex:
    """index.json of a folder: entries of results, runs of the process, and the time account of each analysis.

    A result is listed only after it lies whole on disk, and is removed from the list before it is replaced. Each run
    names the process that writes: two processes that run at the same time cannot share a folder.
    """

    def __init__(self, folder: str | Path, *, must_exist: bool = False) -> None:
        self.folder = Path(folder)
        self.path = self.folder / _FILE
        self.entries: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.time: dict[str, Any] = {}
        if is_file(self.path) or must_exist:
            self._load()

    def _load(self) -> None:
        try:
            record = read_record(self.path, {"format": int})
            if record["format"] > FORMAT:
                raise ResultError(f"{self.path} was written by a newer sr_hooks (format {record['format']}); upgrade")
            record = read_record(self.path, {"results": list, "runs": list, "time": dict})
            self.entries, self.runs, self.time = record["results"], record["runs"], record["time"]
        except FileNotFoundError:
            raise ResultError(f"no watched run in {self.folder}: there is no {_FILE}") from None
        except (OSError, ValueError) as error:
            problem = f"{type(error).__name__}: {one_line(str(error), 300)}"
            raise ResultError(f"{self.path} is damaged ({problem}): move it away to begin a new one") from None

    def begin(self, start: int) -> None:
        """A process begins at iteration `start`; what dead processes of ours left unfinished is cleaned up.

        Raises:
            ResultError: another process that is still running writes to this folder.
        """
        self._refuse_second()
        self.runs.append({"start": start, "owner": owner()})
        if self.folder.is_dir():
            sweep(self.folder)
        self.write()

    def _refuse_second(self) -> None:
        """Refuse a folder that another process writes to; of one that cannot be asked, say so."""
        if is_file(self.path):
            self._load()
        last = self.runs[-1] if self.runs and isinstance(self.runs[-1], dict) else {}
        writer = str(last.get("owner", ""))
        if not writer or last.get("ended"):
            return
        try:
            alive = is_alive(writer)
        except ValueError:
            return
        if writer == owner():
            _log.warning("sr_hooks: an earlier run of this process has not ended, and writes to %s too", self.folder)
        elif alive:
            raise ResultError(
                f"another run, process {writer.split('-')[1]}, is still running and writes to {self.folder}: "
                "end that run, or give this one another folder"
            )
        elif alive is None:
            _log.info("sr_hooks: an earlier run on another machine wrote to %s; it must have ended", self.folder)

    def end(self) -> None:
        """This process writes no more after the next `write`: another one may begin."""
        if self.runs:
            self.runs[-1]["ended"] = True

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
        write_file(self.path, lambda part: part.write_text(to_json(record), encoding="utf-8"))

    def save_state(self, iteration: int, state: dict[str, Any]) -> None:
        """Save the running sums of this iteration; all but the last few saved states are deleted."""
        folder = self.folder / _STATES
        write_file(folder / f"{iteration}.pt", lambda part: torch.save(state, part))
        for old in self._states()[:-_SAVED_STATES]:
            (folder / f"{old}.pt").unlink(missing_ok=True)

    def load_state(self, iteration: int) -> tuple[int, dict[str, Any]] | None:
        """The running sums of this iteration, or of the last before it, and which that was."""
        for saved in reversed([i for i in self._states() if i <= iteration]):
            path = self.folder / _STATES / f"{saved}.pt"
            try:
                if is_file(path):
                    return saved, torch.load(path, map_location="cpu", weights_only=True)
            except Exception:
                continue  # an older one is better than none
        return None

    def _states(self) -> list[int]:
        return sorted(int(path.stem) for path in (self.folder / _STATES).glob("*.pt") if path.stem.isdigit())
