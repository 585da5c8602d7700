"""Time, kernels' share and memory of a call, on a card or on the CPU."""

from __future__ import annotations

import gc
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """Wall-clock seconds of one call, all of its work on the device included; the median."""
    times = []
    for _ in range(repeats):
        synchronize(device)
        begin = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def device_seconds(call: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Seconds between two events on the device's stream around a call; wall-clock on the CPU."""
    if device.type != "cuda":
        return seconds(call, device, repeats)
    times = []
    for _ in range(repeats):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        first.record()
        call()
        last.record()
        torch.cuda.synchronize(device)
        times.append(first.elapsed_time(last) / 1000)
    return statistics.median(times)


def kernels_share(call: Callable[[], object], device: torch.device) -> float | None:
    """Seconds that kernels ran, over wall-clock seconds of the same call without a profiler.

    None on the CPU, and where the profiler sees no kernels (a machine without CUPTI).
    """
    if device.type != "cuda":
        return None
    wall = seconds(call, device, 1)
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            call()
            torch.cuda.synchronize(device)
        events = profile.key_averages()
    except RuntimeError:
        return None
    name = (
        "self_device_time_total"
        if hasattr(next(iter(events), None), "self_device_time_total")
        else "self_cuda_time_total"
    )
    return sum(getattr(event, name, 0.0) for event in events) / 1e6 / wall or None


def seconds_and_peak(call: Callable[[], object], device: torch.device) -> tuple[float, float | None]:
    """Wall-clock seconds of one call, and the MiB of `peak_mib`; the memory is looked at outside of the time."""
    times: list[float] = []
    peak = peak_mib(lambda: times.append(seconds(call, device, 1)), device)
    return times[0], peak


def peak_mib(call: Callable[[], object], device: torch.device) -> float | None:
    """MiB that a call holds on the card at most, above what was there before; None on the CPU."""
    if device.type != "cuda":
        call()
        return None
    gc.collect()
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def surroundings(device: torch.device) -> dict[str, Any]:
    """The card and the versions."""
    import sr_hooks

    facts: dict[str, Any] = {"device": str(device), "card": "CPU, one thread"}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {"card": properties.name, "memory GiB": round(properties.total_memory / 2**30, 1)}
        facts |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return facts | {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "sr_hooks": sr_hooks.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
