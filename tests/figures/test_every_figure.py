"""Every figure in every width: no text below 6 points, none outside of the canvas; panels by name."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import sr_hooks
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.errors import OptionError
from sr_hooks.figures.options import LEAST_POINTS
from sr_hooks.grid import run_grid
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import make_plan
from sr_hooks.grid.report.figure import draw_page, pages
from sr_hooks.grid.report.rows import GridRows
from sr_hooks.grid.report.warnings import comparison_warnings
from sr_hooks.images.image import read_image
from tests.support.figures import cut_texts, small_texts
from tests.support.grids import small
from tests.support.networks import Tiny

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
WIDTHS = ("single", "double", None)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results():
    photos = [read_image(path)[..., 64:160, 64:160] for path in photographs()[:2]]
    names = ("clean", "blur:2", "noise:20")
    ddr = sr_hooks.ddr(Tiny(2), photos, degradations=names, layers=["head", "tail"], patch=32, patches=4, tsne=0)
    faig = sr_hooks.faig(demo_network("baseline"), demo_network(), images=photos, degradations=names[1:], steps=2)
    proof = sr_hooks.verify(faig, photos, tops=(0.01, 0.1), random_seeds=1, input_points=0)
    lam = sr_hooks.lam(demo_network(), torch.rand(3, 32, 32), window=[(8, 8, 16), (40, 40, 16)], steps=3)
    return {"ddr": ddr, "faig": faig, "verify": proof, "lam": lam[0], "compare": sr_hooks.compare(*lam)}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["ddr", "faig", "verify", "lam", "compare"])
def test_texts_fit(results, name, width):
    figure = results[name].figure(width=width)
    assert not small_texts(figure, LEAST_POINTS) and not cut_texts(figure)


@pytest.mark.parametrize(
    ("name", "panels"),
    [("ddr", ["depth", "scatter_2"]), ("faig", ["scores"]), ("verify", ["strengths", "curves_2"]), ("lam", ["zoom"])],
)
def test_panels_by_name_and_one_that_is_none(results, name, panels):
    whole, part = results[name].figure(), results[name].figure(panels=panels, notes=False, title="")
    assert 0 < len(part.axes) < len(whole.axes) or name == "verify"
    assert part._suptitle is None and part.sr_hooks_notes.startswith(results[name].verdict)
    with pytest.raises(OptionError, match="no panel 'nothing'"):
        results[name].figure(panels=["nothing"])


@pytest.mark.parametrize("panels", [None, ["top"], ["scores"], ["scores", "top"]])
def test_the_lowest_panel_of_faig_names_the_layers(results, panels):
    axes = results["faig"].figure(panels=panels).axes
    named = [[text.get_text() for text in each.get_xticklabels()] for each in axes]
    assert named[-1][0] == "conv_first" and not any(named[:-1])


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    request = small(folder, networks=3, images=1, windows="8,8,16")
    run_grid(request, folder / "out", jobs=1)
    return request, GridFolder(folder / "out")


@pytest.mark.parametrize("columns", ["networks", "rows"])
@pytest.mark.parametrize("width", ["single", "double", 5])
@pytest.mark.parametrize("more", [{}, {"look": "paper", "zoom": True, "title": "Three networks"}, {"notes": False}])
def test_texts_of_a_grid_fit(grid, columns, width, more):
    request, folder = grid
    asked = dataclasses.replace(request, figure={"columns": columns, "width": width, **more})
    plan = make_plan(asked, device="cpu", threads=1)
    rows = GridRows(plan, folder)
    assert not any(row.failure for row in rows.rows), "figure options change no cell's key"
    for page in pages(plan):
        figure = draw_page(rows, comparison_warnings(rows), page)
        assert not small_texts(figure, LEAST_POINTS) and not cut_texts(figure)
        words = " ".join(" ".join(text.get_text() for text in figure.texts).split())
        for row in rows.rows:
            numbers = row.window_numbers
            assert f"DI {row.numbers['diffusion_index']:.2f}" in words and f"{numbers['psnr_y']:.2f}" in words
            assert f"{numbers['ssim_y']:.4f}" in words


@pytest.mark.parametrize("networks", [1, 2, 3])
def test_a_grid_of_few_networks_fills_the_width(tmp_path, networks):
    request = dataclasses.replace(
        small(tmp_path, networks=networks, images=1, windows="8,8,16"),
        figure={"columns": "networks", "width": "double", "look": "paper", "notes": False},
    )
    run_grid(request, tmp_path / "out", jobs=1)
    plan = make_plan(request, device="cpu", threads=1)
    rows = GridRows(plan, GridFolder(tmp_path / "out"))
    figure = draw_page(rows, comparison_warnings(rows), pages(plan)[0])
    boxes = [axes.get_position() for axes in figure.axes if axes.get_images()]
    assert max(box.x1 for box in boxes) - min(box.x0 for box in boxes) > 0.95
    assert not small_texts(figure, LEAST_POINTS) and not cut_texts(figure)
    maps = [axes for axes in figure.axes if any(image.get_array().ndim == 2 for image in axes.get_images())]
    assert len(maps) == networks and all(len(axes.get_images()) == 2 for axes in maps)  # in red over the image
