"""Workers in any executor: one is killed by SIGKILL, and the table is that of an undisturbed run."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from sr_hooks.errors import OptionError
from sr_hooks.grid import read_request, run_grid
from sr_hooks.grid.cluster import executors
from sr_hooks.grid.cluster.executors import run_in
from sr_hooks.grid.cluster.follow import state_of
from sr_hooks.grid.folder import GridFolder
from tests.support.grids import environment, tables_in


def kill_a_worker(out, killed: list[int]) -> threading.Thread:
    """Kill the first process that has begun a cell, once it has."""

    def wait_and_kill() -> None:
        end = time.monotonic() + 200
        while not killed and time.monotonic() < end:
            begun = [line["pid"] for line in GridFolder(out).journal() if line["event"] == "begun"]
            for pid in begun[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.01)

    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    return thread


def executor_of(kind: str, folder, request):
    if kind == "processes":
        pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
        request.addfinalizer(lambda: pool.shutdown(wait=True, cancel_futures=True))
        return pool
    if kind == "submitit":
        submitit = pytest.importorskip("submitit", reason="the test extra has submitit")
        executor = submitit.LocalExecutor(folder / "jobs")
        executor.update_parameters(timeout_min=10)
        return executor
    distributed = pytest.importorskip("distributed", reason="the test extra has dask")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(folder / "dask")
    )
    client = distributed.Client(cluster)
    request.addfinalizer(cluster.close)
    request.addfinalizer(client.close)
    return client.get_executor()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["processes", "submitit", "dask"])
def test_a_worker_that_is_killed_costs_nothing(kind, undisturbed, tmp_path, request, monkeypatch):
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    file, expected = undisturbed
    out, killed = tmp_path / "out", []
    executor = executor_of(kind, tmp_path, request)
    thread = kill_a_worker(out, killed)
    counts = []
    summary = run_grid(
        read_request(file), out, jobs=2, executor=executor, progress=lambda done, total: counts.append((done, total))
    )
    thread.join(10)
    assert killed and killed[0] != os.getpid()
    assert (summary.cells, summary.computed, summary.failures) == (12, 12, ())
    assert tables_in(out) == expected
    finished = [line["key"] for line in GridFolder(out).journal() if line["event"] == "finished"]
    assert (
        len([key for key in finished if "-" not in key])
        == 12
        == len(set(finished)) - len([key for key in set(finished) if "-" in key])
    )
    assert counts and all(done <= 12 for done, _ in counts)


# How workers are started again


class Fake:
    """Runs a call at once; the first calls raise what is listed."""

    def __init__(self, *errors):
        self.errors, self.calls = list(errors), []

    def submit(self, fn, number):
        self.calls.append(number)
        future = Future()
        error = self.errors.pop(0) if self.errors else None
        if isinstance(error, OSError):
            raise error
        future.set_exception(error) if error else future.set_result(fn(number))
        return future


def test_workers_that_die_are_submitted_again_as_long_as_cells_are_computed():
    done = iter(range(100))
    executor = Fake(*[RuntimeError("killed")] * 8)
    assert run_in(executor, lambda n: f"by {n}", 2, computed=lambda: next(done)) == "by 8"
    assert executor.calls == list(range(10))
    stuck = Fake(*[RuntimeError("killed")] * 100)
    assert run_in(stuck, lambda n: n, 2, computed=lambda: 0) is None and len(stuck.calls) == 6
    assert run_in(Fake(OSError("broken")), lambda n: n, 2, computed=lambda: 0) is None
    with pytest.raises(OptionError, match="no such"):
        run_in(Fake(OptionError("no such"), OptionError("no such")), lambda n: n, 2, computed=lambda: 0)


def test_a_worker_that_still_waits_in_the_queue_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(executors, "_GRACE", 0.1)

    class Queue(Fake):
        def submit(self, fn, number):
            return super().submit(fn, number) if number else waiting

    waiting = Future()
    assert run_in(Queue(), lambda n: n, 2, computed=lambda: 0) == 1 and waiting.cancelled()


# How far it is


def entry(event, key="", time=0.0, pid=1, **more):
    return {"event": event, "key": key, "time": time, "host": "h", "pid": pid, **more}


def test_the_state_of_a_run_and_its_end():
    before = [entry("planned", cells=3, present=0), entry("finished", "z"), entry("ended")]
    run = [entry("submitted"), entry("planned", time=100.0, cells=12, present=2)]
    assert str(state_of([*before, run[0]], 0.0)).startswith("the workers are planning")
    run += [entry("begun", key, pid=n) for n, key in enumerate("abc")]
    run += [
        entry("finished", "a", 110.0),
        entry("finished", "b", 110.0),
        entry("failed", "c"),
        entry("begun", "d", pid=7),
    ]
    run += [entry("begun", "d-check", pid=8), entry("finished", "d-check")]
    state = state_of([*before, *run], 120.0)
    assert (state.total, state.done, state.failed, state.workers, state.computed) == (12, 4, 1, 1, 2)
    assert state.remaining == 7 * 20.0 / 2 and not state.is_over
    assert str(state) == "4 of 12 cells, 1 workers, 1 failed, some 70 s to the end"
    run += [entry("finished", key, 130.0) for key in "defghij"] + [entry("ended")]
    assert state_of([*before, *run], 140.0).is_over
