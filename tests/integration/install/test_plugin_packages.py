"""The packages under plugins/ and those that new authors write: public names alone, and really installed."""

from __future__ import annotations

import ast
import importlib.util
import json
import pkgutil
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import sr_hooks
from sr_hooks.cli.plugins import new_plugin
from sr_hooks.demo.assets import photographs
from sr_hooks.errors import OptionError
from tests.integration.basicsr import runs
from tests.support.environments import REPOSITORY, Environment, source_of

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings it
    import tomli as tomllib

PACKAGES = sorted(path.parent for path in (REPOSITORY / "plugins").glob("*/pyproject.toml"))
NAMES = {"csm", "erf", "cem", "srga", "attention", "difficulty", "example"}
PUBLIC_MODULES = {"sr_hooks.errors", "sr_hooks.hookspecs", "sr_hooks.figures.style"}
OF_TRAINING_SCRIPTS = {"sr_hooks.adapters.lightning", "sr_hooks.adapters.mmagic"}  # whose import needs the host
PAGE = REPOSITORY / "docs/write_your_own.md"


def sources(package: Path) -> list[Path]:
    return [path for path in sorted(package.rglob("*.py")) if "build" not in path.relative_to(package).parts]


def test_the_packages_are_there():
    assert {package.name for package in PACKAGES} >= {f"sr-hooks-{name}" for name in NAMES}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_is_whole(package):
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["name"] == package.name and "sr_hooks" in project["dependencies"]
    points = project["entry-points"]["sr_hooks"]
    assert points and all(value.split(":")[0].startswith("sr_hooks_") for value in points.values())
    assert list((package / "tests").glob("test_*.py"))
    readme = (package / "README.md").read_text().splitlines()
    assert len(readme) <= 50, "a README of one screen"
    assert readme[0] == f"# {package.name}" and any(f"pip install ./plugins/{package.name}" in line for line in readme)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_uses_public_names_alone(package):
    private = [found for path in sources(package) for found in private_names(path)]
    assert not private, "\n".join(private)


@pytest.mark.parametrize(
    "line",
    [
        "from sr_hooks.hooks.taps import _Counter",
        "from sr_hooks.hooks.taps import Tap",
        "from sr_hooks.images import F",
        "from sr_hooks.images import clips",
        "from sr_hooks.hooks import *",
        "from sr_hooks.hooks import taps",
        "from sr_hooks.taps import Tap",
        "from sr_hooks import taps",
        "from sr_hooks._secret import x",
        "from sr_hooks import hooks\nhooks._hook",
        "from sr_hooks import hooks\nhooks.taps.Tap",
        "import sr_hooks\nsr_hooks.hooks.taps",
        "import sr_hooks\nsr_hooks.errors.difflib",
        "import sr_hooks.networks as n\nn.network",
        "import sr_hooks.networks.network",
        "import sr_hooks.networks.network as n",
        "def f(tail):\n    return tail._answers",
        "from tests.conftest import hooks_on",
    ],
)
def test_private_names_are_found(tmp_path, line):
    path = tmp_path / "module.py"
    path.write_text(line)
    assert private_names(path)


@pytest.mark.parametrize(
    "line",
    [
        "import sr_hooks\nfrom sr_hooks import hooks\nfrom sr_hooks.hooks import Tap\nsr_hooks.run, hooks.Tap",
        "import sr_hooks\nsr_hooks.errors.SRHooksError, sr_hooks.hooks.Tap, sr_hooks.analyses.lam.LamOptions",
        "from sr_hooks.figures import style\nfrom sr_hooks.figures.style import panel\nstyle.panel",
        "from sr_hooks import errors, hookspecs\nerrors.ImageError, hookspecs.API_VERSION",
        "from sr_hooks.statistics import separability, tsne",
    ],
)
def test_public_names_pass(tmp_path, line):
    path = tmp_path / "module.py"
    path.write_text(line)
    assert not private_names(path)


