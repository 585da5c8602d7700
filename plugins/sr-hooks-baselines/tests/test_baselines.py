"""Maps from all baselines: the closed form of a linear network, and equal maps where baselines are equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

import sr_hooks
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import downsample, read_image, write_image


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def lr() -> torch.Tensor:
    return downsample(read_image(photographs()[1]), 4)[..., 10:42, 10:50]


class Linear(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 3, 7, padding=3)
        torch.manual_seed(1)
        nn.init.normal_(self.weight)


def test_of_a_linear_network_the_maps_are_weight_times_image_less_baseline(lr):
    network = sr_hooks.Network(Linear(), scale=1, multiple=1, channels=3)
    paths = ["linear:black", "linear:maxdistance", "linear:mean"]
    result = sr_hooks.run("baselines", network, lr, window=(8, 8, 12), objective="intensity", baselines=paths)
    x = lr.clone().requires_grad_()
    (weight,) = torch.autograd.grad(network.module(x)[..., 8:20, 8:20].sum(), x)
    starts = [0 * lr, (lr < 0.5).float(), lr.mean(dim=(2, 3), keepdim=True)]
    maps = [(weight * (lr - start))[0].sum(0).abs().numpy() for start in starts]
    for i, expected in enumerate(maps):
        values = np.abs(result.arrays[f"attribution_{i}"].sum(axis=0))
        assert np.allclose(values, expected, atol=1e-5 * expected.max())
    expected = spearmanr(maps[0].ravel(), maps[1].ravel()).statistic
    assert result.scalars["rank_correlations"][0][1] == pytest.approx(expected, abs=1e-3)
    assert result.scalars["least_local_correlation"] < 0.7, "inside the window the three maps have nothing in common"
    assert "not on the pixels" in result.verdict or result.verdict.startswith("the map depends")


def test_equal_baselines_give_equal_maps(lr, tmp_path):
    write_image(torch.zeros(1, 3, 32, 32), tmp_path / "black.png")
    result = sr_hooks.run(
        "baselines", demo_network("baseline"), lr, window=(40, 40, 16), baselines="linear:black", folder=str(tmp_path)
    )
    assert result.scalars["least_correlation"] == pytest.approx(1, abs=1e-6)
    assert result.scalars["least_local_correlation"] == pytest.approx(1, abs=1e-6)
    assert result.scalars["di_spread"] < 1e-4
    assert result.verdict.startswith("the baselines agree on where")


def test_all_baselines_of_a_real_network_have_their_row_and_picture(lr, tmp_path):
    write_image(lr.flip(-1), tmp_path / "other.png")
    network = demo_network("target")
    result = sr_hooks.run("baselines", network, lr, window=(40, 40, 16), folder=str(tmp_path), tolerance=0.2)
    rows = result.scalars["baselines"]
    assert [row["baseline"].partition(":")[2].partition("/")[0] for row in rows[1:3]] == ["black", "mean"]
    assert len(rows) == 7 and rows[-1]["baseline"] == f"expected:{tmp_path}"
    blur = sr_hooks.lam(network, lr, window=(40, 40, 16), tolerance=0.2)
    assert rows[0]["diffusion_index"] == pytest.approx(blur.diffusion_index, rel=1e-6)
    indices = [row["diffusion_index"] for row in rows]
    assert result.scalars["di_spread"] == pytest.approx(max(indices) - min(indices)) and max(indices) > min(indices)
    figure = result.figure()
    words = " ".join(text.get_text() for axes in figure.axes for text in [axes.title, *axes.get_yticklabels()])
    assert "expected:" in words and str(tmp_path.parent) not in words
    result.figure(panels=["correlations", "map_0"])


def test_one_baseline_is_no_comparison(lr):
    with pytest.raises(sr_hooks.SRHooksError, match="at least two"):
        sr_hooks.run("baselines", demo_network("target"), lr, window=(40, 40, 16), baselines="blur")
