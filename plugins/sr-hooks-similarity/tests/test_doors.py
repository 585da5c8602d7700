"""Similarity from the command line, a real BasicSR run, a grid, and in figures with options."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import downsample, read_image, write_image
from sr_hooks.networks import import_basicsr


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def lr() -> torch.Tensor:
    return downsample(read_image(photographs()[1]), 4)


OPTIONS = {"patch": 12, "patches": 16, "halves": 10}
FLAGS = [part for key, value in OPTIONS.items() for part in (f"--{key}", str(value))]


@pytest.mark.slow
def test_the_command_gives_the_same_and_the_figure_takes_all_options(lr, tmp_path):
    write_image(lr, tmp_path / "lr.png")
    torch.save({"params": demo_network("target").module.state_dict()}, tmp_path / "other.pth")
    layers = ["conv_first", "body.3", "auto"]
    flags = ["--layers", *layers, "--other", str(tmp_path / "other.pth"), *FLAGS, "--figure", "colormap=cividis"]
    files = ["--image", str(tmp_path / "lr.png"), "--out", str(tmp_path / "out")]
    assert main(["similarity", "--model", "demo:baseline", *files, *flags]) == 0
    (file,) = (tmp_path / "out").rglob("result.json")
    saved = sr_hooks.load(file.parent)
    result = sr_hooks.run(
        "similarity", demo_network("baseline"), read_image(tmp_path / "lr.png"), other=demo_network("target"),
        layers=layers, **OPTIONS,
    )  # fmt: skip
    assert np.array_equal(saved.arrays["excess"], result.arrays["excess"]) and (file.parent / "figure.png").is_file()
    assert saved.scalars["pairs"] == 3, "each layer with its own"
    figure = result.figure(panels=["excess", "depth"], colormap="coolwarm", width="double", notes=False)
    assert [axes.images[0].get_cmap().name for axes in figure.axes if axes.images] == ["coolwarm"]
    assert len([axes for axes in figure.axes if axes.get_title()]) == 2
    with pytest.raises(sr_hooks.SRHooksError, match="no panel 'deep'"):
        result.figure(panels=["deep"])


@pytest.mark.slow
def test_a_grid_has_a_column_for_the_excess(lr, tmp_path):
    write_image(lr, tmp_path / "lr.png")
    torch.save({"params": demo_network("baseline").module.state_dict()}, tmp_path / "other.pth")
    (tmp_path / "grid.yml").write_text(
        "networks: {baseline: {model: 'demo:baseline'}, target: {model: 'demo:target'}}\n"
        "images: {cat: lr.png}\nhr: false\n"
        "analyses: {similarity: {other: other.pth, layers: [body.3, auto], patch: 12, patches: 16, halves: 10}}\n"
    )
    assert main(["grid", str(tmp_path / "grid.yml"), "--out", str(tmp_path / "grid"), "--jobs", "1"]) == 0
    with (tmp_path / "grid/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = (tmp_path / "grid/table.md").read_text()
    assert [float(row["mean_similarity"]) > 1 - 1e-9 for row in rows] == [True, False], "itself, and another one"
    assert all(f"{float(row['mean_excess']):.4g}" in table for row in rows) and "**" in table


@pytest.mark.slow
def test_two_iterations_of_a_basicsr_training(tmp_path):
    """Unasked, with the network before the first step; `other` names a checkpoint of the run by a relative path."""
    try:
        import_basicsr()
    except sr_hooks.SRHooksError as error:
        pytest.skip(str(error))
    runs = pytest.importorskip(
        "tests.integration.basicsr.runs", reason="started outside the repository, whose runs this borrows"
    )
    data = runs.make_data(tmp_path / "pictures")
    block = {"every": 2, "budget": "off", "layers": ["conv_first", "auto"], "patch": 8, "patches": 16, "halves": 10}
    train = {"total_iter": 4, "optim_g": {"lr": 0.05}}
    content = runs.options(
        data, runs.NETWORKS["MSRResNet"], train=train, sr_hooks={"similarity": block},
        logger={"save_checkpoint_freq": 2},
    )  # fmt: skip
    runs.train(runs.write(content, tmp_path / "x.yml"), tmp_path / "run", sr_hooks.analyze)
    first, last = (sr_hooks.load(f.parent) for f in sorted((tmp_path / "run").rglob("similarity/result.json")))
    assert "before this run" in first.provenance["other"]["name"]
    assert first.scalars["mean_similarity"] > last.scalars["mean_similarity"] > 0
    (middle,) = (tmp_path / "run").rglob("net_g_2.pth")
    (final,) = (tmp_path / "run").rglob("net_g_4.pth")
    arguments = {key: value for key, value in runs.NETWORKS["MSRResNet"].items() if key != "type"}
    network = sr_hooks.Network.from_basicsr("MSRResNet", arguments, weights=final)
    images = [read_image(path) for path in sorted((data / "val/lq").glob("*.png"))]
    between = sr_hooks.run("similarity", network, images, other=str(middle), layers="auto", patch=8, patches=16)
    assert last.scalars["same_layer"][1]["similarity"] < between.scalars["same_layer"][0]["similarity"] < 1
    content["sr_hooks"] = {"similarity": {**block, "other": f"run/{middle.relative_to(tmp_path / 'run')}"}}
    runs.train(runs.write(content, tmp_path / "y.yml"), tmp_path / "second", sr_hooks.analyze)
    again = sorted((tmp_path / "second").rglob("similarity/result.json"))
    similar = sr_hooks.load(again[0].parent)
    assert similar.scalars["mean_similarity"] == pytest.approx(1, abs=1e-5), "the second run repeats the first"
