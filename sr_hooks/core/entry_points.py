"""Which plugins are installed: the entry points of the group `sr_hooks`, without importing any of them."""

from __future__ import annotations

from importlib import metadata
from typing import NamedTuple

__all__ = ["GROUP", "InstalledPlugin", "installed_plugins", "is_own"]

GROUP = "sr_hooks"


class InstalledPlugin(NamedTuple):
    """An entry point with the distribution that has it."""

    distribution: str
    version: str
    entry_point: metadata.EntryPoint


def installed_plugins() -> list[InstalledPlugin]:
    """Every entry point of the group once: those of sr_hooks first, then by distribution and name."""
    plugins = [
        InstalledPlugin(distribution.metadata["Name"] or "?", distribution.version, point)
        for distribution in metadata.distributions()
        for point in distribution.entry_points
        if point.group == GROUP
    ]
    plugins.sort(key=lambda p: (not is_own(p.distribution), _normalised(p.distribution), p.entry_point.name))
    unique: dict[tuple[str, str], InstalledPlugin] = {}
    for plugin in plugins:  # a distribution can stand twice on sys.path; the first one counts
        unique.setdefault((_normalised(plugin.distribution), plugin.entry_point.name), plugin)
    return list(unique.values())


def is_own(distribution: str) -> bool:
    """Whether this is the name of sr_hooks' own distribution."""
    return _normalised(distribution) == "sr-hooks"


def _normalised(distribution: str) -> str:
    return distribution.lower().replace("_", "-")
