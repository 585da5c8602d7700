"""Option blocks and command lines that hypothesis makes from the schemas of all analyses."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import yaml
from hypothesis import strategies as st

from benchmarks.attacks.outcome import Outcome, limited, one_line_or_reason
from sr_hooks.analyses.base import find_analysis
from sr_hooks.cli.app import main
from sr_hooks.core import registry as plugins
from sr_hooks.core.yaml_files import parse_yaml
from sr_hooks.errors import SRHooksError
from sr_hooks.training.config import parse_block
from sr_hooks.training.schedule import Schedule

_NUMBERS = st.one_of(
    st.integers(-3, 100),
    st.sampled_from([10**9, 2**31, 2**63 - 1, 2**63, 10**200, -(10**18), 1.9, 0.0, -0.0, 1e-300, 1e300]),
    st.floats(),
)
_TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            *("auto", "off", "2%", "1e-4", "x" * 5000, "a\0b", "/dev/zero", "blur:2", "noise:20", "blur:1e999"),
            *("jpeg:-1", "clean", "middle", "0,0,8", "~nobody/x", "../..", "{a: 1}", "[[", "!!python/name:os", "0x"),
        ]
    ),
)
_PLAIN = st.one_of(_NUMBERS, _TEXTS, st.booleans(), st.none())
_ANYTHING = st.recursive(
    _PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=20,
)
_WINDOWS = st.one_of(
    st.lists(_NUMBERS, max_size=5),
    st.lists(st.tuples(_NUMBERS, _NUMBERS, _NUMBERS).map(list), max_size=3),
    st.just([[0, 0, 8]] * 50_000),
    st.just([0, 0, 8]),
)


def _value_of(field: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    """Values of an option: its default, such as its type suggests, and anything else."""
    likely = [_ANYTHING, _PLAIN]
    if field.default is not dataclasses.MISSING:
        likely.append(st.just(list(field.default) if isinstance(field.default, tuple) else field.default))
    if "window" in field.name:
        likely.append(_WINDOWS)
    if any(kind in str(field.type) for kind in ("int", "float")):
        likely.append(_NUMBERS)
    return st.one_of(*likely)


def _fields(*types: type | None) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for kind in types if kind is not None for field in dataclasses.fields(kind)}


@st.composite
def _blocks(draw: Any) -> dict[str, Any]:
    names = list(plugins.contributions("register_analyses"))
    block: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)):
        kind = find_analysis(name)
        fields = _fields(kind.watch_options_type or kind.options_type, Schedule)
        chosen = draw(st.lists(st.sampled_from(list(fields)), max_size=5, unique=True))
        inner = {option: draw(_value_of(fields[option])) for option in chosen}
        if draw(st.integers(0, 9)) == 0:
            inner[draw(_TEXTS)] = draw(_ANYTHING)
        block[name] = inner if draw(st.integers(0, 9)) else draw(_ANYTHING)
    for key in draw(st.lists(st.sampled_from(["seed", "sinks", "every", "at", "budget", "nonsense"]), max_size=2)):
        block[key] = draw(_ANYTHING)
    return block


@st.composite
def _command_lines(draw: Any) -> list[str]:
    name = draw(st.sampled_from(list(plugins.contributions("register_analyses"))))
    fields = _fields(find_analysis(name).options_type)
    line = [name, "--model", "demo:target", "--image", "there-is-no-such-image.png"]
    for option in draw(st.lists(st.sampled_from(list(fields)), max_size=5, unique=True)):
        value = draw(_value_of(fields[option]))
        tokens = value if isinstance(value, list) and len(value) < 100 else [value]
        line += ["--" + option.replace("_", "-"), *[str(token) for token in tokens]]
    if draw(st.integers(0, 5)) == 0:
        line += draw(st.lists(_TEXTS, max_size=3))
    return line


def _try_block(block: dict[str, Any], as_yaml: bool) -> str:
    try:
        with limited(20):
            if as_yaml:
                block = parse_yaml(yaml.safe_dump(block), name="the block")
            parse_block(block)
    except SRHooksError as error:
        return one_line_or_reason(str(error))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _try_line(line: list[str]) -> str:
    out, err = io.StringIO(), io.StringIO()
    try:
        with limited(60), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(line)
    except SystemExit as error:
        return "" if error.code == 0 and {"-h", "--help", "--version"} & set(line) else f"SystemExit({error.code})"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if status != 2:  # the image is not there
        return f"exit status {status}: {err.getvalue()[-300:]}"
    return one_line_or_reason(err.getvalue())


def attack(count: int, seed: int) -> Iterator[Outcome]:
    lines = count // 3
    outcomes: list[Outcome] = []
    quiet = hypothesis.settings(
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    @hypothesis.seed(seed)
    @hypothesis.settings(quiet, max_examples=count - lines)
    @hypothesis.given(_blocks(), st.booleans())
    def blocks(block: dict[str, Any], as_yaml: bool) -> None:
        outcomes.append(Outcome("option blocks", repr(block)[:500], _try_block(block, as_yaml)))

    @hypothesis.seed(seed)
    @hypothesis.settings(quiet, max_examples=lines)
    @hypothesis.given(_command_lines())
    def command_lines(line: list[str]) -> None:
        outcomes.append(Outcome("command lines", repr(line)[:500], _try_line(line)))

    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # a relative name in an option is a file here
        try:
            blocks()
            command_lines()
        finally:
            os.chdir(here)
        left = [path.name for path in Path(folder).iterdir()]
    yield from outcomes
    yield Outcome("nothing is written", "the working folder", f"{left} was written" if left else "")
