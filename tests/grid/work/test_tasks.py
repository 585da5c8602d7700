"""Who computes which task: a worker stays with a network, the longest come first, others help at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.work.tasks import Task, run_shared


def opened(path: Path) -> GridFolder:
    folder = GridFolder(path / "out")
    folder.open({})
    return folder


def task(folder: GridFolder, key: str, network: int | None, cost: float, run: Callable[[], None]) -> Task:
    done = folder.path / f"{key}.done"

    def work() -> None:
        run()
        done.touch()

    return Task(key, key, done.is_file, work, network, cost)


def test_the_longest_network_comes_first_and_its_tasks_stay_together(tmp_path):
    folder, order = opened(tmp_path), list[str]()
    costs = {"a1": 1, "b1": 4, "c1": 2, "a2": 2, "b2": 4, "c2": 3}
    tasks = [
        task(folder, key, "abc".index(key[0]), cost, lambda key=key: order.append(key)) for key, cost in costs.items()
    ]
    assert run_shared(tasks, folder, since=0.0) == 6
    assert order == ["b1", "b2", "c2", "c1", "a2", "a1"]


def test_measured_seconds_go_before_estimates(tmp_path):
    folder, order = opened(tmp_path), list[str]()
    tasks = [task(folder, key, "ab".index(key[0]), 1.0, lambda key=key: order.append(key)) for key in ("a1", "b1")]
    folder.log("finished", "b0", "b0", cpu=9.0)
    known = [*tasks, task(folder, "b0", 1, 1.0, lambda: None)]
    (folder.path / "b0.done").touch()
    run_shared(known, folder, since=0.0)
    assert order == ["b1", "a1"]


def test_two_workers_take_a_network_each_and_the_free_one_helps_from_the_other_end(tmp_path):
    """The first worker is held in its first task until the second one has done all that it can."""
    folder, ran = opened(tmp_path), list[tuple[str, str]]()
    begun, others_done = threading.Event(), threading.Event()

    def tasks(worker: str) -> list[Task]:
        def run(key: str) -> None:
            ran.append((worker, key))
            if key == "a1":
                begun.set()
                assert others_done.wait(60)
            if len(ran) == 5:
                others_done.set()

        keys = ("a1", "a2", "a3", "b1", "b2")
        own = GridFolder(folder.path)
        return [task(own, key, "ab".index(key[0]), 1.0, lambda key=key: run(key)) for key in keys]

    first = threading.Thread(target=run_shared, args=(tasks("one"), GridFolder(folder.path)), kwargs={"since": 0.0})
    first.start()
    assert begun.wait(60)
    assert run_shared(tasks("two"), GridFolder(folder.path), since=0.0) == 4
    first.join(60)
    assert not first.is_alive()
    assert ran == [("one", "a1"), ("two", "b1"), ("two", "b2"), ("two", "a3"), ("two", "a2")]


def test_a_call_for_several_cells_is_in_the_journal_with_each(tmp_path):
    folder = opened(tmp_path)

    def fail() -> None:
        raise ValueError("no")

    tasks = [
        Task("a", "a", lambda: (folder.path / "a").exists(), (folder.path / "a").touch, others=(("b", "b"),)),
        Task("c", "c", lambda: False, fail, others=(("d", "d"),)),
    ]
    run_shared(tasks, folder, since=0.0)
    events = [(line["event"], line["key"]) for line in folder.journal()]
    assert events[:4] == [("begun", "a"), ("begun", "b"), ("finished", "a"), ("finished", "b")]
    assert events[4:] == [("begun", "c"), ("begun", "d"), ("failed", "c"), ("failed", "d")]
    assert folder.failure("d") == "ValueError: no"
