"""An analysis's options dataclass as command-line flags and as a block of YAML: one schema, one set of messages."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic

from sr_hooks.core.yaml_files import value_or_text
from sr_hooks.errors import OptionError, nearest

__all__ = ["add_flags", "as_plain", "from_flags", "from_mapping", "option"]

T = TypeVar("T")


def option(default: Any = dataclasses.MISSING, help: str = "", *, example: str | None = None, flag: bool = True) -> Any:
    """A field of an options dataclass with its documentation. `flag=False`: from Python only."""
    facts = {"help": help, "example": example, "flag": flag}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=facts)
    return dataclasses.field(default=default, metadata=facts)


def from_mapping(options_type: type[T], given: Mapping[str, Any], *, where: str = "options") -> T:
    """An options dataclass from names and values, strings coerced ("1e-4", "-1"); `where` names their source.

    Raises:
        OptionError: an unknown name (with the nearest), a missing one, or a value of the wrong kind.
    """
    fields = {f.name: f for f in dataclasses.fields(options_type)}  # type: ignore[arg-type]
    for name in given:
        if name not in fields:
            raise OptionError(f"{where}: unknown option {name!r}; {nearest(str(name), fields)}")
    hints = typing.get_type_hints(options_type)
    checked = {name: _check(name, value, hints[name], where) for name, value in given.items()}
    missing = [
        n
        for n, f in fields.items()
        if n not in checked and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        example = fields[missing[0]].metadata.get("example")
        raise OptionError(f"{where}: {missing[0]} must be given" + (f", for instance {example}" if example else ""))
    try:
        return options_type(**checked)
    except (ValueError, TypeError) as error:
        raise OptionError(f"{where}: {error}") from None


def _check(name: str, value: Any, hint: Any, where: str) -> Any:
    adapter = pydantic.TypeAdapter(hint, config=pydantic.ConfigDict(arbitrary_types_allowed=True))
    try:
        return adapter.validate_python(value)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ").removeprefix("Input ")
        choices = [
            c
            for h in (hint, *typing.get_args(hint))
            if typing.get_origin(h) is typing.Literal
            for c in typing.get_args(h)
        ]
        if choices:
            problem = f"must be {', '.join(map(str, choices))}"
        raise OptionError(f"{where}: {name} is {value!r}: {problem}") from None


def add_flags(parser: argparse.ArgumentParser, options_type: type) -> None:
    """One flag a field, with its documentation and default."""
    group = parser.add_argument_group("options of the analysis")
    hints = typing.get_type_hints(options_type)
    for field in dataclasses.fields(options_type):
        if not field.metadata.get("flag", True):
            continue
        text = (field.metadata.get("help") or "").replace("%", "%%")
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if not required and field.default not in (None, dataclasses.MISSING):
            text += f" (default: {field.default})"
        name = "--" + field.name.replace("_", "-")
        if hints[field.name] is bool:
            group.add_argument(
                name, dest=f"option_{field.name}", action=argparse.BooleanOptionalAction, default=None, help=text
            )
        else:
            group.add_argument(
                name,
                dest=f"option_{field.name}",
                nargs="+",
                required=required,
                default=None,
                metavar=field.metavar if hasattr(field, "metavar") else field.name.upper(),
                help=text,
            )


def from_flags(options_type: type[T], arguments: argparse.Namespace) -> T:
    """The options that `add_flags`'s flags were given."""
    hints = typing.get_type_hints(options_type)
    given: dict[str, Any] = {}
    for field in dataclasses.fields(options_type):  # type: ignore[arg-type]
        value = getattr(arguments, f"option_{field.name}", None)
        if value is None:
            continue
        if isinstance(value, list):
            value = [_token(token) for token in value]
            if len(value) == 1 and not _takes_many(hints[field.name]):
                value = value[0]
        given[field.name] = value
    try:
        return from_mapping(options_type, given, where="command line")
    except OptionError as error:
        raise OptionError(str(error).replace("command line: ", "", 1)) from None


def _takes_many(hint: Any) -> bool:
    kinds = [typing.get_origin(h) or h for h in (hint, *typing.get_args(hint))]
    return any(kind in (tuple, list) for kind in kinds) and str not in kinds


def _token(token: str) -> Any:
    """Numbers as numbers, the rest as the text it is."""
    value = value_or_text(token)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else token


def as_plain(value: Any) -> Any:
    """Options and other values as JSON can hold them; functions by name, tensors by shape."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): as_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "shape"):
        return f"tensor of shape {tuple(value.shape)}"
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return str(value)
