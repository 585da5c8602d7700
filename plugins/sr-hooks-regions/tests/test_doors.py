"""Regions from a real BasicSR run, in a grid, of a clip, from a file, and in figures with options."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import psnr, quantise, read_image, write_image
from sr_hooks.networks import import_basicsr


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return read_image(photographs()[1])[..., 40:136, 40:152]


@pytest.fixture(scope="module")
def result(photo) -> sr_hooks.Result:
    return sr_hooks.run("regions", demo_network("baseline"), photo, others=[demo_network("target")], draws=9)


def test_the_figure_takes_all_options(result):
    figure = result.figure(panels=["error_0_1", "zoom"], zoom=(4, 4, 20, 20), colormap="coolwarm", width="double")
    maps = [axes for axes in figure.axes if axes.images]
    assert maps[0].get_title().startswith("error of") and len(maps) == 2
    assert {image.get_cmap().name for axes in maps for image in axes.images} == {"coolwarm"}
    cropped = result.figure(panels=["regions_0"], crop=(8, 8, 24, 30)).axes[0]
    assert cropped.get_xlim() == (7.5, 37.5) and cropped.get_ylim() == (31.5, 7.5)
    grey = result.figure(panels=["error_0_0"], overlay="grey", scale="sqrt", notes=False)
    assert len(grey.axes[0].images) == 2
    with pytest.raises(sr_hooks.SRHooksError, match="no panel 'error_9'"):
        result.figure(panels=["error_9"])


def test_colour_bars_of_all_networks_state_the_same_limit(result):
    figure = result.figure()
    bars = [axes for axes in figure.axes if axes.get_ylabel().startswith("output - truth")]
    labels = [[text.get_text() for text in axes.get_yticklabels()] for axes in bars]
    assert len(labels) == 2 and labels[0] == labels[1]
    assert float(labels[0][-1]) == pytest.approx(result.scalars["limit"], rel=1e-2) == -float(labels[0][0])


def test_a_label_image_from_a_file(photo, tmp_path):
    labels = np.zeros(photo.shape[-2:], np.float32)
    labels[:30], labels[30:, 50:] = 5 / 255, 9 / 255
    write_image(torch.from_numpy(labels)[None, None], tmp_path / "labels.png")
    network = demo_network("baseline")
    result = sr_hooks.run("regions", network, photo, regions=str(tmp_path / "labels.png"), draws=9)
    assert list(result.scalars["regions"]) == ["label 0", "label 5", "label 9"]
    with torch.no_grad():
        output = quantise(network(sr_hooks.analyses.make_inputs(network, photo, "clean").lr[0][0]))
    whole = float(psnr(output[..., :30, :], photo[..., :30, :]))
    assert result.scalars["regions"]["label 5"]["psnr"] == pytest.approx(whole, abs=1e-6)
    assert result.scalars["psnr/label 5"] == result.scalars["regions"]["label 5"]["psnr"]


@pytest.mark.slow
def test_of_a_clip_the_middle_frame_is_compared(photo):
    class Later(nn.Module):
        """Each frame, with an error of 0.2 in the left half of frame 1 alone."""

        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            error = torch.zeros_like(clip)
            error[:, 1, :, :, : clip.shape[-1] // 2] = 0.2 * (torch.arange(clip.shape[-2]).view(-1, 1) % 2)
            return clip + error

    network = sr_hooks.Network(Later(), scale=1, multiple=1, channels=3, frames=3)
    clip = torch.stack([photo[0] * 0.6 + 0.1 * t for t in range(3)])[None]
    halves = np.zeros(photo.shape[-2:], np.uint8)
    halves[:, photo.shape[-1] // 2 :] = 1
    result = sr_hooks.run("regions", network, clip, regions=halves, shift=0)
    assert result.scalars["regions"]["rest"]["psnr"] == pytest.approx(17, abs=0.1)
    assert result.scalars["regions"]["mask"]["psnr"] > 55 and result.figure() is not None


@pytest.mark.slow
def test_a_grid_has_a_column_for_each_region(photo, tmp_path):
    write_image(photo, tmp_path / "photo.png")
    flags = ["--image", str(tmp_path / "photo.png"), "--analyses", "regions", "--out", str(tmp_path / "grid")]
    assert main(["grid", "--model", "demo:baseline", "demo:target", *flags]) == 0
    table = (tmp_path / "grid/table.md").read_text()
    with (tmp_path / "grid/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and all(0 < float(row["p/edges"]) <= 1 for row in rows)
    assert all(f"{float(row['psnr/edges']):.4g}" in table for row in rows) and "**" in table


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
    labels = np.zeros((48, 48), np.float32)
    labels[:20] = 1
    write_image(torch.from_numpy(labels)[None, None], tmp_path / "labels.png")
    for number, regions in enumerate(("texture", str(tmp_path / "labels.png"))):
        keys = {"every": 2, "budget": "off", "regions": regions, "draws": 19, "figure": {"width": "double"}}
        content = runs.options(data, runs.NETWORKS["MSRResNet"], train={"total_iter": 4}, sr_hooks={"regions": keys})
        file = runs.write(content, tmp_path / f"{number}.yml")
        runs.train(file, tmp_path / f"run_{number}", sr_hooks.analyze)
        results = sorted((tmp_path / f"run_{number}").rglob("regions/result.json"))
        assert [path.parent.parent.name for path in results] == ["2", "4"]
        names = set(sr_hooks.load(results[0].parent).scalars["regions"])
        assert names == ({"rest", "mask"} if number else {"flat", "edges", "texture"} & names) and len(names) > 1
        assert all((path.parent / "figure.png").is_file() for path in results)