def private_names(path: Path) -> list[str]:
    """What a source takes of sr_hooks that is not public, or of anybody's insides."""
    tree = ast.parse(path.read_text())
    bound: dict[str, ModuleType] = {}
    problems = list(_imports(tree, bound))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        owner = _module_at(node.value, bound)
        if owner is not None and not _is_public(owner, node.attr):
            problems.append((node, f"{owner.__name__}.{node.attr}"))
        own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        if node.attr.startswith("_") and not node.attr.endswith("__") and not own and "tests" not in path.parts:
            problems.append((node, f"the private attribute {node.attr}"))
    return [f"{path}:{node.lineno}: {what}" for node, what in problems]


def _imports(tree: ast.AST, bound: dict[str, ModuleType]) -> Iterator[tuple[Any, str]]:
    """Private imports; public modules of sr_hooks that are imported are put into `bound` under their names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] == "sr_hooks":
                    module = _public_module(name.name)
                    if module is None:
                        yield node, name.name
                    else:
                        bound[name.asname or "sr_hooks"] = module if name.asname else sr_hooks
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] == "tests":
                yield node, node.module
            elif node.module.split(".")[0] == "sr_hooks":
                module = _public_module(node.module)
                for name in node.names:
                    if module is None or not _is_public(module, name.name):
                        yield node, f"{node.module}.{name.name}"
                    elif (below := _public_module(f"{node.module}.{name.name}")) is not None:
                        bound[name.asname or name.name] = below


def _public_module(name: str) -> ModuleType | None:
    """sr_hooks, the face of a folder, or one of the three other modules that are public; None for any other name."""
    if any(part.startswith("_") for part in name.split(".")):
        return None
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        return None
    is_face = hasattr(module, "__path__") and hasattr(module, "__all__")
    return module if is_face or name in PUBLIC_MODULES | OF_TRAINING_SCRIPTS else None


def _is_public(module: ModuleType, name: str) -> bool:
    return name in module.__all__ or _public_module(f"{module.__name__}.{name}") is not None


def _module_at(node: ast.AST, bound: dict[str, ModuleType]) -> ModuleType | None:
    """The public module of sr_hooks that an expression like `sr_hooks.hooks` stands for."""
    if isinstance(node, ast.Name):
        return bound.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _module_at(node.value, bound)
        return _public_module(f"{owner.__name__}.{node.attr}") if owner is not None else None
    return None


def faces() -> list[str]:
    """Every folder of sr_hooks with Python modules, as a name to import."""
    root = REPOSITORY / "sr_hooks"
    return sorted(".".join(path.parent.relative_to(root.parent).parts) for path in root.rglob("__init__.py"))


@pytest.mark.parametrize("face", faces())
def test_a_face_has_public_names_alone(face):
    """It says in one line what belongs in the folder, and gives the names of `__all__` and nothing else."""
    module = importlib.import_module(face)
    assert module.__doc__ is not None and module.__all__ and all(hasattr(module, name) for name in module.__all__)
    first = module.__doc__.splitlines()[0]
    assert first.endswith("."), first
    tree = ast.parse(Path(str(module.__file__)).read_text())
    is_lazy = any(isinstance(node, ast.FunctionDef) and node.name == "__dir__" for node in tree.body)
    assert is_lazy or all(
        isinstance(node, (ast.ImportFrom, ast.Assign)) or (isinstance(node, ast.Expr) and node is tree.body[0])
        for node in tree.body
    ), "imports and __all__ alone"


@pytest.mark.parametrize("face", ["sr_hooks", "sr_hooks.core"])
def test_a_lazy_face_tells_python_and_the_type_checker_the_same(face):
    """The table of sources, the imports for the type checker, `__all__` and `dir` name the same things."""
    module = importlib.import_module(face)
    tree = ast.parse(Path(str(module.__file__)).read_text())
    typed = {
        name.asname or name.name: f"{node.module}:{name.name}"
        for block in tree.body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert typed == module._SOURCES
    assert dir(module) == sorted(module.__all__) == sorted({*typed, *(["__version__"] if face == "sr_hooks" else [])})
    for name, source in typed.items():
        assert getattr(module, name) is pkgutil.resolve_name(source)


def public_page() -> dict[str, set[str]]:
    """The table of docs/plugins.md: public module to its names."""
    page = (REPOSITORY / "docs/plugins.md").read_text()
    rows = re.findall(r"^\| `(sr_hooks[\w.]*)` \| .* \| ([^|]*) \|$", page, flags=re.MULTILINE)
    return {module: set(re.findall(r"`(\w+)`", names)) for module, names in rows}


def test_the_page_of_the_public_api_names_what_is_public():
    """Each row of the table holds the public names of its module: all of them, and no other."""
    table = public_page()
    assert {"sr_hooks", *PUBLIC_MODULES} <= set(table) and len(table) > 15
    for module, names in table.items():
        assert _public_module(module) is not None, module
        assert names == set(importlib.import_module(module).__all__) - {"__version__"}, module


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_uses_modules_of_the_page_alone(package):
    table = public_page()
    for path in sources(package):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sr_hooks":
                assert node.module in table, f"{path}:{node.lineno}: {node.module}"


@pytest.mark.parametrize("page", [*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "README.md"], ids=str)
def test_code_of_the_docs_imports_from_faces_alone(tmp_path, page):
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)):
        path = tmp_path / f"block_{number}.py"
        path.write_text(code)
        assert not private_names(path)


@pytest.fixture(scope="module")
def with_erf(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """After `pip install ./plugins/sr-hooks-erf` and nothing else."""
    folder = tmp_path_factory.mktemp("erf")
    made = Environment(folder / "environment")
    made.install(source_of("sr-hooks-erf", folder))
    return made


ASKED = """
    import sys
    import sr_hooks
    from sr_hooks.cli import main
    from sr_hooks.images import read_image

    image, out = sys.argv[1:]
    assert main(["erf", "--model", "demo:baseline", "--image", image, "--size", "48", "--out", f"{out}/flags"]) == 0
    assert main(["plugins"]) == 0
    sr_hooks.run("erf", sr_hooks.Network.load("demo:baseline"), read_image(image), size=48).save(f"{out}/python")
    main(["erf", "--help"])
