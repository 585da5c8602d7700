"""The keywords of lam, ddr, faig and verify are the fields of their options: names, order, defaults, types, help."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
import types
from typing import Any

import pytest

import sr_hooks
from sr_hooks.analyses.ddr.options import DdrOptions
from sr_hooks.analyses.faig.analysis import FaigOptions
from sr_hooks.analyses.faig_verify.analysis import VerifyOptions
from sr_hooks.analyses.lam.options import LamOptions
from sr_hooks.core.options import option, with_options
from sr_hooks.errors import OptionError

FUNCTIONS = [
    (sr_hooks.lam, LamOptions, ("network", "lr")),
    (sr_hooks.ddr, DdrOptions, ("network", "images")),
    (sr_hooks.faig, FaigOptions, ("target", "images")),
    (sr_hooks.verify, VerifyOptions, ("images", "target")),
]
IDS = [function.__name__ for function, _, _ in FUNCTIONS]


def keywords_in(source: str, names: dict[str, Any], function: str, others: tuple[str, ...]) -> list[Any]:
    """(name, annotation, default) of each option in the first declaration of a function, as type checkers see it."""
    definitions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    arguments = next(node for node in definitions if node.name == function).args
    pairs = [(argument, None) for argument in arguments.args]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return [
        (
            argument.arg,
            ast.unparse(argument.annotation),
            dataclasses.MISSING if default is None else eval(ast.unparse(default), names),
        )
        for argument, default in pairs
        if argument.arg not in others
    ]


def fields_of(options_type: type) -> list[Any]:
    return [(f.name, ast.unparse(ast.parse(f.type)), f.default) for f in dataclasses.fields(options_type)]


def assert_equal(source: str, names: dict[str, Any], function: str, options_type: type, others: tuple[str, ...]):
    keywords, fields = keywords_in(source, names, function, others), fields_of(options_type)
    if function == "lam":  # its first declaration is for one window, its second for a sequence of them
        assert (keywords[0][1], fields[0][1]) == ("OneWindow", "OneWindow | Sequence[OneWindow]")
        keywords[0] = fields[0]
    assert keywords == fields


@pytest.mark.parametrize(("function", "options_type", "others"), FUNCTIONS, ids=IDS)
def test_the_declaration_and_the_dataclass_are_equal(function, options_type, others):
    module = sys.modules[function.__module__]
    assert_equal(inspect.getsource(module), vars(module), function.__name__, options_type, others)


@pytest.mark.parametrize(("function", "options_type", "others"), FUNCTIONS, ids=IDS)
@pytest.mark.parametrize(
    "drift",
    [
        ("seed: int = 0", "seed: int = 7"),
        ("seed: int = 0", "seed: float = 0"),
        ("seed: int = 0", "sead: int = 0"),
        ("seed: int = 0,", ""),
    ],
    ids=["default", "annotation", "name", "missing"],
)
def test_a_declaration_that_drifts_is_found(function, options_type, others, drift):
    module = sys.modules[function.__module__]
    before, after = (text.replace("0", "1") for text in drift) if function is sr_hooks.verify else drift
    source = inspect.getsource(module)
    assert source.count(before) == 1
    with pytest.raises(AssertionError):
        assert_equal(source.replace(before, after), vars(module), function.__name__, options_type, others)


@pytest.mark.parametrize(("function", "options_type", "others"), FUNCTIONS, ids=IDS)
def test_python_itself_shows_the_same_signature_and_the_help_of_every_option(function, options_type, others):
    parameters = inspect.signature(function).parameters
    shown = [(p.name, p.annotation) for p in parameters.values() if p.name not in others]
    assert shown == [(field.name, field.type) for field in dataclasses.fields(options_type)]
    words = " ".join(function.__doc__.split())
    for field in dataclasses.fields(options_type):
        assert field.metadata["help"] and f"{field.name}: {' '.join(field.metadata['help'].split())}" in words


@dataclasses.dataclass(frozen=True)
class Options:
    width: float = option(help="in pixels", example="width=3")
    seed: int = option(0, "of the noise")
    names: list[str] = option((), "of channels", checked=False)


def run(subject, options):
    return subject, options


@with_options(Options, run, where="blur")
def blur(subject: Any, *, width: float, seed: int = 0, names: list[str] = ()) -> Any:
    """Blur.

    Args:
        subject: an image.
        ...: the options.
    """
    raise NotImplementedError


def test_a_call_checks_its_keywords_and_hands_on_one_dataclass():
    assert blur("image", width="3") == ("image", Options(3.0))
    assert blur(subject="image", width=1, names=(1,)) == ("image", Options(1.0, 0, (1,)))
    with pytest.raises(OptionError, match="blur: seed is 'x'"):
        blur("image", width=1, seed="x")
    with pytest.raises(TypeError, match=r"blur\(\) .*unexpected keyword argument 'seeds'"):
        blur("image", width=1, seeds=1)
    with pytest.raises(TypeError, match=r"blur\(\) missing a required"):
        blur("image")
    expected = "subject: an image.\n    width: in pixels\n    seed: of the noise\n    names: of channels"
    assert expected in inspect.getdoc(blur) and isinstance(blur, types.FunctionType)
    assert "..." not in textwrap.dedent(blur.__doc__)
