"""The notebooks of the documentation: they run in a fresh folder, and what they hold is what they say now."""

from __future__ import annotations

import importlib.util
import json
import os
import re

import pytest

from tests.conftest import REPOSITORY

TUTORIALS = REPOSITORY / "docs/tutorials"
NOTEBOOKS = sorted(TUTORIALS.glob("*.ipynb"))
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
_SPACE = re.compile(r"[ -]+")


def outputs(notebook):
    """Of every cell of code the kinds of its outputs; and its text, numbers and the widths of columns aside."""
    kinds, texts = [], []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kinds.append({kind for output in cell.outputs for kind in output.get("data", {output.output_type: ""})})
            shown = [output.get("text") or output.data.get("text/plain", "") for output in cell.outputs]
            texts.append(_SPACE.sub(" ", _NUMBER.sub("#", "".join(shown))))
    return kinds, texts


def code_of(name):
    """The code of a notebook, without comments."""
    cells = json.loads((TUTORIALS / name).read_text(encoding="utf-8"))["cells"]
    return [re.sub(r"\s+#\s.*", "", "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]


def _seconds_of_children():
    """Of processor time that processes of this one took and that have ended: the kernels of notebooks."""
    times = os.times()
    return times.children_user + times.children_system


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_holds_what_it_says_now(path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="nbconvert is not installed (the extra `test` has it)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (the extra `test` has it)")
    monkeypatch.delenv("SR_HOOKS_DATA", raising=False)
    spec = importlib.util.spec_from_file_location("notebooks", REPOSITORY / "benchmarks/notebooks.py")
    notebooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(notebooks)
    start = _seconds_of_children()
    kinds, texts = outputs(notebooks.execute(path))
    assert 0 < _seconds_of_children() - start < 60
    stored_kinds, stored_texts = outputs(nbformat.read(path, as_version=4))
    assert kinds == stored_kinds and texts == stored_texts, f"run benchmarks/notebooks.py {path}"
    assert sum("image/png" in kind for kind in kinds) == 1


def test_notebooks_are_small_and_name_no_path_of_a_machine():
    questions = {"compare_three_networks", "is_my_network_generalising", "which_filters"}
    lessons = {"first_lam", "first_lam.zh-CN", "watch_training", "write_an_analysis"}
    assert {path.stem for path in NOTEBOOKS} == questions | lessons
    for path in NOTEBOOKS:
        assert path.stat().st_size < 100_000, path.name
        text = re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8"))
        assert not re.findall(r"/(?:home|root|tmp|usr|work|Users|opt|mnt)/|site-packages|[A-Z]:\\\\", text), path.name
        assert '"output_type": "error"' not in text
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            assert target.startswith("http") or (path.parent / target).is_file(), f"{path.name}: {target}"


def test_the_first_tutorial_is_the_same_in_chinese():
    assert code_of("first_lam.ipynb") == code_of("first_lam.zh-CN.ipynb") and len(code_of("first_lam.ipynb")) == 6
