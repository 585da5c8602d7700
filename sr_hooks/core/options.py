"""One dataclass of options as Python keywords, command-line flags and a block of YAML, with one set of messages."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
import math
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from sr_hooks.core.text import value_text
from sr_hooks.core.yaml_files import value_or_text
from sr_hooks.errors import OptionError, nearest, shortened

__all__ = ["add_flags", "as_plain", "check_value", "from_flags", "from_mapping", "option", "with_options"]

_LONGEST = 200  # characters of a value in a message
_MOST = 10_000  # entries of a list

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    example: str | None = None,
    flag: bool = True,
    checked: bool = True,
    at_least: float | None = None,
    at_most: float | None = None,
    may_be_empty: bool = False,
) -> Any:
    """Declare a field of an options dataclass, with its documentation.

    Args:
        default: the value if the user states none; an option without a default must be stated.
        help: one line for the command line, and for the docstring of the Python function.
        example: how to state the option, for the message that it is missing.
        flag: False for an option that is for Python only.
        checked: False if the annotation is for editors and type checkers, and the analysis checks the value itself.
        at_least, at_most: bounds of a number, and of each number in a list; without them whole numbers have 64 bits.
        may_be_empty: True if an empty list has a meaning.

    Examples:
        >>> import dataclasses, sr_hooks
        >>> @dataclasses.dataclass(frozen=True)
        ... class Options:
        ...     power: int = sr_hooks.option(2, "power of the differences", at_least=1)
        >>> Options().power
        2
    """
    facts: dict[str, Any] = {"help": help, "example": example, "flag": flag, "checked": checked}
    facts |= {"at_least": at_least, "at_most": at_most, "may_be_empty": may_be_empty}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=facts)
    return dataclasses.field(default=default, metadata=facts)


def from_mapping(options_type: type[T], values: Mapping[str, Any], *, where: str = "options") -> T:
    """An options dataclass from names and values, strings coerced ("1e-4", "-1"); `where` names their source.

    Raises:
        OptionError: an unknown name (with the nearest), a missing one, or a value of the wrong kind.
    """
    fields = {f.name: f for f in dataclasses.fields(options_type)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise OptionError(f"{where}: unknown option {value_text(name)}; {nearest(str(name), fields)}")
    hints = typing.get_type_hints(options_type)
    checked = {n: _checked(n, value, hints[n], fields[n].metadata, where) for n, value in values.items()}
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
    except (ValueError, TypeError, OverflowError) as error:
        raise OptionError(f"{where}: {error}") from None


def check_value(name: str, value: Any, hint: Any, *, where: str, at_least: float | None = None) -> Any:
    """A value that is no field of a dataclass, coerced and checked as one of this type would be.

    Raises:
        OptionError: a value of the wrong kind, or out of bounds.
    """
    return _checked(name, value, hint, {"at_least": at_least}, where)


def _checked(name: str, value: Any, hint: Any, facts: Mapping[str, Any], where: str) -> Any:
    if facts.get("checked", True):
        value = _coerced(name, value, hint, where)
    try:
        _check_bounds(value, facts)
    except ValueError as problem:
        raise OptionError(f"{where}: {name} is {value_text(value)}: {problem}") from None
    return value


def _check_bounds(value: Any, facts: Mapping[str, Any]) -> None:
    """Refuse, with a ValueError, numbers outside their bounds, and lists that are empty or too long."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = facts.get("at_least"), facts.get("at_most")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("it must be a finite number")
        if low is not None and value < low:
            raise ValueError(f"it must be at least {low}")
        if high is not None and value > high:
            raise ValueError(f"it must be at most {high}")
        if abs(value) >= 2**63:
            raise ValueError("it has more than 64 bits")
    elif isinstance(value, (list, tuple)):
        if not value and not facts.get("may_be_empty"):
            raise ValueError("it is empty: give at least one, or leave the option out")
        if len(value) > _MOST:
            raise ValueError(f"it has {len(value)} entries, and at most {_MOST} are taken")
        for entry in value:
            _check_bounds(entry, facts)


def _coerced(name: str, value: Any, hint: Any, where: str) -> Any:
    import pydantic  # here, since it costs some 0.04 s, and many who import sr_hooks parse no options

    kinds = {typing.get_origin(h) or h for h in (hint, *typing.get_args(hint))}
    if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:  # pydantic takes true for 1
        raise OptionError(f"{where}: {name} is {value}: it must be a number, not true or false")
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
        raise OptionError(f"{where}: {name} is {value_text(value)}: {shortened(problem, _LONGEST)}") from None
    except (RecursionError, OverflowError):
        raise OptionError(f"{where}: {name} is nested too deeply or too large a number") from None


