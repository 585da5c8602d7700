"""Folder and index, TensorBoard, log, a third party's sink; and the index after crashes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks import Result
from sr_hooks.core.registry import registered
from sr_hooks.errors import ResultError
from sr_hooks.hookspecs import hookimpl
from sr_hooks.results.run_index import RunIndex, read_index
from sr_hooks.results.writing import is_alive, owner
from sr_hooks.training.sinks import FolderSink, Sink, SinkContext, Sinks, TensorBoardSink

pytestmark = pytest.mark.slow


class Postcard(Sink):
    """A third party's."""

    received: list[str] = []  # noqa: RUF012

    def write(self, result: Result, *, iteration: int, folder: str) -> None:
        self.received.append(f"{self.context.run} {folder} {result.scalars['n']}")

    def close(self) -> None:
        self.received.append("closed")


class Broken(Sink):
    """Fails at every result."""

    def write(self, result: Result, *, iteration: int, folder: str) -> None:
        raise OSError("disk full")


class Plugin:
    @hookimpl
    def register_sinks(self) -> dict[str, type[Sink]]:
        return {"postcard": Postcard, "broken": Broken}


@pytest.fixture(autouse=True)
def third_party() -> Iterator[None]:
    Postcard.received.clear()
    with registered(Plugin(), name="post_office"):
        yield


def context(folder: Path | None, writer: Any = None) -> SinkContext:
    index = None if folder is None else RunIndex(folder)
    return SinkContext(index, lambda: writer, logging.getLogger("sr_hooks.watch"), "mine")


def result(n: float = 1.0) -> Result:
    return Result("count", {"a": np.arange(3)}, {"n": n, "words": "no number", "bad": float("nan")}, {}, "sound")


def test_folder_and_index(tmp_path: Path) -> None:
    sink = FolderSink(context(tmp_path))
    for iteration in (5, 10):
        sink.write(result(iteration), iteration=iteration, folder=f"{iteration}/count")
        entries = read_index(tmp_path)
        json.loads((tmp_path / "index.json").read_text(), parse_constant=pytest.fail)
        assert [entry["iteration"] for entry in entries][-1] == iteration
    assert entries[1]["headline"] == {"n": 10} and entries[1]["verdict"] == "sound"
    assert sr_hooks.load(tmp_path / entries[1]["folder"]).scalars["n"] == 10


def test_a_figure_that_cannot_be_drawn_costs_no_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Result, "figure", lambda self: 1 / 0)
    FolderSink(context(tmp_path)).write(result(3), iteration=5, folder="5/count")
    assert sr_hooks.load(tmp_path / "5/count").scalars["n"] == 3
    assert any("no figure of count: ZeroDivisionError" in message for message in caplog.messages)


def test_a_result_is_struck_off_while_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FolderSink(context(tmp_path))
    sink.write(result(), iteration=5, folder="5/count")
    listed: list[int] = []
    save = Result.save

    def spy(self: Result, folder: Any, **given: Any) -> Any:
        listed.append(len(read_index(tmp_path)))
        return save(self, folder, **given)

    monkeypatch.setattr(Result, "save", spy)
    sink.write(result(2), iteration=5, folder="5/count")
    assert listed == [0] and [entry["headline"]["n"] for entry in read_index(tmp_path)] == [2]


