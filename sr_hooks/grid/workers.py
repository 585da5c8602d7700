"""Start further worker processes on this machine, and choose how many there are and on which device each runs."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, BinaryIO

import torch

__all__ = ["Workers", "default_device", "default_jobs", "receive_call", "work_on_when_terminated"]

_GRACE = 60.0  # seconds that workers have to end


class Workers:
    """Worker processes that share the plan's tasks. They end when all tasks are settled, or when this process ends.

    A worker that dies does no harm: another worker claims its task.
    """

    def __init__(self, calls: Sequence[Callable[[], object]]) -> None:
        """Start one worker for each call, which must be picklable."""
        command = [sys.executable, "-m", "sr_hooks.grid.worker"]
        self._processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in calls]
        for process, call in zip(self._processes, calls, strict=True):  # all processes are starting by now
            self._send(process, pickle.dumps(call))

    def _send(self, process: subprocess.Popen[bytes], message: bytes) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(message)
            process.stdin.flush()  # the stream stays open: its end tells the worker that this process has ended
        except BrokenPipeError:
            pass  # the worker died at once, and prints the reason itself

    def wait(self) -> list[int]:
        """Wait for all workers, once all tasks are settled; return the exit statuses other than 0.

        A worker that stands still, stopped or stuck in a driver, is killed: nothing is left for it to do.
        """
        end = time.monotonic() + _GRACE
        for process in self._processes:
            try:
                process.wait(max(end - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                process.kill()
        return [status for process in self._processes if (status := process.wait())]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: Any) -> None:
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        self.wait()


def receive_call(stream: BinaryIO) -> Callable[[], object]:
    """Read the call that `Workers` sent. From now on this process ends when the sender ends."""
    call: Callable[[], object] = pickle.load(stream)

    def exit_with_parent() -> None:
        os.read(stream.fileno(), 1)  # not stream.read: Python waits for that lock at exit
        os._exit(0)

    threading.Thread(target=exit_with_parent, daemon=True).start()
    return call


def default_device(number: int | None = None) -> str:
    """A GPU if there is one (process number N of a machine takes GPU number N), else the CPU."""
    if not torch.cuda.is_available():
        return "cpu"
    local = int(os.environ.get("LOCAL_RANK", 0)) if number is None else number
    return f"cuda:{local % torch.cuda.device_count()}"


def default_jobs(device: str) -> int:
    """One process for each GPU or each CPU core; one under torchrun, which starts the processes itself."""
    if "WORLD_SIZE" in os.environ:
        return 1
    if device.startswith("cuda"):
        return max(torch.cuda.device_count(), 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work_on_when_terminated() -> None:
    """Under torchrun, continue after SIGTERM.

    When one worker has died, torchrun sends SIGTERM to all others and kills them 30 s later. Cells that are finished in
    these 30 s are kept. Being killed at any moment does no harm.
    """

    def log_termination(number: int, frame: FrameType | None) -> None:
        print("sr-hooks: another worker has died, or the job ends; working on while it may be", file=sys.stderr)

    if "TORCHELASTIC_RUN_ID" in os.environ and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, log_termination)
