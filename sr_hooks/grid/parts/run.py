"""Run one analysis of one network on many files with workers that share its parts."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr_hooks.analyses.base import execute, find_analysis, options_of
from sr_hooks.analyses.parts import Parts
from sr_hooks.core.options import as_plain
from sr_hooks.errors import OptionError, ResultError
from sr_hooks.grid.cluster.executors import Executor, run_in
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import hashes_of_files
from sr_hooks.grid.work.tasks import Task, run_shared
from sr_hooks.grid.workers import Workers
from sr_hooks.images.patch_sets import ImageSource, image_sources
from sr_hooks.networks.network import Network
from sr_hooks.results.cache import key_of
from sr_hooks.results.result import Result

__all__ = ["PartsWorker", "run_in_parts"]

_log = logging.getLogger("sr_hooks")


def run_in_parts(
    name: str,
    network: Any,
    images: Any = None,
    *,
    out: str | Path,
    workers: int = 1,
    executor: Executor | None = None,
    threads: int = 1,
    **options: Any,
) -> Result:
    """Run an analysis in parts (ddr, srga, similarity) with several workers, and continue after a kill.

    Each part is the features of some patches: whole ones or their sketches. A worker claims a part by a file lock,
    computes it, and saves it in the folder `out`. When all parts are there, one worker combines them in a fixed order:
    the arrays of the result are equal bit for bit, for any number of workers. The same call continues work that
    was interrupted, and returns a result that is there already. Several hosts that share the folder may make the same
    call.

    Not for few patches: each worker loads the network and reads the headers of the work anew, which takes seconds.

    Args:
        name: of the analysis.
        network: from `Network.load` or a constructor of its kind, so that workers can load it too; or a network that
            can be pickled.
        images: files, a folder or tensors, as the analysis takes them; for networks over images.
        out: a new or empty folder, or that of earlier work, which all workers see. It may be deleted afterwards. Parts
            take 4 bytes for each value: up to 20,000 patches of the whole features, above of sketches (16 kB a patch).
        workers: processes, with this one; with an executor, how many are submitted.
        executor: where workers run: a `concurrent.futures` executor, one of submitit, or Dask's
            `Client.get_executor()`. Files must have the same paths there.
        threads: of each worker. The number is part of the work's key, since it can change the last bits.
        options: those of the analysis.

    Returns:
        The result of the analysis.

    Raises:
        SRHooksError: the analysis cannot be divided, an option is wrong, a part fails, or the folder has no locks.
    """
    kind = find_analysis(name)
    worker = _worker(kind, Network.of(network), images, options_of(kind, options, where=name), out, threads)
    return _run(worker, workers, executor)


def _worker(kind: Any, network: Network, images: Any, options: Any, out: str | Path, threads: int) -> PartsWorker:
    if network.frames:
        raise OptionError(f"{network.name} takes clips, and parts are made of images: run {kind.name} in one process")
    sources = None if images is None else image_sources(images, bands=network.channels)
    contents = None if sources is None else [[source.sha256, list(source.shape)] for source in sources]
    stated = {"options": options, "files": hashes_of_files(as_plain(options)), "threads": threads}
    key = key_of(f"{kind.name} in parts", network, contents, stated)
    message = network.source if network.source is not None else _pickled(network)
    folder = GridFolder(Path(out).absolute())
    folder.open({"parts": kind.name})
    return PartsWorker(
        kind.name, message, str(network.device), sources, options, folder.path, key, threads, folder.now()
    )


def _run(worker: PartsWorker, workers: int, executor: Executor | None) -> Result:
    folder = GridFolder(worker.out)
    if workers < 1 or worker.threads < 1:
        raise OptionError(f"workers and threads must be at least 1, not {workers} and {worker.threads}")
    if (ready := folder.cache.get(worker.key)) is not None:
        return ready
    folder.log("submitted", "", "workers", workers=workers)
    if executor is None:
        before = torch.get_num_threads()
        try:
            with Workers([worker] * (workers - 1)) as others:
                worker()
                for status in others.wait():
                    _log.warning("a worker ended with status %d; the others did its part", status)
        finally:
            torch.set_num_threads(before)
    elif run_in(executor, worker, workers, computed=worker.computed) is None:
        _log.warning("this process computes what is left")
        worker()
    result = folder.cache.get(worker.key)
    if result is None:
        raise ResultError(folder.failure(worker.key) or f"the parts in {folder.path} have no result: run again")
    return result


def _pickled(network: Network) -> bytes:
    try:
        return pickle.dumps(network)
    except Exception as error:
        raise OptionError(
            f"workers cannot load {network.name}: name it by Network.load(...), since it cannot be pickled ({error})"
        ) from None


@dataclass(frozen=True)
class PartsWorker:
    """One worker, as an executor runs it: it ends when all parts are settled and combined."""

    analysis: str
    network: Mapping[str, Any] | bytes
    device: str
    images: tuple[ImageSource, ...] | None
    options: Any
    out: Path
    key: str
    threads: int
    since: float

    def __call__(self, number: int = 0) -> str:
        """Compute parts until none is left, combine them, and return the key of the result."""
        torch.set_num_threads(self.threads)
        kind, folder, network = find_analysis(self.analysis), GridFolder(self.out), self._network()

        def share(network: Network, images: Any, options: Any) -> Result:
            parts = self._divided(kind, network)
            tasks = [self._task(folder, parts, n, label) for n, label in enumerate(parts.labels)]
            present = sum(task.done() for task in tasks)
            folder.log("planned", "", self.analysis, cells=len(tasks), present=present)
            run_shared(tasks, folder, since=self.since)
            for task in tasks:
                if not task.done():
                    raise ResultError(f"{task.label}: {folder.failure(task.key, self.since) or 'not done'}")
            return Result(self.analysis)

        def combine(network: Network, images: Any, options: Any) -> Result:
            return self._divided(kind, network).combine(lambda number: self._read(folder, number))

        def save() -> None:
            result = execute(kind, network, self.images, self.options, run=combine)
            assert isinstance(result, Result)
            folder.cache.put(self.key, result)

        execute(kind, network, self.images, self.options, run=share)
        last = Task(self.key, f"the result of {self.analysis}", self._is_there(folder, self.key), save)
        run_shared([last], folder, since=self.since)
        folder.log("ended", "", "a worker")
        return self.key

    def checkpoint(self, number: int) -> Any:
        """What submitit queues again when a job is preempted or its time is over: the same worker."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, number)

    def computed(self) -> int:
        """How many parts this run has finished."""
        return sum(line.get("event") == "finished" for line in GridFolder(self.out).journal())

    def _network(self) -> Network:
        if isinstance(self.network, bytes):
            network: Network = pickle.loads(self.network)
            return network
        source = self.network
        network = Network.load(source["model"], source["arguments"], weights=source["weights"], **source["facts"])
        return network.to(self.device)

    def _divided(self, kind: Any, network: Network) -> Parts:
        parts: Parts | None = kind.divided(network, self.images, self.options)
        if parts is None:
            raise OptionError(f"{self.analysis} cannot be divided into parts: run it in one process")
        return parts

    def _task(self, folder: GridFolder, parts: Parts, number: int, label: str) -> Task:
        key = self._key(number)

        def run() -> None:
            folder.remove_partial_files(folder.cache.path(key))
            arrays = {name: np.asarray(values) for name, values in parts.compute(number).items()}
            folder.cache.put(key, Result(f"{self.analysis}-part", arrays))

        return Task(key, f"{self.analysis}, {label}", self._is_there(folder, key), run, cost=float(number == 0))

    @staticmethod
    def _is_there(folder: GridFolder, key: str) -> Callable[[], bool]:
        return (folder.cache.path(key) / "result.json").is_file

    def _read(self, folder: GridFolder, number: int) -> Mapping[str, np.ndarray]:
        part = folder.cache.get(self._key(number))
        if part is None:
            raise ResultError(f"part {number} in {folder.path} is damaged: run again")
        return part.arrays

    def _key(self, number: int) -> str:
        return hashlib.sha256(f"{self.key} {number}".encode()).hexdigest()
