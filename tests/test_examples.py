"""Every example in a docstring of the package runs when pasted, in a folder of its own."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY


class Finder(doctest.DocTestFinder):
    """Finds the examples of decorated functions too, which doctest takes for functions of the decorator's module."""

    def _from_module(self, module: Any, object: Any) -> bool:
        return super()._from_module(module, inspect.unwrap(object))  # type: ignore[misc]


def modules_with_examples() -> list[str]:
    package = REPOSITORY / "sr_hooks"
    files = sorted(path for path in package.rglob("*.py") if ">>> " in path.read_text("utf-8"))
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in files]
    return [name.removesuffix(".__init__") for name in names]


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


def test_no_example_is_skipped():
    modules = {name: inspect.getsource(importlib.import_module(name)) for name in modules_with_examples()}
    skipped = [name for name, text in modules.items() if "doctest: +SKIP" in text]
    assert skipped == [], "show in a plain indented block what cannot run, and say why"
