"""Cost of sharing a large grid, and workers in each executor.

    python benchmarks/cluster.py [--cells 50000] [--windows 2] [--skip-executors]

1. Claims and journal: one process settles many cells that cost nothing. Claimed: below 5 ms of CPU time a cell, and the
   cost at 50,000 cells is below twice that at 5,000.
2. The planner: CPU time a network and a cell of a plan of four demo networks, memory of the cells of a plan, by
   tracemalloc (claimed: below 4 KiB a cell), and CPU time of a worker that reads the stored plan.
3. The grid of `benchmarks/grid.py` by 1, 2 and 4 workers of each executor: the CPU time of the worker that took
   longest, from the start of its process to its end.
4. On paper, with these figures: 100 networks x 100 images x 5 windows on 64 GPUs, for a cell of 2 s and loading of 2 s
   (both assumed).
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.grid import make_grid
from sr_hooks.grid import read_request, run_grid
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import make_plan
from sr_hooks.grid.work.stored_plans import shared_plan
from sr_hooks.grid.work.tasks import Task, run_shared

CLAIMS = {"ms a cell": 5.0, "growth": 2.0, "KiB a cell": 4.0}


def sharing(cells: int) -> tuple[float, float]:
    """CPU seconds a cell for claim, journal and look; and seconds to read the journal once."""
    with TemporaryDirectory() as folder:
        grid, done = GridFolder(folder), set()
        grid.open({})
        keys = [f"{number:064x}" for number in range(cells)]
        tasks = [
            Task(key, "lam of a network, an image", lambda key=key: key in done, lambda key=key: done.add(key))
            for key in keys
        ]
        begin = time.process_time()
        assert run_shared(tasks, grid, since=0.0) == cells
        middle = time.process_time()
        assert len(grid.journal()) == 2 * cells
        return (middle - begin) / cells, time.process_time() - middle


def planning(cells: int) -> tuple[float, float, float]:
    """CPU seconds to plan a network, and a cell of it; and KiB of memory a cell."""
    seconds, counts = [], []
    for count in (1, 6):
        with TemporaryDirectory() as folder:
            request = read_request(make_grid(Path(folder), count))
            begin = time.process_time()
            plan = make_plan(request, device="cpu", threads=1)
            seconds.append(time.process_time() - begin)
            counts.append(len(plan.cells))
    a_cell = (seconds[1] - seconds[0]) / (counts[1] - counts[0])
    a_network = (seconds[0] - counts[0] * a_cell) / len(plan.networks)
    tracemalloc.start()
    copies = [
        replace(plan.cells[n % len(plan.cells)], key=f"{n:064x}", options=dict(plan.cells[0].options))
        for n in range(cells)
    ]
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return a_network, a_cell, size / 1024 / len(copies)


def reading(cells: int, windows: int) -> tuple[float, float]:
    """CPU seconds of a worker that reads a plan of that many cells from the folder; and its MB on disk."""
    with TemporaryDirectory() as name:
        folder = GridFolder(Path(name) / "out")
        request = read_request(make_grid(Path(name), windows))
        folder.open({})
        plan = shared_plan(request, folder, device="cpu", threads=1, since=0.0)
        file = folder.path / "plan_cpu.json"
        content = json.loads(file.read_text())
        content["cells"] = [
            [f"{n:064x}", *plan_cell[1:]] for n, plan_cell in zip(range(cells), cycle(content["cells"]))
        ]
        file.write_text(json.dumps(content))
        begin = time.process_time()
        again = shared_plan(request, folder, device="cpu", threads=1, since=0.0)
        seconds = time.process_time() - begin
        assert len(again.cells) == cells and len(plan.cells) < cells
        return seconds, file.stat().st_size / 1e6


@contextmanager
def executor_of(kind: str, workers: int, folder: Path) -> Iterator[Any]:
    if kind == "processes":
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield pool
    elif kind == "submitit":
        import submitit

        executor = submitit.LocalExecutor(folder / "jobs")
        executor.update_parameters(timeout_min=30)
        yield executor
    else:
        from distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, local_directory=folder) as c,
            Client(c) as client,
        ):
            yield client.get_executor()


def longest(kind: str, workers: int, windows: int) -> float:
    """CPU seconds of the worker that took longest."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        request = read_request(make_grid(folder, windows))
        with executor_of(kind, workers, folder) as executor:
            summary = run_grid(request, folder / "out", jobs=workers, executor=executor)
        assert summary.computed == summary.cells and not summary.failures
        return max(line["cpu"] for line in GridFolder(folder / "out").journal() if line["event"] == "ended")


def paper(share: float, network: float, cell: float, read: float) -> str:
    """How long 100 networks x 100 images x 5 windows take on 64 GPUs, and how many GPUs are of use."""
    cells, gpus, compute, load, networks = 50_000, 64, 2.0, 2.0, 100
    planned = networks * (load + network) + cells * cell  # by one worker, while the others wait
    work = cells * (compute + share) / gpus
    switches = (networks / gpus + 1) * load  # each network once, and one more where a worker helps
    total = planned + read + work + switches
    alone = cells * compute
    each = planned + networks * load + work  # if every worker planned, and loaded every network
    return (
        f"{cells} cells of {compute:g} s, {networks} networks that load in {load:g} s, {gpus} GPUs: "
        f"{work / 60:.0f} min of work, {planned / 60:.1f} min of planning by one worker, {read:.1f} s to read it, "
        f"{switches:.0f} s of loading: {total / 60:.0f} min, {alone / total / gpus:.0%} of {gpus} times one GPU; "
        f"planning takes as long as the work at {alone / planned:.0f} GPUs; "
        f"with a plan by each worker and each network loaded by each: {each / 60:.0f} min"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--skip-executors", action="store_true")
    arguments = parser.parse_args()
    small, large = sharing(arguments.cells // 10), sharing(arguments.cells)
    for count, (share, read) in ((arguments.cells // 10, small), (arguments.cells, large)):
        print(f"{count} cells: {1e3 * share:.2f} ms a cell to claim, log and look; the journal is read in {read:.2f} s")
    network, cell, size = planning(arguments.cells)
    print(
        f"planning {1e3 * network:.0f} ms a network (loaded within), {1e3 * cell:.2f} ms a cell; {size:.2f} KiB a cell"
    )
    read, megabytes = reading(arguments.cells, arguments.windows)
    print(f"a worker reads a plan of {arguments.cells} cells ({megabytes:.0f} MB) in {read:.1f} s")
    if not arguments.skip_executors:
        for kind in ("processes", "submitit", "dask"):
            times = [longest(kind, workers, arguments.windows) for workers in (1, 2, 4)]
            print(f"{kind}: 1, 2, 4 workers: {', '.join(f'{t:.1f}' for t in times)} s of CPU time", flush=True)
    print(paper(large[0], network, cell, read))
    values = {"ms a cell": 1e3 * large[0], "growth": large[0] / small[0], "KiB a cell": size}
    for name, limit in CLAIMS.items():
        print(f"{name}: {values[name]:.2f}, claimed below {limit:g}: {'holds' if values[name] < limit else 'MISSED'}")


if __name__ == "__main__":
    main()
