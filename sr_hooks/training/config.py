"""The `sr_hooks:` block of an option file, or the same in Python keywords: read, merged, and checked key by key."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sr_hooks.analyses.base import Analysis, blamed, options_of
from sr_hooks.core import registry as plugins
from sr_hooks.core.options import check_value, from_mapping
from sr_hooks.core.yaml_files import read_options
from sr_hooks.errors import OptionError, SRHooksError, nearest
from sr_hooks.figures.options import FigureOptions, read_figure_options
from sr_hooks.results.drawing import refuse_options, taken_by
from sr_hooks.training.schedule import Schedule

__all__ = [
    "BLOCK",
    "DEFAULT_SINKS",
    "AnalysisPlan",
    "WatchPlan",
    "block_file_beside",
    "located",
    "merge",
    "network_part",
    "option_file",
    "parse_block",
    "read_block",
    "setting",
]

BLOCK = "sr_hooks"
FIGURE = "figure"
DEFAULT_SINKS = ("folder", "tensorboard", "log")
_RUN_KEYS = ("sinks", "seed", FIGURE)
_FACTS = ("scale", "input_range", "mean", "std", "bgr", "multiple", "channels", "output", "name")
_WEIGHTS = ("ema", "raw")


@dataclass(frozen=True)
class AnalysisPlan:
    """One analysis of a block: its class, own options, schedule, what messages call the block, and figure options."""

    kind: type[Analysis[Any]]
    options: Any
    schedule: Schedule
    where: str
    figure: FigureOptions = field(default_factory=FigureOptions)


@dataclass(frozen=True)
class WatchPlan:
    """All that a block asks for: the analyses, the sinks and the seed of a run."""

    analyses: tuple[AnalysisPlan, ...] = ()
    sinks: tuple[str, ...] = DEFAULT_SINKS
    seed: int | None = None
    base: Path = field(default_factory=Path)
    where: str = BLOCK

    @property
    def draws(self) -> bool:
        """Whether a sink draws figures; the log draws none."""
        return bool({*self.sinks} - {"log"})


def read_block(path: str | Path) -> dict[str, Any]:
    """The `sr_hooks:` block of a YAML or TOML file, or the whole file where it has no such key.

    Raises:
        OptionError: no such file, no sound YAML or TOML, or no mapping.
    """
    content = read_options(path)
    if isinstance(content, Mapping) and BLOCK in content:
        content = content[BLOCK]
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise OptionError(f"{path}: {BLOCK} must be a mapping of analyses to their options, not {content!r}")
    return dict(content)


def block_file_beside(file: Path | None) -> Path | None:
    """The file `sr_hooks.yml` in the folder of an option file, for hosts that refuse a block of ours in theirs."""
    beside = file.with_name(f"{BLOCK}.yml") if file is not None else None
    return beside if beside is not None and beside != file and beside.is_file() else None


def setting(options: Any, *names: str) -> Any:
    """What a host's options hold under these names, one inside the other; None where they hold nothing.

    The options of a host are mappings, or structs with attributes.
    """
    for name in names:
        options = options.get(name) if isinstance(options, Mapping) else getattr(options, name, None)
    return options


def option_file(arguments: Sequence[str] | None = None) -> Path | None:
    """The file that BasicSR's `-opt` flag names among the process's arguments."""
    arguments = sys.argv if arguments is None else arguments
    for index, text in enumerate(arguments):
        for flag in ("-opt", "--opt"):
            if text == flag and index + 1 < len(arguments):
                return Path(arguments[index + 1])
            if text.startswith(flag + "="):
                return Path(text.split("=", 1)[1])
    return None


def merge(*blocks: Mapping[str, Any] | None) -> dict[str, Any]:
    """Blocks on top of each other: a later one wins, key by key inside an analysis."""
    merged: dict[str, Any] = {}
    for block in blocks:
        for key, value in (block or {}).items():
            before = merged.get(key)
            both = isinstance(before, Mapping) and isinstance(value, Mapping)
            merged[key] = {**before, **value} if both else value  # type: ignore[dict-item]
    return merged


def network_part(
    block: Mapping[str, Any], *, where: str, default: str | None
) -> tuple[dict[str, Any], str | None, dict[str, Any]]:
    """For hosts whose model has parts: the block without `network` as a part's path and `facts`, the path, the facts.

    "ema" and "raw" as `network` stay in the block: they say which weights to look at.

    Raises:
        OptionError: a path that is no text, or an unknown fact, with the nearest known.
    """
    block, path = dict(block), default
    if "network" in block and block["network"] not in _WEIGHTS:
        path = block.pop("network")
        if not isinstance(path, str) or not path:
            raise OptionError(f"{where}: network is {path!r}: ema, raw, or a part of the model, path.to.submodule")
    facts = block.pop("facts", None) or {}
    if not isinstance(facts, Mapping):
        raise OptionError(f"{where}: facts is {facts!r}: a mapping, e.g. dict(input_range=1, bgr=True)")
    for key in facts:
        if key not in _FACTS:
            raise OptionError(f"{where}: facts: unknown key {key!r}; {nearest(str(key), _FACTS)}")
    return block, path, dict(facts)


def parse_block(block: Any, *, where: str = BLOCK, base: Path | None = None) -> WatchPlan:
    """Check a whole block.

    Args:
        block: analysis to its options; at the top also schedule keys and `figure` (defaults of all analyses), `sinks`
            and `seed`.
        where: what messages call the block, with its file.
        base: folder for relative paths.

    Raises:
        OptionError: an unknown analysis or key, with the nearest known; a value of the wrong kind.
    """
    if block is None:
        block = {}
    if not isinstance(block, Mapping):
        raise OptionError(f"{where} must map analyses to their options, e.g. lam: {{every: 5000}}, not be {block!r}")
    known = plugins.contributions("register_analyses")
    shared = {f.name for f in dataclasses.fields(Schedule)}
    for key in block:
        if key not in known and key not in shared and key not in _RUN_KEYS:
            others = [*known, *shared, *_RUN_KEYS]
            raise OptionError(f"{where}: no analysis or key {key!r}; {nearest(str(key), others)}")
    defaults = {key: value for key, value in block.items() if key in shared or key == FIGURE}
    analyses = [
        _analysis_plan(known[key], value, defaults, f"{where}: {key}")  # type: ignore[arg-type]
        for key, value in block.items()
        if key in known and value is not False
    ]
    return WatchPlan(
        tuple(analyses), _sinks(block.get("sinks"), where), _seed(block.get("seed"), where), base or Path(), where
    )


def _analysis_plan(kind: type[Analysis[Any]], value: Any, defaults: Mapping[str, Any], where: str) -> AnalysisPlan:
    if value is None or value is True:
        value = {}
    if not isinstance(value, Mapping):
        raise OptionError(f"{where} must be a mapping of options, e.g. {{every: 5000}}, not {value!r}")
    shared = {f.name for f in dataclasses.fields(Schedule)}
    options_type = kind.watch_options_type or kind.options_type
    with blamed(kind, "options"):
        own = {f.name for f in dataclasses.fields(options_type)} - shared
    figure = read_figure_options(defaults.get(FIGURE), where=f"{where.rpartition(':')[0]}: {FIGURE}")
    options_by_name: dict[str, Any] = {}
    schedule = {key: setting for key, setting in defaults.items() if key != FIGURE}
    for key, setting in value.items():
        if key in shared:
            _refuse_bool(key, setting, where)
            other = {"image": "images", "images": "image"}.get(key)
            if other is not None and other not in value:
                schedule.pop(other, None)  # a default under the key's other name
            schedule[key] = setting
            continue
        if key == FIGURE and FIGURE not in own:
            own_figure = read_figure_options(setting, where=f"{where}: {FIGURE}")
            with located(where):
                refuse_options(kind.name, taken_by(kind), own_figure)
            figure = own_figure.over(figure)
            continue
        name = kind.watch_names.get(key, key)
        if name not in own:
            raise OptionError(f"{where}: unknown key {key!r}; {nearest(str(key), [*own, *kind.watch_names, *shared])}")
        if name in options_by_name:
            raise OptionError(f"{where}: {key} and {name} are the same key: give one of them")
        options_by_name[name] = setting
    with located(where):
        options = options_of(kind, options_by_name, where=where, options_type=options_type)
        return AnalysisPlan(kind, options, from_mapping(Schedule, schedule, where=where), where, figure)


def _refuse_bool(key: str, value: Any, where: str) -> None:
    """Refuse true and false where a number is meant: Python takes true for 1."""
    if key in ("every", "at", "limit") and isinstance(value, bool):
        raise OptionError(f"{where}: {key} is {value!r}: it must be a number")


def _sinks(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return DEFAULT_SINKS
    names = [value] if isinstance(value, str) else value
    known = plugins.contributions("register_sinks")
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise OptionError(f"{where}: sinks is {value!r}: give names, e.g. [folder, log]")
    for name in names:
        if name not in known:
            raise OptionError(f"{where}: no sink {name!r}; {nearest(name, known)}")
    return tuple(names)


def _seed(value: Any, where: str) -> int | None:
    return cast("int | None", check_value("seed", value, int | None, where=where, at_least=0))


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put the name of the block into errors that are raised inside."""
    try:
        yield
    except SRHooksError as error:
        if where in str(error):
            raise
        raise type(error)(f"{where}: {error}") from error
