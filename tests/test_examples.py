"""Every example in a docstring of the package runs when pasted, in a folder of its own; each public name has one."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sr_hooks
from sr_hooks import degradations
from sr_hooks.attribution import image_paths
from sr_hooks.attribution.objectives import by_name, window_values
from sr_hooks.attribution.objectives.downstream import Downstream
from sr_hooks.attribution.objectives.objective import Custom, Objective
from sr_hooks.degradations import kinds, parsing
from tests.conftest import REPOSITORY

FUNCTIONS = ("lam", "ddr", "faig", "verify", "check", "compare", "run", "watch", "analyze", "load")
OTHERS = ("capture", "intervene", "Network", "Analysis", "Result", "option")
CONSTRUCTORS = ("of", "from_basicsr", "from_file", "from_import", "load")
OBJECTIVES = [getattr(window_values, name) for name in window_values.__all__]
OBJECTIVES += [Objective, Custom, Downstream, Downstream.feature, by_name.make_objective]
PATHS = [getattr(image_paths, name) for name in ("BlurPath", "LinearPath", "ExpectedPath", "CustomPath", "make_path")]
PUBLIC: dict[str, Any] = {
    **{name: getattr(sr_hooks, name) for name in (*FUNCTIONS, *OTHERS)},
    **{f"Network.{name}": getattr(sr_hooks.Network, name) for name in CONSTRUCTORS},
    **{value.__qualname__: value for value in (*OBJECTIVES, *PATHS)},
    **{name: getattr(degradations, name) for name in degradations.__all__},
}
"""The names whose docstring must hold an example."""


class Finder(doctest.DocTestFinder):
    """Finds the examples of decorated functions too, which doctest takes for functions of the decorator's module."""

    def _from_module(self, module: Any, object: Any) -> bool:
        return super()._from_module(module, inspect.unwrap(object))  # type: ignore[misc]


def modules_with_examples() -> list[str]:
    package = REPOSITORY / "sr_hooks"
    files = sorted(path for path in package.rglob("*.py") if ">>> " in path.read_text("utf-8"))
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in files]
    return [name.removesuffix(".__init__") for name in names]


def sources_of(value: Any) -> list[str]:
    """The statements of the examples in the docstring of a value."""
    return [example.source for example in doctest.DocTestParser().get_examples(value.__doc__ or "")]


def words_in(values: list[Any]) -> set[str]:
    """The names that the texts in examples state: blur and noise for "blur:2+noise:10"."""
    trees = [ast.parse(source) for value in values for source in sources_of(value)]
    texts = [
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    steps = [step for text in texts for part in text.split() for step in part.split("+")]
    return {step.partition(":")[0].partition("@")[0] for step in steps}


@pytest.mark.slow
@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    module = importlib.import_module(name)
    for example in Finder().find(module, name, globs={"__name__": "__main__"}):
        runner.run(example)
    assert runner.tries
    assert not runner.failures


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_has_an_example(name: str):
    assert sources_of(PUBLIC[name]), f"the docstring of {name} has no example (>>>)"


@pytest.mark.parametrize(
    ("registered", "values"),
    [
        (by_name.register_objectives, OBJECTIVES),
        (image_paths.register_paths, PATHS),
        (kinds.register_degradations, [parsing.parse_degradation, parsing.make_lr]),
    ],
)
def test_an_example_names_each_built_in(registered: Callable[[], dict[str, Any]], values: list[Any]):
    assert set(registered()) - words_in(values) == set(), "built-in names that no example uses"


def test_no_example_is_skipped():
    modules = {name: inspect.getsource(importlib.import_module(name)) for name in modules_with_examples()}
    skipped = [name for name, text in modules.items() if "doctest: +SKIP" in text]
    assert skipped == [], "show in a plain indented block what cannot run, and say why"
