"""All code on the pages: Python runs, or names what it needs; commands parse; option files and grid files are valid.

Blocks that other tests run: those with a picture and README's first (`test_docs.py`), errors.md (`test_errors.py`),
write_your_own.md (`integration/install`), the detector of lam.md (`attribution/objectives/test_downstream.py`), the
figure of plugins.md (`figures/test_map_view.py`). A block that cannot run here says why in a comment above it,
`<!-- not run: REASON -->`; then its names must exist.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
import yaml

import sr_hooks
from sr_hooks.cli import app
from sr_hooks.cli.command_list import summaries
from sr_hooks.core import registered
from sr_hooks.core.registry import registry
from sr_hooks.grid.request import parse_request
from sr_hooks.images import write_image
from sr_hooks.training.config import parse_block
from tests.conftest import REPOSITORY
from tests.support.pages import scene

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings it
    import tomli as tomllib

PAGES = {path.stem: path for path in sorted((REPOSITORY / "docs").glob("*.md"))}
PAGES |= {path.parent.name: path for path in sorted((REPOSITORY / "plugins").glob("*/README.md"))}
PAGES["README"] = REPOSITORY / "README.md"
ELSEWHERE = {"errors", "write_your_own", "plugins", "README"}
BLOCK = re.compile(r"^(?:<!-- (?P<mark>[^\n]*) -->\n+)?(?P<fence>```)(?P<kind>\w+)\n(?P<code>.*?)^```$", re.M | re.S)


def blocks(name: str, kind: str) -> list[tuple[str, str]]:
    """(comment above, code) of each block of a page."""
    text = PAGES[name].read_text(encoding="utf-8")
    return [(match["mark"] or "", match["code"]) for match in BLOCK.finditer(text) if match["kind"] == kind]


def with_blocks(*kinds: str) -> list[str]:
    return [name for name in PAGES if any(blocks(name, kind) for kind in kinds)]


def to_run(name: str) -> list[str]:
    """The Python blocks of a page that this file runs."""
    if name in ELSEWHERE:
        return []
    return [
        code
        for mark, code in blocks(name, "python")
        if not mark.startswith(("picture: ", "first", "not run: ")) and "corners" not in code
    ]


@contextmanager
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All packages of plugins/, registered as if they were installed; imported modules are forgotten afterwards."""
    before = set(sys.modules)
    with ExitStack() as stack:
        for project in sorted((REPOSITORY / "plugins").glob("*/pyproject.toml")):
            monkeypatch.syspath_prepend(str(project.parent))
            points = tomllib.loads(project.read_text("utf-8"))["project"]["entry-points"]["sr_hooks"]
            for name, target in points.items():
                if name not in {entry["plugin"] for entry in registry().listing()}:
                    plugin = importlib.import_module(target.partition(":")[0])
                    stack.enter_context(registered(plugin, name=name))
        analyses = registry().contributions("register_analyses")
        monkeypatch.setattr(app, "summaries", lambda: {**summaries(), **dict.fromkeys(analyses, "")})
        try:
            yield
        finally:
            for name in set(sys.modules) - before:
                if name.startswith("sr_hooks_"):
                    del sys.modules[name]


def undefined(code: str) -> list[str]:
    """What a block imports from sr_hooks, or takes from it, and what is not there."""
    wrong = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sr_hooks":
            if node.module not in ("sr_hooks.adapters.lightning", "sr_hooks.adapters.mmagic"):  # they need their host
                there = importlib.import_module(node.module)
                wrong += [f"{node.module}.{name.name}" for name in node.names if not hasattr(there, name.name)]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sr_hooks":
            wrong += [] if hasattr(sr_hooks, node.attr) else [f"sr_hooks.{node.attr}"]
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", with_blocks("python"))
def test_names_of_python_blocks_exist(name: str) -> None:
    for mark, code in blocks(name, "python"):
        assert not undefined(code), code
        if mark.startswith("not run"):
            assert re.fullmatch(r"not run: \w.{15,}", mark), f"{name}: say why in a sentence, not {mark!r}"


