"""The figure of a grid: its layout, its words, its pages; vector text in the PDF."""

from __future__ import annotations

import re
import zlib

import cv2
import numpy as np
import pytest
import torch

from sr_hooks.grid import run_grid
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import make_plan
from sr_hooks.grid.report.figure import draw_page, pages
from sr_hooks.grid.report.rows import GridRows
from sr_hooks.grid.report.warnings import comparison_warnings
from sr_hooks.grid.request import parse_request
from sr_hooks.images.metrics import psnr, quantise
from sr_hooks.results.card import Card, Verdict
from sr_hooks.results.writing import write_file
from tests.grid.report.test_tables import HOSTILE
from tests.support.grids import content, small


def drawn(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def overlaps(figure) -> list[tuple[str, str]]:
    """Words that leave the page or run into each other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in figure.texts]
    width, height = figure.bbox.width, figure.bbox.height
    outside = [(t, "page") for t, b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > width + 1 or b.y1 > height + 1]
    pairs = [
        (t, u)
        for i, (t, b) in enumerate(boxes)
        for u, c in boxes[i + 1 :]
        if min(b.x1, c.x1) - max(b.x0, c.x0) > 2 and min(b.y1, c.y1) - max(b.y0, c.y0) > 2
    ]
    return outside + pairs


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figure")
    asked = small(folder, networks=2, images=2)
    plan = make_plan(asked, device="cpu", threads=1)
    run_grid(asked, folder / "out", jobs=1)
    return plan, GridFolder(folder / "out")


@pytest.mark.slow
def test_one_row_a_network_with_its_di_under_it(grid):
    plan, place = grid
    gathered = GridRows(plan, place)
    (page,) = pages(plan)
    figure = draw_page(gathered, comparison_warnings(gathered), page)
    words = drawn(figure)
    for name in plan.request.networks:
        assert words.count(name.name) == 2  # once in each block
    for row in gathered.rows:
        assert any(text.startswith(f"DI {row.numbers['diffusion_index']:.2f}") for text in words)
        result = gathered.result(row.cell.key)
        top, left, height, width = row.cell.window
        pair = [image[..., top : top + height, left : left + width] for image in (
            torch.from_numpy(result.arrays["output"])[None], gathered.truth(row.cell)
        )]  # fmt: skip
        own = float(psnr(*map(quantise, pair), colour="y"))
        assert own != pytest.approx(row.numbers["psnr_y"], abs=0.01)  # of the window, not of the image
        assert f"window: {own:.2f} dB" in words and "SR, PSNR-Y, SSIM-Y" in words
    assert words.count("HR with the window") == 2 and words.count("LR, 24×24, for ×2") == 2
    # HR, LR, the window of HR and bicubic in each block, three pictures a row, the density on one of them, two bars
    assert len(figure.axes) == 2 * (4 + 2 * 3) + 2
    assert not overlaps(figure)


@pytest.mark.slow
def test_pictures_are_the_results_own_pixels(grid):
    plan, place = grid
    gathered = GridRows(plan, place)
    figure = draw_page(gathered, [], pages(plan)[0])
    shown = [image.get_array() for axes in figure.axes for image in axes.get_images()]
    for row in gathered.rows:
        result = gathered.result(row.cell.key)
        top, left, height, width = result.window
        patch = np.clip(result.arrays["output"][:, top : top + height, left : left + width], 0, 1).transpose(1, 2, 0)
        values = result.map / result.map.max()
        assert any(array.shape == patch.shape and np.allclose(array, patch) for array in shown)
        assert any(array.shape == values.shape and np.allclose(array, values) for array in shown)


@pytest.mark.slow
def test_the_pdf_has_text_as_text_and_no_date(grid):
    _, place = grid
    data = (place.path / "figure.pdf").read_bytes()
    assert b"CreationDate" not in data
    assert b"/Type3" not in data and b"/FontFile2" in data  # fonts inside, as outlines that print and search well
    streams = []
    for part in re.findall(rb"stream\r?\n(.*?)endstream", data, re.DOTALL):
        try:
            streams.append(zlib.decompress(part))
        except zlib.error:
            continue
    assert any(b"Tj" in part or b"TJ" in part for part in streams)
    picture = cv2.imread(str(place.path / "figure.png"))
    assert picture.shape[1] == round(7.16 * 300) and picture.std() > 20


@pytest.mark.slow
def test_a_card_stands_under_its_row(grid, tmp_path):
    plan, place = grid
    names = ("completeness", "model randomisation", "deletion and insertion", "other baselines")
    card = Card(tuple(Verdict(name, "fails" if i == 2 else "passes", "", {}) for i, name in enumerate(names)))
    checked = parse_request({**content(tmp_path, networks=2, images=2), "check": True})
    plan = make_plan(checked, device="cpu", threads=1)
    for cell in plan.cells:
        write_file(place.cache.path(cell.key) / "card.json", card.write)
    gathered = GridRows(plan, place)
    figure = draw_page(gathered, comparison_warnings(gathered), pages(plan)[0])
    told = [" ".join(text.split()) for text in drawn(figure) if "deletion" in text]
    assert len(told) == 2 * len(pages(plan)[0].blocks)
    assert all("not to be relied on: fails deletion and insertion" in text for text in told)
    assert all(f"{name} passes" in told[0] for name in names[:2]) and not overlaps(figure)
    for cell in plan.cells:
        (place.cache.path(cell.key) / "card.json").unlink()


@pytest.mark.slow
def test_images_that_are_inputs_have_no_truth_to_show(tmp_path):
    asked = small(tmp_path, networks=1, images=1, hr=False)
    summary = run_grid(asked, tmp_path / "out", jobs=1)
    assert not summary.failures and "PSNR" not in (tmp_path / "out/table.md").read_text()
    plan = make_plan(asked, device="cpu", threads=1)
    gathered = GridRows(plan, GridFolder(tmp_path / "out"))
    words = drawn(draw_page(gathered, [], pages(plan)[0]))
    assert "SR of tiny 4" in words and "LR, 48×48, for ×2" in words and not any("HR" in text for text in words)
    assert "output of the first network with the window" in (tmp_path / "out/report.html").read_text()


def test_more_than_a_page_goes_on_the_next(tmp_path):
    asked = small(tmp_path, networks=4, images=6)
    plan = make_plan(asked, device="cpu", threads=1)
    found = pages(plan)
    assert sum(len(page.blocks) for page in found) == 6 and len(found) > 1
    assert sorted(n for page in found for block in page.blocks for n in block.cells) == list(range(24))
    assert all(sum(block.height(False) for block in page.blocks) <= 9.2 for page in found)


@pytest.mark.slow
def test_hostile_and_long_names_leave_the_layout_whole(tmp_path):
    asked = content(tmp_path, networks=1, images=1)
    entry = next(iter(asked["networks"].values()))
    names = [*HOSTILE[:5], HOSTILE[7]]
    asked["networks"] = {name: {**entry, "arguments": {"features": 4 + i}} for i, name in enumerate(names)}
    asked["images"] = {HOSTILE[7]: asked["images"][0]}
    plan = make_plan(parse_request(asked), device="cpu", threads=1)
    summary = run_grid(plan.request, tmp_path / "out", jobs=1)
    assert not summary.failures
    gathered = GridRows(plan, GridFolder(tmp_path / "out"))
    figure = draw_page(gathered, comparison_warnings(gathered), pages(plan)[0])
    assert not overlaps(figure)
    assert all(not text._preprocess_math(text.get_text())[1] for text in figure.texts)
