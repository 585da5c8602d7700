"""CAM from the command line, a real BasicSR run, a grid, and in figures with options."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import read_image, write_image
from sr_hooks.networks import import_basicsr


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def lr() -> torch.Tensor:
    return read_image(photographs()[1])[..., 60:96, 40:84]


@pytest.mark.slow
def test_the_command_gives_the_same_and_the_figure_takes_all_options(lr, tmp_path):
    write_image(lr, tmp_path / "lr.png")
    result = sr_hooks.run("cam", demo_network("target"), lr, window=(40, 50, 16), layers=["body.3", "auto"])
    flags = ["--window", "40,50,16", "--layers", "body.3", "auto", "--figure", "overlay=grey"]
    files = ["--image", str(tmp_path / "lr.png"), "--out", str(tmp_path / "out")]
    assert main(["cam", "--model", "demo:target", *files, *flags]) == 0
    (file,) = (tmp_path / "out").rglob("result.json")
    saved = sr_hooks.load(file.parent)
    assert np.allclose(saved.arrays["map_1"], result.arrays["map_1"], atol=1e-3)
    assert (file.parent / "figure.png").is_file()
    figure = result.figure(panels=["map_1", "zoom", "control_0"], zoom=(30, 40, 40, 40), colormap="cividis")
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.images[0].get_cmap().name for axes in maps] == ["cividis"] * 3
    cropped = result.figure(panels=["output"], crop=(8, 8, 24, 30)).axes[0]
    assert cropped.get_xlim() == (7.5, 37.5)


def test_a_mask_is_outlined_in_a_loaded_result(lr, tmp_path):
    network = demo_network("target")
    mask = np.zeros([4 * side for side in lr.shape[-2:]], bool)
    mask[20:30, 40:70] = mask[30:50, 40:50] = True
    loaded = sr_hooks.load(sr_hooks.run("cam", network, lr, window=mask).save(tmp_path / "masked", figure=False))
    assert np.array_equal(loaded.arrays["region"], mask)
    (outlined,) = loaded.figure(panels=["output"]).axes
    assert {len(patch.get_path()) for patch in outlined.patches} == {7}, "an L has six corners, and the first again"


@pytest.mark.slow
def test_a_grid_has_columns_for_share_and_gap(lr, tmp_path):
    write_image(lr, tmp_path / "lr.png")
    (tmp_path / "grid.yml").write_text(
        "networks: {baseline: {model: 'demo:baseline'}, target: {model: 'demo:target'}}\n"
        "images: {cat: lr.png}\nwindows: 40,50,16\nhr: false\nanalyses: {cam: {}}\n"
    )
    assert main(["grid", str(tmp_path / "grid.yml"), "--out", str(tmp_path / "grid"), "--jobs", "1"]) == 0
    with (tmp_path / "grid/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = (tmp_path / "grid/table.md").read_text()
    assert len(rows) == 2 and all(0 < float(row["share_in_window"]) <= 1 for row in rows)
    assert all(f"{float(row['completeness_gap']):.4g}" in table for row in rows) and "**" in table


@pytest.mark.slow
def test_watched_in_a_basicsr_training(tmp_path):
    try:
        import_basicsr()
    except sr_hooks.SRHooksError as error:
        pytest.skip(str(error))
    runs = pytest.importorskip(
        "tests.integration.basicsr.runs", reason="started outside the repository, whose runs this borrows"
    )
    data = runs.make_data(tmp_path / "pictures")
    block = {"every": 2, "budget": "off", "window": [4, 6, 16], "figure": {"zoom": True}}
    content = runs.options(data, runs.NETWORKS["MSRResNet"], train={"total_iter": 4}, sr_hooks={"cam": block})
    runs.train(runs.write(content, tmp_path / "x.yml"), tmp_path / "run", sr_hooks.analyze)
    files = sorted((tmp_path / "run").rglob("cam/result.json"))
    assert [file.parent.parent.name for file in files] == ["2", "4"]
    assert sr_hooks.load(files[0].parent).scalars["window"] == [4, 6, 16, 16]
    assert all((file.parent / "figure.png").is_file() for file in files)
