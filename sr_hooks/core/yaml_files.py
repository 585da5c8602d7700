"""Read YAML or TOML from a file, YAML from a flag or from one token, with one set of error messages."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from sr_hooks.core.text import one_line
from sr_hooks.errors import OptionError, SRHooksError
from sr_hooks.files.regular_files import read_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["parse_yaml", "read_options", "read_yaml", "to_yaml", "value_or_text"]

_LARGEST = 2**24  # bytes of a file
_DEEPEST = 60  # levels of lists and mappings in each other
_MOST = 200_000  # values, with those of an alias counted at each of its uses


def read_yaml(path: str | Path, *, name: str = "", error: type[SRHooksError] = OptionError) -> Any:
    """The content of a YAML file.

    Args:
        path: the file.
        name: what messages call the file, e.g. "the grid file".
        error: the class of the error that is raised.

    Raises:
        SRHooksError: the file cannot be read, or holds no sound YAML.
    """
    try:
        return _load(read_bytes(path, largest=_LARGEST).decode())
    except OSError as problem:
        raise error(f"cannot read {f'{name} {path}'.strip()}: {problem.strerror or problem}") from None
    except _UnsoundYaml as problem:
        raise error(f"{path} is not a sound YAML file: {problem}") from None
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not a sound YAML file: {str(problem).splitlines()[0]}") from None


def read_options(path: str | Path, *, name: str = "", error: type[SRHooksError] = OptionError) -> Any:
    """The content of an option file: TOML where the file ends in .toml, else YAML. Arguments as of `read_yaml`."""
    if Path(path).suffix.lower() != ".toml":
        return read_yaml(path, name=name, error=error)
    try:
        return tomllib.loads(read_bytes(path, largest=_LARGEST).decode())
    except OSError as problem:
        raise error(f"cannot read {f'{name} {path}'.strip()}: {problem.strerror or problem}") from None
    except (ValueError, RecursionError) as problem:
        raise error(f"{path} is not a sound TOML file: {one_line(str(problem))}") from None


def parse_yaml(text: str, *, name: str) -> Any:
    """The value of a YAML text; `name` is what messages call the text, e.g. "--arguments".

    Raises:
        OptionError: the text is no sound YAML.
    """
    try:
        return _load(text)
    except _UnsoundYaml as problem:
        raise OptionError(f"{name} is not sound YAML: {problem}") from None


def to_yaml(value: Any) -> str:
    """The text of a value of plain mappings, lists, texts and numbers, in their order; `parse_yaml` reads it back."""
    text: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=None, allow_unicode=True)
    return text


def value_or_text(text: str) -> Any:
    """The value of a YAML text, or the text itself where it is no sound YAML."""
    try:
        return _load(text)
    except _UnsoundYaml:
        return text


class _UnsoundYaml(Exception):
    """What is wrong with a YAML text, in one line."""


class _Loader(yaml.SafeLoader):
    """Refuses keys that stand twice in a mapping, and what is nested too deeply."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _UnsoundYaml(f"more than {_DEEPEST} levels are nested in each other")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MOST:
            raise _UnsoundYaml(f"its merges stand for more than {_MOST} values")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in keys and not getattr(node, "checked", False):
                line = key.start_mark.line + 1
                raise _UnsoundYaml(f"the key {one_line(key.value)!r} stands twice in one mapping, again in line {line}")
            if name is not None:
                keys.add(name)
        node.checked = True  # type: ignore[attr-defined]  # a merge (<<) adds keys to the node that stand twice
        return super().construct_mapping(node, deep)


def _load(text: str) -> Any:
    """The value of a YAML text, of a size and depth that messages and later code can bear."""
    try:
        value = yaml.load(text, _Loader)  # a SafeLoader
        _check_size(value)
    except yaml.MarkedYAMLError as problem:
        line = f" in line {problem.problem_mark.line + 1}" if problem.problem_mark else ""
        raise _UnsoundYaml(one_line(f"{problem.context or ''} {problem.problem}{line}", 300)) from None
    except RecursionError:
        raise _UnsoundYaml("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as problem:
        # PyYAML lets errors of Python pass: of a date that there is not, of "0b_", of 5,000 digits
        text = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise _UnsoundYaml(one_line(text, 300)) from None
    return value


def _check_size(value: Any) -> None:
    """Refuse aliases that refer to themselves, or that stand for more values than anybody writes."""
    sizes: dict[int, int] = {}
    open_values: set[int] = set()

    def size(part: Any) -> int:
        if not isinstance(part, (dict, list, tuple, set)):
            return 1 + (len(part) // 1000 if isinstance(part, str) else 0)
        if id(part) in open_values:
            raise _UnsoundYaml("an alias refers to a value that it is a part of")
        if id(part) not in sizes:
            open_values.add(id(part))
            parts = [*part, *part.values()] if isinstance(part, dict) else part
            sizes[id(part)] = 1 + sum(map(size, parts))
            open_values.discard(id(part))
            if sizes[id(part)] > _MOST:
                raise _UnsoundYaml(f"its aliases stand for more than {_MOST} values")
        return sizes[id(part)]

    size(value)
