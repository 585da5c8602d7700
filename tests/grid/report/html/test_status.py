"""What the report says of numbers and cells, without a browser; and how large its small pictures may become."""

from __future__ import annotations

import base64
import dataclasses
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sr_hooks.analyses.number_glossary import NUMBERS, explanation
from sr_hooks.demo import photographs
from sr_hooks.figures.data_uri import compact_uri, density_uri, map_uri
from sr_hooks.grid.plan import Cell
from sr_hooks.grid.report.html.status import status_of
from sr_hooks.grid.report.html.thumbnails import MOST_BYTES, PatchSheets, map_thumbnail
from sr_hooks.grid.report.rows import MapImages, Row
from sr_hooks.grid.report.warnings import ComparisonWarning
from sr_hooks.images.image import read_image
from sr_hooks.results.card import FAILS, PASSES

LAM = Cell(**{f.name: None for f in dataclasses.fields(Cell)} | {"analysis": "lam", "image": 0, "window": (0, 0, 8, 8)})
FAIG = dataclasses.replace(LAM, analysis="faig", image=None, window=None)


def row(verdict, cell=LAM, **more):
    return Row(0, cell, "net", "photo", verdict=verdict, **more)


def card(word):
    return SimpleNamespace(word=word, overall="what the checks say")


def decoded(uri):
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


WARNING = ComparisonWarning("doubt", "It is doubtful.", frozenset({0}), single=True)
CELLS = {
    "sound": (row("sound: converged to an estimated error of 2.1% (12 gradients)"), [], "sound", "sound"),
    "a map out of range": (row("out of range: along the path 3 values were NaN."), [], "doubtful", "out of range"),
    "a map that is not repeatable": (row("not repeatable: two forwards differ; sound: x"), [], "doubtful", None),
    "a warning of the grid": (row("sound: converged"), [WARNING], "doubtful", "sound"),
    "a warning on the comparison": (
        row("sound: converged"),
        [dataclasses.replace(WARNING, single=False)],
        "sound",
        "sound",
    ),
    "a check that fails": (row("sound: converged", card=card(FAILS)), [], "doubtful", "sound"),
    "checks that pass": (row("sound: converged", card=card(PASSES)), [], "sound", "sound"),
    "a failure": (row("", failure="out of luck"), [], "failed", "failed"),
    "FAIG, sound": (row("sound: the integral has settled", FAIG), [], "sound", "sound"),
    "FAIG, swapped": (row("swapped? the target does worse than the baseline", FAIG), [], "doubtful", "swapped?"),
    "an answer": (row("features separate by degradation at 2 of 2 layers", FAIG), [], "stated", None),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_marked_as_its_verdict_warnings_and_checks_say(name):
    cell, warnings, level, word = CELLS[name]
    status = status_of(cell, warnings)
    assert status.level == level and word in (None, status.word)
    assert bool(status.sign) == (level != "stated")
    assert (cell.failure or cell.verdict) in status.reason
    assert cell.card is None or cell.card.overall in status.reason


def test_numbers_are_explained_in_whole_sentences():
    for name, text in NUMBERS.items():
        assert text[0].isupper() or text.startswith("p-value"), name
        assert text.endswith(".") and 20 < len(text) < 300 and "  " not in text, name
    assert explanation("chi/body.15") == NUMBERS["chi"] and explanation("nobody knows") == ""


def test_an_analysis_explains_its_own_numbers(monkeypatch):
    from sr_hooks.analyses.lam.analysis import Lam

    monkeypatch.setattr(Lam, "explains", {"error": "Something of its own."})
    assert explanation("error", "lam") == "Something of its own."
    assert explanation("error") == explanation("error", "ddr") == NUMBERS["error"]


def result(count, side=32, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    return SimpleNamespace(arrays={"thumbnails": noise, "labels": np.zeros(count, int)})


@pytest.mark.slow
def test_patches_of_all_networks_stay_within_the_bound():
    sheets = PatchSheets()
    for seed in range(12):  # the most that results hold, of noise, which compresses worst
        sheets.of(result(1024, seed=seed))
    total = sum(len(sheet.uri) for sheet in sheets.sheets.values())
    assert 0.5 * MOST_BYTES < total <= MOST_BYTES and 1 <= len(sheets.sheets) < 12
    assert sheets.of(result(1024, seed=11)) is None  # no room, and no error


def test_networks_that_saw_the_same_patches_share_a_sheet_in_the_order_of_the_points():
    sheets = PatchSheets()
    flat = np.repeat(np.arange(7, dtype=np.uint8) * 36, 3 * 16 * 16).reshape(7, 3, 16, 16)
    same = SimpleNamespace(arrays={"thumbnails": flat, "labels": np.zeros(7, int)})
    first, second = sheets.of(same), sheets.of(same)
    assert first is not None and first is second and len(sheets.sheets) == 1
    picture = decoded(first.uri)
    for index in range(7):
        top, left = (index // first.columns) * 16, (index % first.columns) * 16
        assert abs(float(picture[top : top + 16, left : left + 16].mean()) - 36 * index) < 4


@pytest.mark.parametrize(
    "thumbnails",
    [None, np.zeros((0, 3, 1, 1), np.uint8), np.zeros((4, 3, 8, 8), np.float32), np.zeros((5, 3, 8, 8), np.uint8)],
)
def test_without_fitting_thumbnails_there_is_no_sheet(thumbnails):
    arrays = {"labels": np.zeros(4, int)} | ({} if thumbnails is None else {"thumbnails": thumbnails})
    assert PatchSheets().of(SimpleNamespace(arrays=arrays)) is None


def test_a_page_of_four_networks_three_large_photographs_and_two_windows_is_below_15_megabytes():
    """Inputs of 640x640, larger than the page shows them: what a cell adds to the page, 24 times."""
    photo = read_image(photographs()[0])[0].numpy()
    large = np.clip(cv2.resize(photo.transpose(1, 2, 0), (640, 640)).transpose(2, 0, 1), 0, 1)
    y, x = np.mgrid[:640, :640] - 320
    spread = np.random.default_rng(0).random((640, 640)) * np.exp(-(x**2 + y**2) / 20000)  # far wider than most maps
    shown = MapImages(spread, spread, large, large)
    pictures = [compact_uri(large), map_uri(spread), density_uri(spread, large), map_thumbnail(shown)]
    pictures.append(compact_uri(large[:, :128, :128]))
    assert 24 * sum(map(len, pictures)) < 12e6
    assert all(re.match(r"data:image/(png|jpeg);base64,", picture) for picture in pictures)


def test_a_dot_of_a_map_stays_seen_in_its_thumbnail():
    values = np.zeros((1000, 1000), np.float32)
    values[500, 300] = 1.0
    shown = MapImages(values, values, np.full((3, 1000, 1000), 0.5, np.float32), np.zeros((3, 8, 8), np.float32))
    picture = decoded(map_thumbnail(shown)).astype(int)
    assert max(picture.shape) == 144
    assert np.abs(picture[71:74, 42:45] - picture[10, 10]).max() > 60
