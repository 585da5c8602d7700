"""The files for contributors: what they name exists, versions agree, and the map of the house is not stale."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import pytest
import yaml

import sr_hooks
from sr_hooks.core.public_names import MOVED
from tests.conftest import REPOSITORY

_spec = importlib.util.spec_from_file_location("house_map", REPOSITORY / "docs/house_map.py")
house_map = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = house_map  # dataclasses look for their module there
_spec.loader.exec_module(house_map)

CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"
CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


def named_paths() -> list[str]:
    """Every path that CONTRIBUTING.md names in backquotes, in a link, or in a command."""
    commands = " ".join(re.findall(r"```sh\n(.*?)```", CONTRIBUTING, re.DOTALL))
    words = re.findall(r"`([^`\s]+)`", CONTRIBUTING) + re.findall(r"\]\(([^)\s]+)\)", CONTRIBUTING) + commands.split()
    suffixes = (".py", ".md", ".cfg", ".yaml", ".yml", ".toml", "/")
    paths = [word for word in words if word.startswith((".ci/", "tests/")) or word.endswith(suffixes)]
    return sorted({path for path in paths if path != "__init__.py" and "://" not in path})


@pytest.mark.parametrize("path", named_paths())
def test_contributing_names_what_exists(path):
    assert (REPOSITORY / path).exists()


def test_contributing_names_a_file_to_copy_for_each_thing_to_add():
    rows = re.findall(r"^\| an? (.+?) \| (.+?) \| (.+?) \|", CONTRIBUTING, re.MULTILINE)
    assert {row[0] for row in rows} == {"objective", "degradation", "network loader", "analysis", "figure"}
    for _, copied, test in rows:
        assert re.search(r"`\S+(\.py|/)`", copied) and re.search(r"`\S+\.py`", test)


def test_contributing_and_the_house_describe_every_folder_on_its_floor():
    rows = re.findall(r"^\| (\d) \| (.+?) \|", CONTRIBUTING, re.MULTILINE)
    described = {(name, int(floor)) for floor, names in rows for name in re.findall(r"`sr_hooks/(\w+)", names)}
    floors = house_map.read_floors()
    assert described == {(name, number) for number, floor in enumerate(floors, 1) for name in floor}
    text = (REPOSITORY / "docs/house.md").read_text(encoding="utf-8")
    for number, floor in enumerate(floors, 1):
        section = re.search(rf"^## Floor {number}: (.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)[1]
        assert [name for name in floor if f"`{name}" not in section] == []


def test_the_changelog_has_every_move():
    table = CHANGELOG.partition("### Moved")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^\| `(\S+)` \| `(\S+)` \|$", table, re.MULTILINE)) == MOVED


def test_one_version_everywhere():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    first = re.search(r"^## (\S+)", CHANGELOG, re.MULTILINE)[1]
    page = re.search(r"version = \{(\S+)\}", (REPOSITORY / "docs/citing.md").read_text(encoding="utf-8"))[1]
    assert {setup["metadata"]["version"], citation["version"], first, page} == {sr_hooks.__version__}


def test_the_citation_has_what_the_format_asks_for():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["authors"] == [{"name": "The sr_hooks developers"}]
    for entry in (citation, *citation["references"]):
        assert {"title", "authors"} <= set(entry)
    assert citation["message"]


def test_ci_calls_the_one_script_and_the_commit_hooks_use_its_tools():
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    commands = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in commands and os.access(REPOSITORY / ".ci/run", os.X_OK)
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert [hook["entry"].split()[0] for hook in hooks] == ["ruff", "ruff", "mypy", "lint-imports", "python"]
    assert all(hook["language"] == "system" for hook in hooks) and hooks[-1]["entry"].endswith("pytest -m quick")


def test_the_map_of_the_house_is_not_stale():
    assert house_map.drawn_data() == house_map.present_data(), "redraw the map: python docs/house_map.py"


def test_a_map_with_another_import_is_stale(tmp_path):
    data = house_map.present_data()
    changed = {**data, "imports": {**data["imports"], "images": []}}
    picture = tmp_path / "house.svg"
    picture.write_text(house_map.draw(changed), encoding="utf-8")
    assert house_map.drawn_data(picture) == changed != data


def test_the_map_has_every_folder_and_no_box_covers_another_or_leaves_the_picture():
    root = ElementTree.fromstring(house_map.PICTURE.read_text(encoding="utf-8"))
    labels = [text.text for text in root.iter(f"{SVG}text")]
    data = house_map.drawn_data()
    assert set(data["imports"]) <= set(labels)
    boxes = [
        tuple(float(box.get(key)) for key in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}rect")
        if box.get("rx")
    ]
    assert len(boxes) == len(data["imports"])
    assert all(x >= 0 and y >= 0 and x + w <= house_map.WIDTH for x, y, w, _ in boxes)
    for (x, y, w, h), (u, v, a, b) in combinations(boxes, 2):
        assert x + w <= u or u + a <= x or y + h <= v or v + b <= y


def test_an_arrow_is_left_out_only_where_others_lead():
    imports = {"a": ["b", "c", "d"], "b": ["c"], "c": [], "d": []}
    assert house_map.needed_arrows(imports) == [("a", "b"), ("a", "d"), ("b", "c")]


def test_the_table_of_plugins_has_one_line_for_each():
    """README's table and the folders of plugins/: the same names, each once, each with a question and a link."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[`([\w-]+)`\]\(plugins/([\w-]+)\) \| (.+\?) \|$", readme, re.MULTILINE)
    assert all(name == link for name, link, _ in rows)
    folders = sorted(path.parent.name for path in (REPOSITORY / "plugins").glob("*/pyproject.toml"))
    assert sorted(name for name, *_ in rows) == folders
