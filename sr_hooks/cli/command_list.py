"""The list of commands with one line each, made without importing torch: what `sr-hooks --help` prints."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from sr_hooks.cli.terminal.values import OWN_NAMES
from sr_hooks.core.disk_cache import recall, remember
from sr_hooks.core.entry_points import InstalledPlugin, installed_plugins, is_own
from sr_hooks.files.regular_files import read_bytes
from sr_hooks.files.strict_json import from_json
from sr_hooks.version import __version__

__all__ = ["COMMANDS", "OWN_ANALYSES", "Command", "plugin_flags", "plugin_names", "plugin_words", "summaries"]


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
    of_plugins = {name: line for name, line in _plugin_summaries().items() if name not in COMMANDS}
    return {**OWN_ANALYSES, **of_plugins, **{name: command.summary for name, command in COMMANDS.items()}}


def _plugin_summaries() -> dict[str, str]:
    """The analyses of plugins with the first lines of their docstrings."""
    return _of_plugins("commands", _lines_of(lambda analysis: analysis.summary))


def plugin_flags(name: str) -> list[str]:
    """The flags of a plugin's analysis; none where there is no such analysis."""
    return _of_plugins("flags", _lines_of(lambda analysis: " ".join(analysis.flags))).get(name, "").split()


def plugin_words(name: str) -> dict[str, list[str]]:
    """The words that may stand behind the flags of a plugin's analysis: flag to words."""
    lines = _of_plugins("words", _lines_of(lambda analysis: json.dumps(analysis.words)))
    words = from_json(lines.get(name, "{}"))
    return words if isinstance(words, dict) else {}


def plugin_names(what: str) -> list[str]:
    """What plugins register as "objectives", "paths" or "degradations"."""
    return [name.partition("/")[2] for name in _of_plugins("names", _names) if name.startswith(f"{what}/")]


def _lines_of(line_of: Callable[[Any], str]) -> Callable[[], dict[str, str]]:
    def lines() -> dict[str, str]:
        from sr_hooks.cli.analysis import listed_analyses

        return {analysis.name: line_of(analysis) for analysis in listed_analyses() if analysis.name not in OWN_ANALYSES}

    return lines


def _names() -> dict[str, str]:
    """What plugins add to objectives, paths and degradations, as "objectives/name"; the lines are empty."""
    from sr_hooks.core.registry import registry

    return {
        f"{what}/{name}": ""
        for what, own in OWN_NAMES.items()
        for name in registry().contributions(f"register_{what}")
        if name not in own and f"{name}:" not in own
    }


def _of_plugins(what: str, make: Callable[[], dict[str, str]]) -> dict[str, str]:
    """One line for each name that plugins add. Plugins are imported (and torch with them) only after a change.

    The lines are kept in the cache folder, under a key of all that they depend on. They never run a command.
    Anybody may write a file there: lines with a name that no plugin's source holds are made again.
    Lines with an error of a plugin are not kept, so that the error is shown each time.
    """
    plugins = [plugin for plugin in installed_plugins() if not is_own(plugin.distribution)]
    if not plugins:
        return {}
    key = f"{what}-{_fingerprint(plugins)}"
    stored = recall(key)
    if stored is not None and _are_lines(stored) and _are_written(stored, plugins):
        return stored
    from sr_hooks.core.registry import registry

    lines = make()
    if not registry().faults:
        remember(key, lines, is_sound=_are_lines)
    return lines


def _are_lines(summaries: Mapping[str, object]) -> bool:
    return all(isinstance(summary, str) for summary in summaries.values())


def _are_written(names: Mapping[str, object], plugins: Sequence[InstalledPlugin]) -> bool:
    """Whether each name stands in a source file of a plugin."""
    missing = {name.rpartition("/")[2] for name in names}
    for plugin in plugins:
        for file in _sources(plugin.entry_point.module.split(".")[0]):
            text = read_bytes(file, largest=10_000_000).decode(errors="replace") if missing else ""
            missing = {name for name in missing if name not in text}
    return not missing


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
