"""Networks that plugins load, and what is recorded so that a network can be loaded again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sr_hooks.core import registry as plugins
from sr_hooks.core.options import as_plain
from sr_hooks.networks.loading.loaders import Arguments

__all__ = ["from_plugins", "source_of"]


def from_plugins(
    spec: str, arguments: Arguments | None, *, weights: str | Path | None, facts: Mapping[str, Any]
) -> Any:
    """The network that the first plugin's loader makes of `spec`; None where `spec` is for none of them.

    Raises:
        PluginError: a loader of a plugin failed.
    """
    for name, loader in plugins.contributions("register_network_loaders").items():
        with plugins.blamed("register_network_loaders", name, f"network loader {name}, {spec}"):
            network = loader(spec, arguments, weights=weights, **facts)
        if network is not None:
            return network
    return None


def source_of(
    spec: str, arguments: Arguments | None, *, weights: str | Path | None, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What `Network.load` was asked for, so that the network can be loaded again."""
    return {
        "model": _absolute(spec),
        "arguments": as_plain(arguments),
        "weights": None if weights is None else _absolute(weights),
        "facts": as_plain(facts),
    }


def _absolute(spec: str | Path) -> str:
    """A file or a saved folder by its full path, also that of `path/to/file.py:Class`; a name as it is."""
    if (Path(spec) / "config.json").is_file():
        return str(Path(spec).resolve())
    between = ":" if ".py:" in str(spec) else "::"
    file, colon, name = str(spec).partition(between) if between in str(spec) else (str(spec), "", "")
    return f"{Path(file).resolve()}{colon}{name}" if Path(file).is_file() else str(spec)
