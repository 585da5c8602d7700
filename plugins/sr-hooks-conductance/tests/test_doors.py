"""Conductance from the command line, a real BasicSR run, a grid, and in figures with options."""

from __future__ import annotations

import csv
import runpy

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
def photo() -> torch.Tensor:
    return read_image(photographs()[1])[..., 60:85, 40:71]


@pytest.fixture(scope="module")
def result(photo) -> sr_hooks.Result:
    return sr_hooks.run("conductance", demo_network("target"), photo, window=(20, 30, 12), steps=4)


@pytest.mark.slow
def test_the_figure_takes_all_options(result):
    figure = result.figure(panels=["map", "zoom"], zoom=(4, 4, 40, 40), colormap="coolwarm", width="double")
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.images[0].get_cmap().name for axes in maps] == ["coolwarm"] * 2
    assert "red adds" in maps[0].get_title() and "pixels" in maps[1].get_title()
    cropped = result.figure(panels=["output"], crop=(8, 8, 24, 30), title="", notes=False).axes[0]
    assert cropped.get_xlim() == (7.5, 37.5) and cropped.get_ylim() == (31.5, 7.5)
    assert len(result.figure(panels=["map"], overlay="grey", scale="linear").axes[0].images) == 2
    words = [text.get_text() for text in result.figure(panels=["finetune"]).axes[0].texts]
    assert all(f'"{name}."' in words[1] for name in result.scalars["finetune"]) and "requires_grad_" in words[1]
    with pytest.raises(sr_hooks.SRHooksError, match="no panel 'maps'"):
        result.figure(panels=["maps"])


@pytest.mark.slow
def test_a_mask_is_outlined_and_its_result_loads(photo, tmp_path):
    mask = np.zeros([4 * side for side in photo.shape[-2:]], bool)
    mask[20:30, 40:70] = mask[30:50, 40:50] = True
    masked = sr_hooks.run("conductance", demo_network("target"), photo, window=mask, steps=2)
    loaded = sr_hooks.load(masked.save(tmp_path / "masked"))
    assert np.array_equal(loaded.arrays["region"], mask)
    assert len(loaded.figure(panels=["output"]).axes[0].patches) == 2, "the outline, white and red"


@pytest.mark.slow
def test_the_command_gives_the_same_and_writes_the_filter_beside_the_picture(result, photo, tmp_path):
    write_image(photo, tmp_path / "photo.png")
    flags = ["--window", "20,30,12", "--steps", "4", "--figure", "width=double", "--out", str(tmp_path / "out")]
    assert main(["conductance", "--model", "demo:target", "--image", str(tmp_path / "photo.png"), *flags]) == 0
    (file,) = (tmp_path / "out").rglob("result.json")
    saved = sr_hooks.load(file.parent)
    assert saved.arrays["conductance"] == pytest.approx(result.arrays["conductance"], rel=1e-4)
    assert (file.parent / "figure.png").is_file()
    module = demo_network("target").module
    runpy.run_path(str(file.parent / "finetune.py"))["train_only"](module)
    blocks = tuple(f"{name}." for name in saved.scalars["finetune"])
    chosen = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert chosen == {name for name, _ in module.named_parameters() if name.startswith(blocks)} != set()


@pytest.mark.slow
def test_a_grid_has_a_column_for_the_agreement(photo, tmp_path):
    write_image(photo, tmp_path / "photo.png")
    (tmp_path / "grid.yml").write_text(
        "networks: {baseline: {model: 'demo:baseline'}, target: {model: 'demo:target'}}\n"
        "images: {cat: photo.png}\nwindows: 20,30,12\nhr: false\nanalyses: {conductance: {steps: 4}}\n"
    )
    assert main(["grid", str(tmp_path / "grid.yml"), "--out", str(tmp_path / "grid"), "--jobs", "1"]) == 0
    with (tmp_path / "grid/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = (tmp_path / "grid/table.md").read_text()
    assert len(rows) == 2 and all(-1 <= float(row["agreement"]) <= 1 for row in rows)
    assert all(f"{float(row['agreement']):.4g}" in table for row in rows) and "**" in table


@pytest.mark.slow
def test_watched_in_a_basicsr_training_that_does_not_change(tmp_path):
    try:
        import_basicsr()
    except sr_hooks.SRHooksError as error:
        pytest.skip(str(error))
    runs = pytest.importorskip(
        "tests.integration.basicsr.runs", reason="started outside the repository, whose runs this borrows"
    )
    data = runs.make_data(tmp_path / "pictures")
    content = runs.options(data, runs.NETWORKS["MSRResNet"], train={"total_iter": 4})
    plain = runs.train(runs.write(content, tmp_path / "plain.yml"), tmp_path / "plain")
    block = {"every": 2, "budget": "off", "window": [4, 6, 16], "steps": 4, "figure": {"width": "double"}}
    content["sr_hooks"] = {"conductance": block}
    watched = runs.train(runs.write(content, tmp_path / "x.yml"), tmp_path / "run", sr_hooks.analyze)
    assert runs.fingerprint(watched) == runs.fingerprint(plain)
    files = sorted((tmp_path / "run").rglob("conductance/result.json"))
    assert [file.parent.parent.name for file in files] == ["2", "4"]
    assert all((file.parent / name).is_file() for file in files for name in ("figure.png", "finetune.py"))
    first, last = (sr_hooks.load(file.parent) for file in files)
    assert first.scalars["window"] == [4, 6, 16, 16] and first.scalars["layers"][0]["layer"] == "body.0"
    assert not np.array_equal(first.arrays["conductance"], last.arrays["conductance"])
    content["sr_hooks"] = {"conductance": {"every": 2, "layers": "no_such.*"}}
    with pytest.raises(sr_hooks.SRHooksError, match="no_such"):
        runs.train(runs.write(content, tmp_path / "y.yml"), tmp_path / "refused", sr_hooks.analyze)
