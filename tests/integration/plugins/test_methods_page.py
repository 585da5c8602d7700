"""The page of methods: every command on it runs as it stands, and every falsifying test that it names is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import methods
from sr_hooks.networks import import_basicsr
from tests.support.environments import REPOSITORY

TEXT = methods.PAGE.read_text(encoding="utf-8")
PLUGINS = sorted(path.parent.name for path in (REPOSITORY / "plugins").glob("*/pyproject.toml"))
NAMES = (
    "LAM, DDR, FAIG, CAM, Baselines, Reflash dropout, A2N, blind super-resolution, PIPAL, NTIRE, SWDN, AIM, mGANprior, "
    "ClassSR, Path-Restore, STDO, usefulness, Task-driven, FDSR, AERIS, DSRL, SFT-GAN, SROBB, ISFM, FSRCNN, CARN, "
    "SRResNet, RCAN, DnCNN, ESRGAN, SRGAN"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    for package in PLUGINS:
        try:
            distribution(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed: pip install ./plugins/*")
    import_basicsr()
    folder = tmp_path_factory.mktemp("methods")
    methods.make_folder(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("command", methods.commands(), ids=methods.name_of)
def test_a_command_of_the_page_leaves_its_picture(command: str, folder: Path) -> None:
    assert methods.run(command) == 0
    with Image.open(folder / methods.name_of(command) / "figure.png") as figure:
        assert min(figure.size) > 100 and len(set(figure.convert("L").resize((64, 64)).tobytes())) > 8


def test_every_command_has_its_picture_on_the_page() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(methods/(\w+)\.png\)", TEXT)
    assert shown == [methods.name_of(command) for command in methods.commands()]
    assert sorted(shown) == sorted(path.stem for path in methods.PICTURES.glob("*.png"))


def test_every_method_of_the_sources_is_on_the_page() -> None:
    headings = " ".join(re.findall(r"^##+ (.+)$", TEXT, re.MULTILINE))
    assert [name for name in NAMES.split(", ") if name not in headings] == []


def test_every_section_names_a_falsifying_test_that_is_there() -> None:
    sections = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    for section in sections:
        (reference,) = re.findall(r"^\*Falsifying test:\*[^`]*`([\w/.-]+\.py::\w+)`", section, re.MULTILINE)
        file, name = reference.split("::")
        tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, reference
    assert len(sections) > 15
