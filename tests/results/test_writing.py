"""A folder is replaced without a moment that has neither the old content nor the new: killed at every line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from sr_hooks.errors import ResultError
from sr_hooks.results import writing
from sr_hooks.results.writing import recover, sweep, write_file, write_folder

pytestmark = pytest.mark.slow

MARKER = "content"


def fill(text: str) -> Callable[[Path], None]:
    def write(part: Path) -> None:
        (part / "first").write_text(text)
        (part / MARKER).write_text(text)

    return write


def whole(folder: Path) -> str:
    source = recover(folder)
    texts = {(source / name).read_text() for name in ("first", MARKER)}
    assert len(texts) == 1
    return texts.pop()


def killed_at(line: int, work: Callable[[], Any]) -> bool:
    """Run `work` in a forked process that dies at the given line of the module; whether it got that far."""
    child = os.fork()
    if child == 0:
        count = 0

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal count
            if frame.f_code.co_filename != writing.__file__:
                return None
            count += event == "line"
            if count > line:
                os._exit(9)
            return trace

        sys.settrace(trace)
        try:
            work()
        finally:
            sys.settrace(None)
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("exchange", [True, False], ids=["names are exchanged at once", "two renames"])
def test_killed_at_every_line_of_a_replacement(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(writing, "_exchanged", lambda one, other: False)
    folder = tmp_path / "runs" / "result"
    seen, line, asides = set(), 0, 0
    write_folder(folder, fill("old"), marker=MARKER)
    while killed_at(line, lambda: write_folder(folder, fill("new"), marker=MARKER)):
        asides += not folder.exists()
        seen.add(whole(folder))
        write_folder(folder, fill("old"), marker=MARKER)  # also cleans up after the dead process
        assert [path.name for path in folder.parent.iterdir()] == ["result"] and whole(folder) == "old"
        line += 1
    assert line > 60 and seen == {"old", "new"} and whole(folder) == "new"
    assert (asides == 0) == exchange, "with two renames the old content is aside for a moment, and recovered"


def test_killed_at_every_line_of_a_file(tmp_path):
    path = tmp_path / "index.json"
    write_file(path, lambda part: part.write_text("old"))
    line, seen = 0, set()
    while killed_at(line, lambda: write_file(path, lambda part: part.write_text("new"))):
        seen.add(path.read_text())
        sweep(tmp_path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["index.json"]
        write_file(path, lambda part: part.write_text("old"))
        line += 1
    assert line > 15 and seen == {"old", "new"}


def test_everything_is_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(descriptor: int) -> None:
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name.partition(".sr-hooks")[0])
        fsync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        events.append("renamed")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    write_folder(tmp_path / "r", fill("x"), marker=MARKER)
    assert sorted(events[:3]) == [".r", MARKER, "first"] and events[3:] == ["renamed", tmp_path.name]
    events.clear()
    write_file(tmp_path / "f", lambda part: part.write_text("x"))
    assert events == [".f", "renamed", tmp_path.name]


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "x" * 300 + "/deep", "é" * 120])
def test_names_that_no_folder_can_have_are_refused_in_one_line(tmp_path, name):
    for work in (
        lambda: write_folder(tmp_path / name, fill("x"), marker=MARKER),
        lambda: write_file(tmp_path / name, lambda part: part.write_text("x")),
    ):
        with pytest.raises(ResultError, match="cannot write") as caught:
            work()
        assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir()) or name.startswith("x" * 300)
