"""How much memory a device has left."""

from __future__ import annotations

import os
from pathlib import Path

import torch

__all__ = ["as_text", "available_memory", "in_words"]

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def available_memory(device: torch.device) -> int | None:
    """Bytes that a tensor on the device may still take; None where neither torch nor the system tells.

    On CUDA: what the driver has left and what torch holds unused, within the process's share of the card
    (`torch.cuda.set_per_process_memory_fraction`). On the CPU: what the system calls available, within the limit of the
    container.
    """
    if device.type == "cuda":
        return _of_cuda(device)
    if device.type == "mps":
        return max(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory(), 0)
    return _of_system() if device.type == "cpu" else None


def _of_cuda(device: torch.device) -> int:
    free, total = torch.cuda.mem_get_info(device)
    allocated = torch.cuda.memory_allocated(device)
    free += torch.cuda.memory_reserved(device) - allocated
    share = getattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 1.0)(device)
    return max(min(free, int(share * total) - allocated), 0)


def _of_system() -> int | None:
    limits = [value for value in (_of_meminfo(), _of_container()) if value is not None]
    return min(limits, default=None)


def _of_meminfo() -> int | None:
    try:
        for line in _MEMINFO.read_text(encoding="ascii", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):  # another system than Linux
        return None


def _of_container() -> int | None:
    """What the limit of a container (cgroup 2) leaves; files that the system may drop count as free."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((_CGROUP / "memory.current").read_text())
        statistics = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return max(int(limit) - used + int(statistics.get("inactive_file", 0)), 0)
    except (OSError, ValueError):
        return None


def in_words(device: torch.device) -> str:
    """The device, its memory and what is left, for messages."""
    left = available_memory(device)
    free = "" if left is None else f", {as_text(left)} free"
    if device.type != "cuda":
        return f"{device}{free and f' ({free[2:]})'}"
    total = torch.cuda.get_device_properties(device).total_memory
    return f"{device} ({torch.cuda.get_device_name(device)}, {as_text(total)}{free})"


def as_text(count: float) -> str:
    """Bytes in the largest unit of which there is one: "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"
