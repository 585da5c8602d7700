"""Spectra from the command line, a real BasicSR run, a grid, of a clip, and in figures with options."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from torch import nn

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
    return read_image(photographs()[1])[..., 40:136, 40:152]


@pytest.mark.slow
def test_the_command_gives_the_same_and_the_figure_takes_all_options(photo, tmp_path):
    write_image(photo, tmp_path / "photo.png")
    result = sr_hooks.run("spectra", demo_network("target"), photo, layers="body.*", bins=16, response=7)
    flags = ["--layers", "body.*", "--bins", "16", "--response", "7", "--figure", "panels=depth,output"]
    files = ["--image", str(tmp_path / "photo.png"), "--out", str(tmp_path / "out")]
    assert main(["spectra", "--model", "demo:target", *files, *flags]) == 0
    (file,) = (tmp_path / "out").rglob("result.json")
    saved = sr_hooks.load(file.parent)
    assert np.allclose(saved.arrays["log_power"], result.arrays["log_power"], atol=1e-4, equal_nan=True)
    assert (file.parent / "figure.png").is_file()
    titles = [axes.get_title() for axes in result.figure(panels=["split", "depth"], width="double").axes]
    assert titles == ["linear part and rest (HyRA)", "high frequencies by depth"]
    (depth,) = result.figure(panels=["depth"]).axes
    drawn = depth.lines[0].get_ydata()
    assert drawn == pytest.approx([100 * row["high_share"] for row in result.scalars["layers"]])
    with pytest.raises(sr_hooks.SRHooksError, match="colormap is no option of the figure of spectra"):
        result.figure(colormap="cividis")


@pytest.mark.slow
def test_a_grid_has_a_column_for_fsds(photo, tmp_path):
    write_image(photo, tmp_path / "photo.png")
    flags = ["--image", str(tmp_path / "photo.png"), "--analyses", "spectra", "--out", str(tmp_path / "grid")]
    assert main(["grid", "--model", "demo:baseline", "demo:target", *flags, "--jobs", "1"]) == 0
    with (tmp_path / "grid/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = (tmp_path / "grid/table.md").read_text()
    assert len(rows) == 2 and all(0 <= float(row["deepest_high_share"]) <= 1 for row in rows)
    assert all(f"{float(row['fsds']):.4g}" in table for row in rows) and "**" in table


def test_the_frames_of_a_clip_count_as_channels(photo):
    """Frame 1 alone is striped with period 4: a third of the energy of a layer that passes the clip on."""

    class Passing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv3d(3, 3, 1, bias=False)
            self.layer.weight = nn.Parameter(torch.eye(3).view(3, 3, 1, 1, 1))

        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            return self.layer(clip.transpose(1, 2)).transpose(1, 2)

    stripes = 0.5 + 0.4 * torch.sin(torch.arange(64) * torch.pi / 2).expand(1, 3, 64, 64)
    clip = torch.stack([torch.full_like(stripes, 0.5), stripes, torch.full_like(stripes, 0.5)], dim=1)
    network = sr_hooks.Network(Passing(), scale=1, multiple=1, channels=3, frames=3)
    result = sr_hooks.run("spectra", network, clip, layers="layer", control=False)
    peak = result.arrays["radius"][int(np.nanargmax(result.arrays["log_power"][0]))]
    assert abs(peak - np.pi / 2) < np.pi / 32 and result.figure() is not None
    alone = sr_hooks.run("spectra", sr_hooks.Network(nn.Sequential(nn.Identity()), scale=1, channels=3, multiple=1),
                         stripes, layers="0", control=False, response=0)  # fmt: skip
    third = alone.arrays["log_power"][0] - np.log(3)
    assert result.arrays["log_power"][0][15:17] == pytest.approx(third[15:17], abs=1e-3)


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
    block = {"every": 2, "budget": "off", "layers": "body.*", "response": 5, "window": None}
    content = runs.options(data, runs.NETWORKS["MSRResNet"], train={"total_iter": 4}, sr_hooks={"spectra": block})
    runs.train(runs.write(content, tmp_path / "x.yml"), tmp_path / "run", sr_hooks.analyze)
    files = sorted((tmp_path / "run").rglob("spectra/result.json"))
    assert [file.parent.parent.name for file in files] == ["2", "4"]
    first, last = (sr_hooks.load(file.parent) for file in files)
    assert first.provenance["options"]["window"] is None and first.scalars["images"] == 2
    assert not np.array_equal(first.arrays["log_power"], last.arrays["log_power"])
    assert all((file.parent / "figure.png").is_file() for file in files)
