"""Find cells that two processes worked on at once: their locks did not hold, as on a mount whose locks are local."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["overlapping_claims"]


def overlapping_claims(journal: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The key of each task that one process began and ended while another one worked on it, and the names of both.

    The order of lines in the journal decides, not their times. A process that died left no line about an end, so a task
    that another process took over is not in the answer. Neither is one that was taken over from a stopped process.

    Returns:
        key to the names of two hosts; or of two processes, if they ran on one host.
    """
    working: dict[str, list[tuple[str, int]]] = {}
    joined: dict[tuple[str, tuple[str, int]], list[tuple[str, int]]] = {}
    overlaps: dict[str, tuple[str, ...]] = {}
    for line in journal:
        key, event = str(line.get("key", "")), line.get("event")
        process = (str(line.get("host", "")), int(line.get("pid", 0)))
        if event == "taken over":  # from a process that stands still
            working.pop(key, None)
        elif event == "begun":
            others = [other for other in working.get(key, []) if other != process]
            for other in others:
                joined.setdefault((key, other), []).append(process)
            working[key] = [*others, process]
        elif event in ("finished", "failed"):
            working[key] = [other for other in working.get(key, []) if other != process]
            for other in joined.pop((key, process), []):
                overlaps[key] = _names(process, other)
    return overlaps


def _names(one: tuple[str, int], other: tuple[str, int]) -> tuple[str, ...]:
    if one[0] != other[0]:
        return tuple(sorted((one[0], other[0])))
    return tuple(f"process {pid} of {host}" for host, pid in sorted((one, other)))
