"""Names that are imported at their first use, and old modules that say where their names are now."""

from __future__ import annotations

import importlib
import importlib.machinery
import re
import subprocess
import sys

import pytest

import sr_hooks
from sr_hooks.core.public_names import MOVED, MovedError, install_moved_finder
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("old", MOVED)
def test_an_old_module_says_where_it_is_now(old):
    assert importlib.machinery.PathFinder.find_spec(old, _path_of(old)) is None, "the module is still there"
    importlib.import_module(MOVED[old])
    with pytest.raises(ModuleNotFoundError) as error:
        importlib.import_module(old)
    first = next(name for name in _prefixes(old) if name in MOVED)  # Python imports the folders of a module first
    assert str(error.value) == f"{first} has moved to {MOVED[first]} (sr_hooks 0.2, plugin contract 2)"


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _path_of(name: str) -> list[str] | None:
    try:
        return list(importlib.import_module(name.rpartition(".")[0]).__path__)
    except MovedError:
        return []


@pytest.mark.parametrize(
    "line",
    [
        "import sr_hooks.taps",
        "from sr_hooks import taps",
        "from sr_hooks.taps import resolve",
        "import sr_hooks\nsr_hooks.taps.resolve",
    ],
)
def test_every_way_to_import_says_it(line):
    run = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    said = run.stderr.splitlines()[-1]
    assert said.endswith("Error: sr_hooks.taps has moved to sr_hooks.hooks (sr_hooks 0.2, plugin contract 2)")


def test_other_missing_names_are_as_ever():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'sr_hooks\.nothing'"):
        importlib.import_module("sr_hooks.nothing")
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from sr_hooks import nothing")
    with pytest.raises(AttributeError, match="module 'sr_hooks' has no attribute 'nothing'"):
        _ = sr_hooks.nothing
    assert not hasattr(sr_hooks, "taps") and not hasattr(sr_hooks, "_nothing")


def test_the_finder_is_there_once():
    before = list(sys.meta_path)
    install_moved_finder()
    assert sys.meta_path == before


@pytest.mark.slow
def test_folders_are_attributes_without_an_import_of_their_own():
    code = "import sr_hooks; print(sr_hooks.figures.style.INK, sr_hooks.errors.SRHooksError, sr_hooks.images.psnr)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0 and "SRHooksError" in run.stdout, run.stderr


def test_a_missing_requirement_of_a_folder_is_named(tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import sr_hooks; sr_hooks.images"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'torch'"


def test_no_text_of_the_package_or_its_docs_names_an_old_module():
    old = re.compile(r"\b(" + "|".join(re.escape(name) for name in MOVED) + r")\b")
    folders = (REPOSITORY / "sr_hooks", REPOSITORY / "docs", REPOSITORY / "plugins")
    files = [path for folder in folders for kind in ("*.py", "*.md", "*.txt") for path in folder.rglob(kind)]
    about_the_move = {"sr_hooks/core/public_names.py", "docs/plugins.md"}
    named = [
        f"{path}: {match[0]}"
        for path in [*files, REPOSITORY / "README.md"]
        if path.relative_to(REPOSITORY).as_posix() not in about_the_move
        for match in old.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not named, "\n".join(named)


def test_dir_lists_the_public_names_alone():
    assert dir(sr_hooks) == sorted(sr_hooks.__all__) and {"lam", "ddr", "faig", "Network", "load"} <= set(dir(sr_hooks))