"""


def test_erf_installed_from_command_line_and_python(with_erf, tmp_path):
    done = with_erf.python(ASKED.replace("sys.argv[1:]", repr((str(photographs()[0]), str(tmp_path)))))
    assert done.returncode == 0, done.stderr
    assert "erf  (sr-hooks-erf 0.1.0)\n    analyses: erf" in done.stdout
    assert "usage: sr-hooks erf" in done.stdout and "--size SIZE" in done.stdout
    flags, python = (sr_hooks.load(tmp_path / door) for door in ("flags", "python"))
    assert np.array_equal(flags.arrays["field"], python.arrays["field"]) and flags.scalars == python.scalars
    for door in ("flags", "python"):
        assert (tmp_path / door / "figure.png").stat().st_size > 10_000


LISTED = """
    import sys
    from sr_hooks.cli import main
    try:
        main(["--help"])
    finally:
        print("torch" in sys.modules)
"""


def test_the_list_of_commands_names_a_plugin_and_imports_it_once(with_erf, tmp_path):
    cache = {"SR_HOOKS_CACHE": str(tmp_path)}
    first, second = (with_erf.python(LISTED, **cache).stdout.splitlines() for _ in range(2))
    assert (first[-1], second[-1]) == ("True", "False") and first[:-1] == second[:-1]
    assert any(line.split()[:1] == ["erf"] for line in first)
    (file,) = tmp_path.glob("commands-*.json")
    for damage in ("", "{", "[]", '{"erf": 3}'):
        file.write_text(damage)
        assert with_erf.python(LISTED, **cache).stdout.splitlines()[:-1] == first[:-1]
    module = with_erf.site / "sr_hooks_erf.py"
    source = module.read_text()
    try:
        module.write_text(source.replace('name = "erf"', 'name = "field"'))
        changed = with_erf.python(LISTED, **cache).stdout.splitlines()
    finally:
        module.write_text(source)
    assert any(line.split()[:1] == ["field"] for line in changed) and changed[-1] == "True"


def test_erf_installed_from_an_option_file_and_in_tensorboard(basicsr, with_erf, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    content = runs.options(runs.make_data(tmp_path / "data"), runs.NETWORKS["MSRResNet"])
    content = runs.deep(content, {"train": {"total_iter": 3}, "logger": {"use_tb_logger": True}})
    block = {"erf": {"size": 16, "at": 2}}
    file = runs.write({**content, "sr_hooks": block}, tmp_path / "x.yml")
    done = with_erf.shell(f"sr-hooks train -opt {file}", tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    folder = tmp_path / "experiments/tiny/sr_hooks/2/erf"
    assert sr_hooks.load(folder).arrays["field"].shape == (16, 16) and (folder / "figure.png").is_file()
    events = EventAccumulator(str(next((tmp_path / "tb_logger/tiny").iterdir())), {"images": 0, "scalars": 0}).Reload()
    assert "sr_hooks/erf/figure" in events.Tags()["images"]
    side = events.Scalars("sr_hooks/erf/side_50")[0]
    assert (side.step, side.value) == (2, sr_hooks.load(folder).scalars["side_50"])


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_the_page_followed_as_a_new_author_would(tmp_path):
    """Its commands are typed, its code is put where it says, and its promises are looked at."""
    module, test = blocks("python")[:2]
    (begin, ask) = blocks("sh")
    assert len([line for line in (module + test).splitlines() if line.strip()]) < 40
    environment = Environment(tmp_path / "environment")
    shutil.copy(photographs()[0], tmp_path / "photo.png")
    done = environment.shell(begin, tmp_path)
    assert done.returncode == 0, done.stderr
    package = tmp_path / "sr-hooks-shift"
    written = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert written == {"pyproject.toml", "README.md", "sr_hooks_shift.py", "tests/test_shift.py"}
    for code, place in ((module, "sr_hooks_shift.py"), (test, "tests/test_shift.py")):
        assert f"`sr-hooks-shift/{place}`" in PAGE.read_text()
        (package / place).write_text(code)
        assert not private_names(package / place)
    done = environment.shell(ask, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout and "shift  (sr-hooks-shift 0.1.0)\n    analyses: shift" in done.stdout
    answer = json.loads((tmp_path / "answer/result.json").read_text())
    assert answer["provenance"]["options"] == {"pixels": 2, "margin": 8} and answer["verdict"] == "sound: it commutes."
    assert answer["provenance"]["network"]["sha256"] and (tmp_path / "answer/figure.png").is_file()


def test_a_new_package_passes_its_tests_as_written(tmp_path):
    environment = Environment(tmp_path / "environment")
    done = environment.shell("sr-hooks new-plugin bright-shift", tmp_path)
    assert done.returncode == 0, done.stderr
    package = tmp_path / "sr-hooks-bright-shift"
    assert not [found for path in package.rglob("*.py") for found in private_names(path)]
    commands = re.search(r"next: +(.*)\n", done.stdout)
    assert commands is not None
    done = environment.shell(commands[1], tmp_path)
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lam", r"taken by plugin lam \(sr_hooks"),
        ("train", "is a command"),
        ("every", "a key beside analyses"),
        ("My Own", "lower-case letters, digits, hyphens"),
        ("a/b", "lower-case"),
        ("-x", "lower-case"),
        ("", "lower-case"),
    ],
)
def test_names_that_cannot_be(tmp_path, name, message):
    with pytest.raises(OptionError, match=message):
        new_plugin(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    package = new_plugin("sr-hooks-mine", tmp_path)
    assert package == tmp_path / "sr-hooks-mine"
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    (package / "README.md").write_text("mine")
    with pytest.raises(OptionError, match="exists already"):
        new_plugin("mine", tmp_path)
    assert (package / "README.md").read_text() == "mine" and len(before) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["sr-hooks-mine"]


@pytest.mark.slow
def test_all_packages_are_installed_by_one_command(tmp_path):
    """`pip install ./plugins/*`: each is listed with its version and what it adds, and none is disabled."""
    sources_here = tmp_path / "plugins"
    for package in PACKAGES:
        source_of(package.name, sources_here)
    environment = Environment(tmp_path / "environment")
    done = environment.shell("pip install --no-deps ./plugins/*", tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    done = environment.run("sr-hooks", "plugins", "--json")
    assert done.returncode == 0 and not done.stderr, done.stderr
    listed = {entry["distribution"]: entry for entry in json.loads(done.stdout)}
    for package in PACKAGES:
        project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
        entry = listed[package.name]
        assert entry["version"] == project["version"]
        assert entry["contributes"] and not entry["faults"], entry
