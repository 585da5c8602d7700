"""The house rules of DESIGN: who may import whom, how large a file and a folder may be, where a test lies."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE, TESTS = REPOSITORY / "sr_hooks", REPOSITORY / "tests"
CONTRACTS = REPOSITORY / ".importlinter"
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({module.parent for module in MODULES} - {PACKAGE})
AT_THE_TOP = {"__init__", "__main__", "errors", "hookspecs", "version"}

MOST_LINES = 300
MOST_MODULES = 9
CROWDED = {
    "core": (10, "small modules that share nothing but that they know neither an image nor a network"),
}
LONG: set[str] = set()
"""Files that are still to be cut. An empty set is the aim; a file that has been cut must be struck off."""

HEAVY = {
    "accelerate",
    "basicsr",
    "fastapi",
    "gradio",
    "lightning",
    "matplotlib",
    "mmengine",
    "mmagic",
    "scipy",
    "sklearn",
    "spandrel",
    "starlette",
    "tensorboard",
    "torchvision",
    "uvicorn",
} | {"diffusers", "pytorch_lightning", "transformers"}
MAY_IMPORT = {"adapters/mmagic.py": {"mmengine"}, "adapters/lightning.py": {"lightning", "pytorch_lightning"}}
"""The modules that mmengine's configs and Lightning's users name; nobody imports them who has no such package."""


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


# Imports


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """The contracts on the package in `folder`, in a process of its own, since the linter changes all loggers."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={"PYTHONPATH": str(folder)}, text=True, capture_output=True
    )


def test_the_import_contracts_hold():
    done = lint(REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 5 kept, 0 broken." in done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package's source and contracts."""
    shutil.copytree(PACKAGE, tmp_path / "sr_hooks", ignore=shutil.ignore_patterns("__pycache__", "weights", "photos"))
    shutil.copy(CONTRACTS, tmp_path)
    return tmp_path


def test_an_import_upwards_breaks_the_contracts(copy: Path):
    with (copy / "sr_hooks/images/windows.py").open("a") as file:
        file.write("\n\ndef planted():\n    from sr_hooks.networks.network import Network\n\n    return Network\n")
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "sr_hooks.images.windows -> sr_hooks.networks.network" in done.stdout


def test_a_folder_without_a_floor_breaks_the_contracts(copy: Path):
    (copy / "sr_hooks/planted").mkdir()
    (copy / "sr_hooks/planted/__init__.py").write_text('"""A folder that no contract names."""\n')
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "sr_hooks.planted" in done.stdout


def imported_at_the_top(tree: ast.AST) -> Iterator[str]:
    """What is imported when the module is: not in functions, not for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from (name for branch in node.orelse for name in imported_at_the_top(branch))
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imported_at_the_top(node)


def test_nothing_heavy_is_imported_at_the_top_of_a_module():
    heavy = {
        relative(module): names
        for module in MODULES
        if (names := set(imported_at_the_top(ast.parse(module.read_text()))) & HEAVY)
    }
    assert heavy == MAY_IMPORT


# Sizes


def test_the_top_of_the_package_has_no_further_module():
    assert {module.stem for module in PACKAGE.glob("*.py")} == AT_THE_TOP


def test_no_file_is_long():
    long = {relative(module) for module in MODULES if len(module.read_text().splitlines()) > MOST_LINES}
    assert long - LONG == set(), f"over {MOST_LINES} lines: cut what has a name of its own out of it"
    assert LONG - long == set(), f"no longer over {MOST_LINES} lines: strike off LONG in {__file__}"


def test_no_folder_is_crowded():
    sizes = {relative(folder): len(list(folder.glob("*.py"))) - 1 for folder in FOLDERS}
    crowded = {folder: size for folder, size in sizes.items() if size > MOST_MODULES}
    assert crowded == {folder: size for folder, (size, _) in CROWDED.items()}


# Tests


def test_tests_mirror_the_package():
    folders = {relative(folder) for folder in FOLDERS}
    without = [folder for folder in sorted(folders) if not list((TESTS / folder).glob("test_*.py"))]
    assert without == [], "folders of sr_hooks/ without a test in the folder of that name under tests/"
    mirrored = {path.parent.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")} - {"."}
    beside = {folder for folder in mirrored if folder != "gpu" and not folder.startswith("integration/")}
    assert beside - folders == set(), "folders of tests/ that mirror none of sr_hooks/"


def test_tests_patch_objects_and_not_paths_in_text():
    """A path in text is not followed by those who rename."""
    patches = [
        f"{path.relative_to(TESTS)}:{node.lineno}"
        for path in sorted(TESTS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("setattr", "delattr")
        and node.args
        and isinstance(node.args[0], (ast.Constant, ast.JoinedStr))
    ]
    assert patches == []


@pytest.mark.slow
def test_every_folder_has_a_quick_test():
    command = [sys.executable, "-m", "pytest", "-m", "quick", "--collect-only"]
    listing = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    quick = {Path(line.partition("::")[0]).parent.as_posix() for line in listing.splitlines() if "::" in line}
    assert {f"tests/{relative(folder)}" for folder in FOLDERS} - quick == set()