def test_a_name_that_is_not_there_is_seen() -> None:
    assert undefined("import sr_hooks\nsr_hooks.lamm(1)") == ["sr_hooks.lamm"]
    assert undefined("from sr_hooks.images import read_images") == ["sr_hooks.images.read_images"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PAGES if to_run(name)])
def test_python_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, with names in common, in a folder that holds what they name."""
    monkeypatch.chdir(tmp_path)
    with packages(monkeypatch):
        imported = {key: module for key, module in sys.modules.items() if re.fullmatch(r"sr_hooks_\w+", key)}
        names = {**imported, **scene(name), "__name__": "__page__"}
        for number, code in enumerate(to_run(name)):
            exec(compile(code, f"{name}: block {number}", "exec"), names)


def commands(code: str) -> list[list[str]]:
    """The words of each command of a shell block: continued lines are joined, comments and variables resolved."""
    text = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)\s+#.*$", "", code))
    for variable, value in re.findall(r"^(\w+)='(.*)'$", text, flags=re.M):
        text = text.replace(f"${variable} ", f"{' '.join(shlex.quote(word) for word in value.split())} ")
    lines = [part for line in text.splitlines() for part in re.split(r" && | > | >> ", line) if part.strip()]
    return [shlex.split(line) for line in lines if not re.match(r"\w+='", line)]


def refused(words: list[str]) -> str | None:
    """Why a command of a page would not start; None for commands that this test does not know."""
    if words[0] == "torchrun":
        words = ["sr-hooks", *words[words.index("sr_hooks") + 1 :]]
    if words[0].endswith("sr-hooks") and words[1:2] != ["train"]:
        try:
            unknown = app._parser(words[1:]).parse_known_args(words[1:])[1]
        except sr_hooks.SRHooksError as error:
            return str(error)
        return f"unknown: {unknown}" if unknown else None
    if words[0].endswith("sr-hooks"):
        return None if "-opt" in words else "train without -opt"
    files = [word for word in words[1:] if word.startswith(("benchmarks/", "tests/", "./plugins/"))]
    missing = [file for file in files if not (REPOSITORY / file).exists()]
    return f"missing: {missing}" if missing else None


@pytest.mark.slow
def test_commands_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every flag of every command that a page shows is one that the command has."""
    wrong, seen = [], set()
    with packages(monkeypatch):
        for name in with_blocks("sh"):
            new = set()
            for words in [words for _, code in blocks(name, "sh") for words in commands(code)]:
                if "new-plugin" in words:
                    new.add(words[-1])
                if words[0] == "sr-hooks" and words[1] not in new:
                    seen.add(words[1])
                if words[0] != "sr-hooks" or words[1] not in new:
                    problem = refused(words)
                    wrong += [f"{name}: {shlex.join(words)}: {problem}"] if problem else []
        assert not wrong, "\n".join(wrong)
        assert seen >= {"lam", "ddr", "faig-verify", "grid", "compare", "explore", "srga", "erf", "cem"}
        assert refused(["sr-hooks", "lam", "--windoww", "1,2,3"]) and refused(["python", "benchmarks/none.py"])


@pytest.mark.slow
def test_option_files_and_grid_files_are_valid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    count = 0
    with packages(monkeypatch):
        for name in PAGES:
            contents = [yaml.safe_load(code) for _, code in blocks(name, "yaml")]
            contents += [tomllib.loads(code) for _, code in blocks(name, "toml")]
            text = re.sub(r"\s+", " ", PAGES[name].read_text("utf-8"))
            contents += [yaml.safe_load(line) for line in re.findall(r"`(sr_hooks: \{[^`]*\})`", text)]
            for content in contents:
                count += 1
                if "networks" in content:
                    files = {key: str(tmp_path / "a.png") for key in content["images"]}
                    write_image(torch.zeros(3, 256, 256), tmp_path / "a.png")
                    assert parse_request({**content, "images": files}, where=name).networks
                elif name != "write_your_own":  # its analysis is the page's own
                    parse_block(content["sr_hooks"], where=name, base=tmp_path)
    assert count >= 20
