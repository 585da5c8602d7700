"""Every example in a docstring of the package runs as it stands, in a folder of its own."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def modules_with_examples() -> list[str]:
    package = REPOSITORY / "sr_hooks"
    files = sorted(path for path in package.rglob("*.py") if ">>> " in path.read_text("utf-8"))
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in files]
    return [name.removesuffix(".__init__") for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.attempted and not results.failed
