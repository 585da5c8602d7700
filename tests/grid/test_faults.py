"""Faults of a machine: a worker that stands still, a full disk, a folder that vanishes and returns.

Every cell is whole, computed once or again with equal bits; the tables are those of an undisturbed run; nobody hangs.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sr_hooks.grid import read_request, run_grid
from sr_hooks.grid.claims import lease
from sr_hooks.grid.claims.lease import Heartbeat, Observer
from sr_hooks.grid.claims.overlaps import overlapping_claims
from sr_hooks.grid.folder import GridFolder
from tests.support.grids import environment, tables_in

WORKER = """if 1:
    import os, signal, sys
    from sr_hooks.grid import compute, read_request, run_grid
    from sr_hooks.grid.claims import lease
    lease.BEAT, lease.LEASE = 0.2, 3.0
    file, out, stops = sys.argv[1:]
    calls, execute = [], compute.execute
    def stopping(*arguments):
        calls.append(1)
        if stops == "stops" and len(calls) == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        return execute(*arguments)
    compute.execute = stopping
    summary = run_grid(read_request(file), out, jobs=1)
    print(summary.cells, len(summary.failures))
"""


def start(file: Path, out: Path, kind: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WORKER, str(file), str(out), kind]
    return subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def events(out: Path, *names: str) -> list[str]:
    return [line["event"] for line in GridFolder(out).journal() if line["event"] in names]


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="whether a process is stopped is read from /proc")
def test_a_worker_that_stands_still_holds_up_nobody(undisturbed, tmp_path):
    """SIGSTOP in its second cell, for longer than the lease; it goes on when all is done."""
    file, expected = undisturbed
    out = tmp_path / "out"
    stopped = start(file, out, "stops")
    try:
        wait_for(lambda: is_stopped(stopped.pid), stopped)
        other = start(file, out, "goes on")
        answer = other.communicate(timeout=280)
        assert other.returncode == 0 and answer[0].split() == ["12", "0"], answer
        assert "taken over" in events(out, "taken over") and tables_in(out) == expected
        before = {path: path.read_bytes() for path in out.glob("cells/*/*/*")}
    finally:
        stopped.send_signal(signal.SIGCONT)
    answer = stopped.communicate(timeout=280)
    assert stopped.returncode == 0 and answer[0].split() == ["12", "0"], answer
    assert {path: path.read_bytes() for path in out.glob("cells/*/*/*")} == before
    assert tables_in(out) == expected and not GridFolder(out).overlaps()


def test_a_claim_is_abandoned_after_a_lease_without_a_sign_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.01)
    monkeypatch.setattr(lease, "LEASE", 0.2)
    alive, still = tmp_path / "alive", tmp_path / "still"
    heart, observer = Heartbeat(), Observer()
    for file in (alive, still):
        file.touch()
        heart.hold(file)
    heart.let_go(still)
    end = time.monotonic() + 60
    with heart.beating(), heart.beating():
        while not observer.is_abandoned(still):
            assert not observer.is_abandoned(alive) and time.monotonic() < end
            time.sleep(0.02)
    assert heart._thread is None
    assert not observer.is_abandoned(tmp_path / "absent")


def test_what_was_taken_over_is_no_sign_of_locks_that_do_not_hold():
    def line(event: str, pid: int) -> dict[str, object]:
        return {"event": event, "key": "a", "host": "h", "pid": pid}

    lines = [line("begun", 1), line("taken over", 2), line("begun", 2), line("finished", 2), line("finished", 1)]
    assert overlapping_claims(lines) == {}
    assert overlapping_claims([lines[0], *lines[2:]]) == {"a": ("process 1 of h", "process 2 of h")}


@pytest.mark.slow
def test_a_folder_that_vanishes_and_returns_costs_nothing(undisturbed, tmp_path):
    file, expected = undisturbed
    out, away = tmp_path / "out", tmp_path / "away"
    process = start(file, out, "goes on")
    for finished in (1, 5):
        wait_for(lambda count=finished: len(events(out, "finished")) >= count, process)
        out.rename(away)
        time.sleep(1.5)
        assert process.poll() is None and not out.exists()
        away.rename(out)
    answer = process.communicate(timeout=280)
    assert process.returncode == 0 and answer[0].split() == ["12", "0"], answer
    assert tables_in(out) == expected and "failed" not in events(out, "failed")
    assert "waiting for its return" in answer[1]


@contextmanager
def full_disk(kind: str, folder: Path) -> Iterator[Callable[[], None]]:
    """A folder with room for a few cells; the call that it gives makes room."""
    if kind == "tmpfs":
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip("a small file system cannot be mounted here")
        try:
            yield lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True) and None
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, hard))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="limits of files are of Unix")
@pytest.mark.parametrize("kind", ["tmpfs", "limit of a file"])
def test_a_full_disk_fails_the_cells_and_the_next_run_computes_them(kind, undisturbed, tmp_path):
    file, expected = undisturbed
    out = tmp_path / "disk" / "out"
    with full_disk(kind, tmp_path / "disk") as make_room:
        first = run_grid(read_request(file), out, jobs=1)
        assert first.cells == 12 and first.computed < 12 and first.failures
        assert any("space" in reason or "large" in reason for _, reason in first.failures), first.failures
        make_room()
        second = run_grid(read_request(file), out, jobs=1)
        assert second.failures == () and second.computed == 12 - first.computed
        assert tables_in(out) == expected
