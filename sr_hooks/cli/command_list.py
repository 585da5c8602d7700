"""The list of commands with one line each, made without importing torch: what `sr-hooks --help` prints."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from sr_hooks.core.disk_cache import recall, remember
from sr_hooks.core.entry_points import InstalledPlugin, installed_plugins, is_own
from sr_hooks.version import __version__

__all__ = ["COMMANDS", "OWN_ANALYSES", "Command", "plugin_flags", "summaries"]


class Command(NamedTuple):
    """A command that is no analysis.

    Attributes:
        summary: its line in the list of commands.
        source: the function that adds its arguments to a parser, as "module:function".
    """

    summary: str
    source: str


OWN_ANALYSES = {
    "lam": "Which input pixels does an output patch depend on?",
    "ddr": "Do deep features cluster by degradation, and in which layers?",
    "faig": "Which filters remove which degradation? Between a baseline and the target fine-tuned from it.",
    "faig-verify": "Are FAIG's filters better than chance? Mask them, and others as many, and measure what the network "
    "loses.",
}
"""The analyses of sr_hooks itself: name to the first line of the class's docstring; a test compares the two."""

COMMANDS = {
    "compare": Command(
        "two results, or two checkpoints of one network: what changed, and whether they may be compared",
        "sr_hooks.cli.compare:add_arguments",
    ),
    "grid": Command(
        "networks x images x windows: a paper's figure, its tables and a report, resumable and shared by workers",
        "sr_hooks.cli.grid:add_arguments",
    ),
    "networks": Command(
        "the networks that are verified, and which analyses work on them",
        "sr_hooks.cli.networks:add_networks_arguments",
    ),
    "doctor": Command(
        "load a network, run each analysis on it at a small size, and say what works, what does not and why",
        "sr_hooks.cli.networks:add_doctor_arguments",
    ),
    "train": Command(
        "train with BasicSR, watched as the option file's sr_hooks: block says", "sr_hooks.cli.train:main"
    ),
    "layers": Command(
        "list a network's layers with runs and shapes, as taps name them", "sr_hooks.cli.networks:add_layers_arguments"
    ),
    "plugins": Command(
        "list plugins, what they contribute, and which are disabled", "sr_hooks.cli.plugins:add_plugins_arguments"
    ),
    "new-plugin": Command(
        "write the skeleton of a package with an analysis of your own", "sr_hooks.cli.plugins:add_new_plugin_arguments"
    ),
    "demo": Command(
        "LAM and FAIG of shipped networks on photographs; needs nothing else", "sr_hooks.cli.show:add_demo_arguments"
    ),
    "explore": Command(
        "a page on this machine: click or drag a window of the output, and see the LAM of each network",
        "sr_hooks.cli.show:add_explore_arguments",
    ),
    "completion": Command(
        "print the script that lets bash, zsh or fish complete commands, flags and files",
        "sr_hooks.cli.terminal.completion:add_completion_arguments",
    ),
    "show": Command(
        "print a saved result or a watched run, or animate the run", "sr_hooks.cli.show:add_show_arguments"
    ),
}


def summaries() -> dict[str, str]:
    """Every command with its one line: our analyses, those of plugins, and the other commands."""
    return {**OWN_ANALYSES, **_plugin_summaries(), **{name: command.summary for name, command in COMMANDS.items()}}


def _plugin_summaries() -> dict[str, str]:
    """The analyses of plugins with the first lines of their docstrings."""
    return _of_plugins("commands", lambda analysis: analysis.summary)


def plugin_flags(name: str) -> list[str]:
    """The flags of a plugin's analysis; none where there is no such analysis."""
    return _of_plugins("flags", lambda analysis: " ".join(analysis.flags)).get(name, "").split()


def _of_plugins(what: str, line_of: Callable[[Any], str]) -> dict[str, str]:
    """One line for each analysis of a plugin. Plugins are imported (and torch with them) only after a change.

    The lines are kept in the cache folder, under a key of all that they depend on. They never run a command.
    Lines with an error of a plugin are not kept, so that the error is shown each time.
    """
    plugins = [plugin for plugin in installed_plugins() if not is_own(plugin.distribution)]
    if not plugins:
        return {}
    key = f"{what}-{_fingerprint(plugins)}"
    stored = recall(key)
    if stored is not None and _are_lines(stored):
        return stored
    from sr_hooks.cli.analysis import listed_analyses
    from sr_hooks.core.registry import registry

    lines = {analysis.name: line_of(analysis) for analysis in listed_analyses() if analysis.name not in OWN_ANALYSES}
    if not registry().faults:
        remember(key, lines, is_sound=_are_lines)
    return lines


def _are_lines(summaries: Mapping[str, object]) -> bool:
    return all(isinstance(summary, str) for summary in summaries.values())


def _fingerprint(plugins: Sequence[InstalledPlugin]) -> str:
    """Versions, the plugins' source files with size and time, and the names of all installed distributions."""
    facts: list[object] = [__version__, sys.version, sys.prefix]
    for distribution, version, point in plugins:
        facts += [distribution, version, point.name, point.value]
        for file in _sources(point.module.split(".")[0]):
            state = file.stat()
            facts += [str(file), state.st_size, state.st_mtime_ns]
    for folder in map(Path, sys.path):
        if folder.is_dir():
            facts += sorted(path.name for path in folder.iterdir() if path.suffix in (".dist-info", ".egg-info"))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _sources(package: str) -> Iterator[Path]:
    """The Python files of an installed module or package, which is not imported."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return
    if spec is not None and spec.submodule_search_locations:
        for folder in spec.submodule_search_locations:
            yield from sorted(Path(folder).rglob("*.py"))
    elif spec is not None and spec.origin and Path(spec.origin).is_file():
        yield Path(spec.origin)
