"""Features and health from a real BasicSR run, in a grid, and in figures with options."""

from __future__ import annotations

import csv

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
    return downsample(read_image(photographs()[1]), 4)[..., :37, :29]


def test_the_figure_takes_all_options(lr):
    result = sr_hooks.run(
        "features", demo_network("baseline"), lr, layers=["conv_first", "body.2"], top=6, control=False
    )
    assert result.scalars["output_size"] == [148, 116]
    names = ["channels_1", "composite_0", "activation_0", "zoom"]
    figure = result.figure(panels=names, crop=(16, 20, 40, 32), zoom=(0, 0, 40, 40), overlay="grey", scale="sqrt")
    drawn = [axes for axes in figure.axes if axes.images]
    assert [len(axes.images) for axes in drawn] == [1, 1, 2, 2]
    channels, composite = drawn[:2]
    assert channels.images[0].get_array().shape == (2 * 10 + 1, 4 * 8 + 3), "2 rows of 4 maps, 10 x 8 pixels, gaps of 1"
    assert composite.get_xlim() == (4.5, 12.5) and composite.get_ylim() == (13.5, 3.5)
    with pytest.raises(sr_hooks.SRHooksError, match="no panel 'channels_7'"):
        result.figure(panels=["channels_7"])


@pytest.mark.slow
def test_a_grid_has_their_numbers_as_columns(lr, tmp_path):
    write_image(lr, tmp_path / "photo.png")
    flags = ["--image", str(tmp_path / "photo.png"), "--lr", "--out", str(tmp_path / "grid")]
    assert main(["grid", "--model", "demo:baseline", "--analyses", "features", "health", *flags]) == 0
    with (tmp_path / "grid/table.csv").open(newline="") as file:
        features, health = csv.DictReader(file)
    assert features["dead_share"] == "0.0" and int(features["channels"]) > 0
    assert float(health["max"]) > 0 and 0 < float(health["entropy"]) < 1


@pytest.mark.slow
def test_watched_in_a_basicsr_training_bit_for_bit(tmp_path):
    try:
        import_basicsr()
    except sr_hooks.SRHooksError as error:
        pytest.skip(str(error))
    runs = pytest.importorskip(
        "tests.integration.basicsr.runs", reason="started outside the repository, whose runs this borrows"
    )
    data = runs.make_data(tmp_path / "pictures")
    features = {"every": 2, "layers": ["conv_first", "body.0"], "top": 4}
    keys = {"features": features, "health": {"every": 1}, "budget": "off"}
    ends = []
    for name, block in (("plain", None), ("watched", keys)):
        changes = {"sr_hooks": block} if block else {}
        content = runs.options(data, runs.NETWORKS["MSRResNet"], train={"total_iter": 4}, **changes)
        file = runs.write(content, tmp_path / f"{name}.yml")
        model = runs.train(file, tmp_path / name, sr_hooks.analyze if block else None)
        ends.append(runs.fingerprint(model))
    assert ends[0] == ends[1]
    folders = {path.parent for path in (tmp_path / "watched").rglob("result.json")}
    assert {(folder.parent.name, folder.name) for folder in folders} == {
        *((str(iteration), "health") for iteration in (1, 2, 3, 4)),
        *((str(iteration), "features") for iteration in (2, 4)),
    }
    (last,) = (folder for folder in folders if (folder.parent.name, folder.name) == ("4", "health"))
    assert sr_hooks.load(last).arrays["history_iteration"].tolist() == [1, 2, 3, 4]
    assert all((folder / "figure.png").is_file() for folder in folders)
