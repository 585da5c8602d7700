"""Further processes of this machine that share a grid's tasks with the one that was started."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import torch

from sr_hooks.grid.plan import Plan

__all__ = ["Crew", "default_device", "default_jobs", "patient", "received"]


class Crew:
    """Worker processes, each given the plan; they end by themselves, or at once when this process ends.

    None of them is needed: what one was at when it died, another claims.
    """

    def __init__(self, plan: Plan, folder: Path, since: float, devices: Sequence[str]) -> None:
        """One worker for each of the devices."""
        command = [sys.executable, "-m", "sr_hooks.grid.worker"]
        self._processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in devices]
        for process, device in zip(self._processes, devices, strict=True):  # by now all of them are starting
            self._send(process, (replace(plan, device=device), folder, since))

    def _send(self, process: subprocess.Popen[bytes], message: tuple[Plan, Path, float]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(pickle.dumps(message))
            process.stdin.flush()  # but it stays open: its end tells the worker that we are gone
        except BrokenPipeError:
            pass  # it died at once, and says why itself

    def wait(self) -> list[int]:
        """Wait for all; the exit statuses that were not 0."""
        return [status for process in self._processes if (status := process.wait())]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: Any) -> None:
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        self.wait()


def received(stream: BinaryIO) -> tuple[Plan, Path, float]:
    """What `Crew` sent to this worker, which from now on ends when the sender does."""
    sent = pickle.load(stream)

    def outlive_nobody() -> None:
        os.read(stream.fileno(), 1)  # not stream.read, whose lock Python wants back when it ends
        os._exit(0)

    threading.Thread(target=outlive_nobody, daemon=True).start()
    return sent


def default_device(number: int | None = None) -> str:
    """cuda where there is one, each process of a machine the next; cpu otherwise."""
    if not torch.cuda.is_available():
        return "cpu"
    local = int(os.environ.get("LOCAL_RANK", 0)) if number is None else number
    return f"cuda:{local % torch.cuda.device_count()}"


def default_jobs(device: str) -> int:
    """As many processes as this one may use CPU cores, or as there are GPUs; one under torchrun, which starts them."""
    if "WORLD_SIZE" in os.environ:
        return 1
    if device.startswith("cuda"):
        return max(torch.cuda.device_count(), 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def patient() -> None:
    """Under torchrun, work on when asked to stop.

    torchrun asks all workers to stop when one has died, and ends them 30 s later. Whatever is finished meanwhile is
    kept, and being ended at any moment does no harm.
    """

    def note(number: int, frame: FrameType | None) -> None:
        print("sr-hooks: another worker has died, or the job ends; working on while it may be", file=sys.stderr)

    if "TORCHELASTIC_RUN_ID" in os.environ and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, note)
