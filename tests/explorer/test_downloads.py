"""What is shown comes as files: figures, and results that load."""

from __future__ import annotations

import io
import zipfile

import pytest
import torch
from PIL import Image

import sr_hooks
from sr_hooks.errors import ResultError
from sr_hooks.explorer.downloads import ShownAnswers
from sr_hooks.explorer.scene import Answer, Question, Scene
from sr_hooks.figures.options import FigureOptions
from sr_hooks.images.windows import Window
from sr_hooks.networks.network import Network
from tests.support.networks import Tiny


@pytest.fixture(scope="module")
def answers(small_lr):
    torch.manual_seed(0)
    scene = Scene({"a/../b": Network(Tiny()), "a .. b": Network(Tiny())}, small_lr)
    return scene.answers(Question(Window(8, 8, 16, 16)))


@pytest.mark.slow
def test_the_archive_holds_results_that_load_and_their_figures(answers, tmp_path):
    shown = ShownAnswers()
    file = shown.file(shown.add([*answers, Answer("broken", error="no")], FigureOptions(overlay="red")), "all.zip")
    with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
        archive.extractall(tmp_path)
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert len(folders) == 2 and all("/" not in name and ".." not in name[:2] for name in folders)
    for folder, answer in zip(folders, answers, strict=True):
        names = {path.name for path in (tmp_path / folder).iterdir()}
        assert {"result.json", "arrays.npz", "figure.png", "figure.pdf"} <= names
        result = sr_hooks.load(tmp_path / folder)
        assert result.scalars["window"] == answer.result.scalars["window"]
        assert result.provenance["figure"] == {"overlay": "red"}
    assert "figure" not in answers[0].result.provenance  # the next download has its own options


@pytest.mark.slow
def test_a_figure_comes_as_png_and_as_pdf(answers):
    shown = ShownAnswers()
    key = shown.add(answers, FigureOptions(panels=("map",), width=2))
    png, pdf = shown.file(key, "0.png"), shown.file(key, "1.pdf")
    assert png.name == "lam_a_.._b.png" and Image.open(io.BytesIO(png.data)).width == 600
    assert pdf.data.startswith(b"%PDF")


def test_what_is_not_there_is_refused(answers):
    shown = ShownAnswers()
    key = shown.add([Answer("broken", error="no")], FigureOptions())
    for name in ("0.png", "1.png", "-1.png", "x", "0.exe", "../all.zip"):
        with pytest.raises(ResultError, match="no file"):
            shown.file(key, name)
    for _ in range(40):
        shown.add(answers, FigureOptions())
    with pytest.raises(ResultError, match="not remembered"):
        shown.file(key, "all.zip")