def test_the_index_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = RunIndex(tmp_path)
    index.begin(0)
    index.add({"iteration": 1, "folder": "1/a"})
    before = (tmp_path / "index.json").read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ResultError, match="No space left"):
        index.add({"iteration": 2, "folder": "2/a"})
    assert (tmp_path / "index.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    """Ours alone: hidden files of others, whatever they are called, and those of living processes stay."""
    RunIndex(tmp_path).begin(0)
    strangers = [".lam.abc.part", ".lam.abc.old", ".x.sr-hooks-1-2-3.part", ".hidden"]
    for name in strangers:
        (tmp_path / "5" / name).mkdir(parents=True)
    (tmp_path / ".index.json.77.part").write_text("{")
    dead = owner_of_a_dead_process()
    (tmp_path / f"5/.lam.sr-hooks-{dead}-00000001.part").mkdir()
    (tmp_path / f"5/.lam.sr-hooks-{dead}-00000002.old").mkdir()
    (tmp_path / f".index.json.sr-hooks-{dead}-00000003.part").write_text("{")
    living = f".ddr.sr-hooks-{owner()}-00000004.part"
    (tmp_path / "5" / living).mkdir()
    RunIndex(tmp_path).begin(5)
    assert sorted(path.name for path in tmp_path.rglob(".*")) == sorted([*strangers, ".index.json.77.part", living])
    assert (tmp_path / "5/lam").is_dir(), "what was set aside and not replaced has its name again"
    assert [run["start"] for run in RunIndex(tmp_path).runs] == [0, 5]


def owner_of_a_dead_process() -> str:
    code = "from sr_hooks.results.writing import owner; print(owner())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


SECOND = """
import sys
from sr_hooks.results.run_index import RunIndex
RunIndex(sys.argv[1]).begin(0)
print("go", flush=True)
input()
"""


def test_a_second_process_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    command = [sys.executable, "-c", SECOND, str(tmp_path)]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "go\n"
    with pytest.raises(ResultError, match=f"process {first.pid}, is still running"):
        RunIndex(tmp_path).begin(0)
    first.kill()  # a zombie by now, until it is waited for
    deadline = time.monotonic() + 10
    while is_alive(RunIndex(tmp_path).runs[-1]["owner"]) and time.monotonic() < deadline:
        time.sleep(0.01)
    RunIndex(tmp_path).begin(5)
    first.communicate()
    RunIndex(tmp_path).begin(6)
    assert any("has not ended" in message for message in caplog.messages)
    caplog.clear()
    index = RunIndex(tmp_path)
    index.end()
    index.write()
    RunIndex(tmp_path).begin(7)
    assert not caplog.messages


def test_a_full_disk_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sinks = Sinks()
    sinks.open(["folder"], context(tmp_path))
    sinks.write(result(), iteration=1, folder="1/count")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        for iteration in (1, 2, 3, 4, 5):
            sinks.write(result(9), iteration=iteration, folder=f"{iteration}/count")
    assert sum("No space left" in message for message in caplog.messages) == 5
    sinks.write(result(6), iteration=6, folder="6/count")
    assert [entry["folder"] for entry in read_index(tmp_path)] == ["1/count", "6/count"]
    assert sr_hooks.load(tmp_path / "1/count").scalars["n"] == 1, "what could not be replaced is there, and listed"
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("text", "word"), [("{", "damaged"), ("{}", "damaged"), ('{"format": 99}', "newer"), (None, "no watched run")]
)
def test_an_index_that_cannot_be_read(tmp_path: Path, text: str | None, word: str) -> None:
    if text is not None:
        (tmp_path / "index.json").write_text(text)
    with pytest.raises(ResultError, match=word):
        read_index(tmp_path)


def test_states_are_kept_for_the_last_checkpoints(tmp_path: Path) -> None:
    index = RunIndex(tmp_path)
    for iteration in (10, 20, 30, 40):
        index.save_state(iteration, {"sums": {"total": torch.full((2,), float(iteration)), "n": iteration}})
    assert sorted(path.name for path in (tmp_path / "states").iterdir()) == ["20.pt", "30.pt", "40.pt"]
    at, state = RunIndex(tmp_path).load_state(35)
    assert at == 30 and state["sums"]["n"] == 30 and float(state["sums"]["total"][0]) == 30
    (tmp_path / "states/30.pt").write_bytes(b"torn")
    assert RunIndex(tmp_path).load_state(35)[0] == 20
    assert RunIndex(tmp_path).load_state(15) is None


@pytest.mark.slow
def test_tensorboard_by_its_own_reader(tmp_path: Path, baseline: Any, small_lr: torch.Tensor) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path / "tb"))
    sink = TensorBoardSink(context(None, writer))
    lam = sr_hooks.lam(baseline, small_lr, window=(20, 20, 16), steps=5)
    sink.write(lam, iteration=7, folder="7/lam")
    sink.write(lam, iteration=9, folder="9/lam/1")
    writer.close()
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    (event,) = events.Scalars("sr_hooks/lam/diffusion_index")
    assert event.step == 7 and event.value == pytest.approx(lam.diffusion_index, rel=1e-6)
    assert events.Scalars("sr_hooks/lam/1/gini")[0].step == 9
    (image,) = events.Images("sr_hooks/lam/figure")
    assert image.step == 7 and image.width > image.height > 100


def test_no_writer_no_tensorboard() -> None:
    TensorBoardSink(context(None)).write(result(), iteration=1, folder="1/count")


def test_a_third_partys_sink() -> None:
    sinks = Sinks()
    sinks.open(["postcard"], context(None))
    sinks.write(result(4), iteration=3, folder="3/count")
    sinks.close()
    sinks.close()
    assert Postcard.received == ["mine 3/count 4", "closed"]


def test_a_broken_sink_is_set_aside(caplog: pytest.LogCaptureFixture) -> None:
    sinks = Sinks()
    sinks.open(["broken", "postcard"], context(None))
    with caplog.at_level(logging.ERROR):
        for iteration in range(5):
            sinks.write(result(), iteration=iteration, folder=f"{iteration}/count")
    assert len(Postcard.received) == 5, "the others go on"
    said = [message for message in caplog.messages if "broken" in message]
    assert len(said) == 3 and "disk full" in said[0] and "disabled after 3 errors" in said[2]
