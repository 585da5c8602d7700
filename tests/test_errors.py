"""docs/errors.md: a section for each class of errors, whose code makes the message that the section shows."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import sr_hooks
from sr_hooks import errors
from sr_hooks.cli import main
from sr_hooks.core import progress
from sr_hooks.demo import demo_network, photographs
from sr_hooks.training import distributed
from tests.conftest import REPOSITORY
from tests.support.memory import SmallCard

PAGE = REPOSITORY / "docs/errors.md"
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE))
KNOWN: dict[str, type[errors.SRHooksError]] = {
    name: value
    for module in (errors, progress, distributed)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, errors.SRHooksError)
}


def names_of_classes() -> set[str]:
    """The public subclasses of SRHooksError in the package and the plugins, by reading their code."""
    files = [*(REPOSITORY / "sr_hooks").rglob("*.py"), *(REPOSITORY / "plugins").glob("*/sr_hooks_*/**/*.py")]
    texts = [path.read_text("utf-8") for path in files]
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for text in texts
        if re.search(r"class \w+\(.*(Error|NoImage|Stop)", text)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    }
    names = {"SRHooksError"}
    while more := {name for name, above in bases.items() if above & names} - names:
        names |= more
    return {name for name in names if not name.startswith("_")}


def too_little_memory() -> None:
    with SmallCard(1e6):
        sr_hooks.lam(demo_network("baseline"), torch.rand(1, 3, 48, 48), window=(0, 0, 192), steps=2)


def too_slow() -> None:
    with distributed.time_limit(0):
        demo_network("baseline").module(torch.rand(1, 3, 8, 8))


def unwanted() -> None:
    with progress.stoppable(lambda: True), progress.progress_bar("LAM", 65, unit="gradients") as bar:
        bar.update()


OF_THE_TEST: dict[str, Callable[[], None]] = {  # these need a small memory, a slow network, a second request
    "ResourceError": too_little_memory,
    "TimeLimitError": too_slow,
    "Stopped": unwanted,
}


def blocks(kind: str, text: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def test_each_class_has_a_section_and_its_address():
    assert names_of_classes() == set(SECTIONS) == set(KNOWN)
    for name, kind in KNOWN.items():
        assert kind.page == f"{errors.SRHooksError.page.partition('#')[0]}#{name.lower()}"
        for part in ("**What happened.**", "**Why.**", "**What to do.**"):
            assert part in SECTIONS[name], f"{name} has no {part}"
        assert kind.__doc__


def test_a_class_of_a_plugin_has_the_page_of_its_base():
    class Missing(errors.WindowError):
        pass

    assert Missing.page == errors.WindowError.page


def test_the_help_of_the_command_names_the_page(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert errors.SRHooksError.page.partition("#")[0] in capsys.readouterr().out.split()


def equal_up_to_dots(message: str, shown: str) -> bool:
    """Whether a message is the one that the page shows, whose lines are wrapped and whose `...` stand for anything."""
    parts = " ".join(shown.split()).split("...")
    return re.fullmatch(".*".join(re.escape(part) for part in parts), message) is not None


def test_another_message_is_not_equal():
    assert equal_up_to_dots("no file a.pth in b", "no file ... in\nb\n")
    assert not equal_up_to_dots("no file a.pth in c", "no file ... in\nb\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_the_code_of_a_section_makes_its_message(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (shown,) = blocks("text", SECTIONS[name])
    for command in blocks("sh", SECTIONS[name]):
        shutil.copy(photographs()[0], "photo.png")
        assert main(shlex.split(command)[1:]) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert equal_up_to_dots(last.removeprefix("sr-hooks: "), shown), last
        return
    names: dict[str, Any] = {"__name__": "__page__"}
    first = blocks("python", PAGE.read_text("utf-8").partition("\n## ")[0])[-1]
    exec(compile(first, "errors.md", "exec"), names)
    (code,) = blocks("python", SECTIONS[name]) or [""]
    with pytest.raises(errors.SRHooksError) as raised:
        OF_THE_TEST[name]() if name in OF_THE_TEST else exec(compile(code, f"errors.md: {name}", "exec"), names)
    assert type(raised.value) is KNOWN[name]
    assert equal_up_to_dots(str(raised.value), shown), str(raised.value)