def with_options(options_type: type, run: Callable[..., Any], *, where: str) -> Callable[[Function], Function]:
    """Decorate the declaration of a public function whose keywords are the fields of an options dataclass.

    The declaration is for editors and type checkers; its body never runs. A call checks its keywords as `from_mapping`
    does and returns `run(..., options)`, where `...` are the other parameters, by name. In the docstring, one line for
    each option, its name and its help, takes the place of the line that begins with "...".

    Args:
        options_type: the dataclass.
        run: the function that does the work.
        where: what messages call the function.
    """
    fields = {field.name: field for field in dataclasses.fields(options_type)}

    def decorate(declaration: Function) -> Function:
        signature = _with_fields(inspect.signature(declaration), fields)

        @functools.wraps(declaration)
        def call(*args: Any, **keywords: Any) -> Any:
            try:
                bound = signature.bind(*args, **keywords)
            except TypeError as error:
                raise TypeError(f"{declaration.__name__}() {error}") from None
            values = {name: value for name, value in bound.arguments.items() if name in fields}
            options: Any = from_mapping(options_type, values, where=where)
            bound.apply_defaults()
            others = {name: value for name, value in bound.arguments.items() if name not in fields}
            return run(**others, options=options)

        call.__signature__ = signature  # type: ignore[attr-defined]
        call.__doc__ = _with_help(declaration.__doc__, fields)
        return typing.cast("Function", call)

    return decorate


def _with_fields(signature: inspect.Signature, fields: Mapping[str, dataclasses.Field[Any]]) -> inspect.Signature:
    """The signature with the fields that it lacks as keywords, in the place of `**options`."""
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    if len(parameters) == len(signature.parameters):
        return signature
    for name, field in fields.items():
        if name not in signature.parameters:
            default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.type)
            )
    return signature.replace(parameters=parameters)


def _with_help(text: str | None, fields: Mapping[str, dataclasses.Field[Any]]) -> str | None:
    lines: list[str] = []
    for line in (text or "").splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        if not line.strip().startswith("..."):
            lines.append(line)
            continue
        for name, field in fields.items():
            entry = f"{name}: {field.metadata.get('help', '')}"
            lines += textwrap.wrap(entry, 120, initial_indent=indent, subsequent_indent=indent + "    ")
    return "\n".join(lines) if text is not None else None


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
        facts: dict[str, Any] = {"dest": f"option_{field.name}", "default": None, "help": text}
        if hints[field.name] is bool:
            group.add_argument(name, action=argparse.BooleanOptionalAction, **facts)
        else:
            several = "+" if _takes_several(hints[field.name]) else None
            group.add_argument(name, nargs=several, required=required, metavar=field.name.upper(), **facts)


def from_flags(options_type: type[T], arguments: argparse.Namespace) -> T:
    """The options that the flags of `add_flags` state."""
    hints = typing.get_type_hints(options_type)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(options_type):  # type: ignore[arg-type]
        value = getattr(arguments, f"option_{field.name}", None)
        if value is None:
            continue
        if isinstance(value, list):
            value = [_token(token) for token in value]
            if len(value) == 1 and not _takes_many(hints[field.name]):
                value = value[0]
        elif isinstance(value, str):
            value = _token(value)
        values[field.name] = value
    try:
        return from_mapping(options_type, values, where="command line")
    except OptionError as error:
        raise OptionError(str(error).replace("command line: ", "", 1)) from None


def _takes_several(hint: Any) -> bool:
    """Whether a value of this type can be several: a sequence, or a union with one, or anything at all."""
    members = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return any(
        member is Any or (isinstance(kind, type) and issubclass(kind, Collection) and kind is not str)
        for member in members
        for kind in (typing.get_origin(member) or member,)
    )


def _takes_many(hint: Any) -> bool:
    kinds = [typing.get_origin(h) or h for h in (hint, *typing.get_args(hint))]
    return any(kind in (tuple, list) for kind in kinds) and str not in kinds


def _token(token: str) -> Any:
    """Numbers as numbers, the rest as the text it is."""
    value = value_or_text(token)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else token


def as_plain(value: Any) -> Any:
    """Options and other values as JSON can hold them; functions by name, tensors by shape, others by their own method
    `as_plain` where they have one.
    """
    if hasattr(value, "as_plain") and not isinstance(value, type):
        return value.as_plain()
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
