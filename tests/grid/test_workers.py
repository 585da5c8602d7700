"""Several processes on one grid, killed at any moment: nothing is lost, nothing computed twice, one answer."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sr_hooks.grid import read_request, run_grid
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.work.tasks import Task, run_shared
from sr_hooks.grid.workers import default_device, default_jobs
from tests.support.grids import command, environment, tables_in

CELLS = 12  # 6 networks x 2 images, see the fixture `undisturbed`


def journal(out: Path, *events: str) -> list[dict]:
    return [line for line in GridFolder(out).journal() if line["event"] in events]


def cells_in(out: Path) -> dict[str, tuple[int, int]]:
    """Every finished cell, with what would be another if it had been computed again.

    A name that begins with a dot is of a folder that a killed process had not finished.
    """
    cells = {}
    for file in out.glob("cells/*/[!.]*/result.json"):
        state = file.stat()
        cells[file.parent.name] = (state.st_ino, state.st_mtime_ns)
    return cells


def wait_for(condition: Callable[[], object], process: subprocess.Popen, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended by itself: {process.stderr.read()}"
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


def start(arguments: list[str], **more) -> subprocess.Popen:
    return subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def assert_nothing_twice(out: Path) -> None:
    finished: set[str] = set()
    for line in journal(out, "begun", "finished"):
        if line["key"].startswith("output"):
            continue
        assert line["key"] not in finished, f"{line['what']} was {line['event']} after it was finished"
        if line["event"] == "finished":
            finished.add(line["key"])


@pytest.mark.slow
def test_killed_ten_times_at_random_the_table_is_the_same_and_nothing_is_computed_twice(undisturbed, tmp_path):
    file, expected = undisturbed
    out = tmp_path / "out"
    dice = random.Random(8)
    seen: dict[str, tuple[int, int]] = {}
    moments = [*sorted(dice.sample(range(CELLS), 9)), CELLS]  # cells finished before each kill; at last, in the outputs
    for moment in moments:
        process = start(command(file, "--out", out, "--jobs", 1))
        begun = len(journal(out, "begun"))
        wait_for(lambda b=begun, m=moment: len(journal(out, "begun")) > b and len(cells_in(out)) >= m, process)
        time.sleep(dice.uniform(0, 0.15))
        assert process.poll() is None
        process.kill()
        process.communicate()
        now = cells_in(out)
        assert {key: now.get(key) for key in seen} == seen
        seen = now
    done = subprocess.run(command(file, "--out", out), env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert tables_in(out) == expected
    assert {key: cells_in(out).get(key) for key in seen} == seen and len(cells_in(out)) == CELLS
    assert_nothing_twice(out)
    assert len(journal(out, "begun")) > CELLS + 5  # it was at something when it was killed
    assert not [path for path in out.rglob(".*") if path.suffix == ".part"]  # and what it had begun is swept away


@pytest.mark.slow
def test_workers_of_one_machine_share_and_end_with_the_one_that_started_them(undisturbed, tmp_path):
    file, expected = undisturbed
    out = tmp_path / "out"
    process = start(command(file, "--out", out, "--jobs", 2))
    wait_for(lambda: len({line["pid"] for line in journal(out, "begun")}) == 2, process)
    process.kill()
    process.communicate()
    others = {line["pid"] for line in journal(out, "begun")} - {process.pid}
    end = time.monotonic() + 30
    while any(alive(pid) for pid in others):
        assert time.monotonic() < end, "a worker outlives the one that started it"
        time.sleep(0.05)
    summary = run_grid(read_request(file), out, jobs=2)
    assert summary.cells == CELLS and not summary.failures
    assert tables_in(out) == expected
    assert_nothing_twice(out)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def torchrun(*flags: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        *flags,
        "-m",
        "sr_hooks",
        "grid",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--max-restarts=1",)])
def test_of_two_torchrun_workers_one_is_killed_and_the_other_finishes_all(undisturbed, tmp_path, flags):
    file, expected = undisturbed
    out = tmp_path / "out"
    process = start([*torchrun(*flags), str(file), "--out", str(out)])
    wait_for(lambda: {line["rank"] for line in journal(out, "begun")} == {0, 1}, process)
    victim = next(line["pid"] for line in journal(out, "begun") if line["rank"] == 1)
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    # torchrun itself fails with its worker, unless it may restart; what it was started for is done either way
    assert (process.returncode == 0) == bool(flags), errors
    assert tables_in(out) == expected
    assert (out / "figure.pdf").is_file() and (out / "report.html").is_file()
    assert_nothing_twice(out)
    killed = [line["key"] for line in journal(out, "begun") if line["pid"] == victim]
    assert set(killed) <= {line["key"] for line in journal(out, "finished")}


def test_how_many_processes_there_are_by_default(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert default_jobs("cpu") >= 1
    monkeypatch.setenv("WORLD_SIZE", "1")  # torchrun starts what there is to start
    assert default_jobs("cpu") == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "6")
    assert default_device() == "cuda:2" and [default_device(n) for n in (1, 2, 5)] == ["cuda:1", "cuda:2", "cuda:1"]


# -- claims ------------------------------------------------------------------------------------------


def task(place: GridFolder, key: str, run: Callable[[], None]) -> Task:
    done = place.path / f"{key}.done"

    def work() -> None:
        run()
        done.touch()

    return Task(key, key, done.is_file, work)


def test_a_claim_is_one_s_until_it_is_let_go(tmp_path):
    place = GridFolder(tmp_path / "out")
    place.open({})
    with place.claimed("a") as mine, GridFolder(tmp_path / "out").claimed("a") as theirs:
        assert mine and not theirs
    with GridFolder(tmp_path / "out").claimed("a") as theirs:
        assert theirs


def test_what_workers_died_of_comes_last(tmp_path):
    place = GridFolder(tmp_path / "out")
    place.open({})
    order: list[str] = []
    tasks = [task(place, key, lambda key=key: order.append(key)) for key in "abc"]
    place.log("begun", "a", "a")  # and never finished: its worker died
    place.log("begun", "b", "b")
    place.log("finished", "b", "b")
    assert run_shared(tasks, place, since=0.0) == 3 and order == ["b", "c", "a"]
    assert run_shared(tasks, place, since=0.0) == 0


def test_a_failure_is_settled_in_this_run_and_tried_in_the_next(tmp_path):
    place = GridFolder(tmp_path / "out")
    place.open({})
    attempts = []

    def raise_error() -> None:
        attempts.append(1)
        raise ValueError("no")

    begin = time.time()
    run_shared([task(place, "a", raise_error)], place, since=begin)
    run_shared([task(place, "a", raise_error)], place, since=begin)
    assert len(attempts) == 1 and place.failure("a", begin) == "ValueError: no"
    run_shared([task(place, "a", lambda: None)], place, since=time.time())
    assert place.failure("a") is None


def test_a_journal_that_a_dying_machine_left_half_is_read(tmp_path):
    place = GridFolder(tmp_path / "out")
    place.open({})
    place.log("begun", "ä\n<", "x")
    with (tmp_path / "out/journal.jsonl").open("a") as file:
        file.write('{"event": "fini')
    assert [line["key"] for line in place.journal()] == ["ä\n<"]
    assert json.loads((tmp_path / "out/journal.jsonl").read_text().splitlines()[0])["key"] == "ä\n<"
