"""HiResCAM on features whose answer is known; Grad-CAM, the control, loses the place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sr_hooks_cam.analysis import share_in
from torch import nn

import sr_hooks
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import Window, parse_regions, read_image


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def lr() -> torch.Tensor:
    return read_image(photographs()[1])[..., 60:108, 40:96]


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 3, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)))


def test_behind_a_linear_tail_the_sum_is_the_objective(lr):
    network = sr_hooks.Network(Linear(), scale=1, multiple=1, channels=3)
    result = sr_hooks.run("cam", network, lr, window=(20, 24, 8), layers="last:in", objective="intensity")
    with torch.no_grad():
        value = float(network(lr)[..., 20:28, 24:32].double().sum())
    assert result.scalars["layers"][0]["sum"] == pytest.approx(value, rel=1e-4)
    assert result.verdict.startswith("complete")
    covered = result.arrays["map_0"] != 0
    assert covered[19:29, 23:33].sum() == covered.sum() > 60, "the last convolution sees one pixel around the window"


def test_a_nonlinear_tail_is_first_order_only(lr):
    class Cubed(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x) ** 3)

    network = sr_hooks.Network(Cubed(), scale=1, multiple=1, channels=3)
    result = sr_hooks.run("cam", network, lr, window=(20, 24, 8), layers="first", objective="intensity")
    assert result.verdict.startswith("first order only")
    assert result.scalars["completeness_gap"] == pytest.approx(2, rel=1e-3), "three times the value, less the value"


def test_grad_cam_loses_the_window_that_hirescam_keeps(lr):
    shares = []
    for network in (demo_network("baseline"), demo_network("target")):
        for window in ((10, 10, 16), (40, 60, 16), (60, 20, 16)):
            scalars = sr_hooks.run("cam", network, lr, window=window).scalars
            shares.append((scalars["share_in_window"], scalars["control_share_in_window"], scalars["chance"]))
    hires, control, chance = np.median(np.array(shares), axis=0)
    assert hires > 0.5 > 5 * chance > control


def test_the_objective_of_a_silent_layer_is_not_explained(lr):
    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dead = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 0 * self.dead(x)

    network = sr_hooks.Network(Silent(), scale=1, multiple=1, channels=3)
    assert sr_hooks.run("cam", network, lr, window=(8, 8, 8), layers="dead").verdict.startswith("cannot tell")


def test_share_in_a_window_by_area():
    values = np.ones((4, 4))
    assert share_in(Window(0, 0, 8, 8), values, (16, 16)) == pytest.approx(0.25)
    assert share_in(Window(2, 0, 4, 16), values, (16, 16)) == pytest.approx(0.25), "half cells count half"
    mask = np.zeros((16, 16), bool)
    mask[:4, :4] = True
    (region,), _ = parse_regions(mask)
    assert share_in(region, values, (16, 16)) == pytest.approx(1 / 16)


def test_several_layers_tokens_and_mistakes(lr):
    network = demo_network("baseline")
    result = sr_hooks.run("cam", network, lr, window=(10, 10, 8), layers="body.*")
    assert len(result.scalars["layers"]) > 3 and result.figure() is not None
    with pytest.raises(sr_hooks.SRHooksError, match="leaves the output"):
        sr_hooks.run("cam", network, lr, window=(1000, 0, 8))


def test_images_of_two_sizes_and_maps_that_say_nothing_about_where(lr):
    network = demo_network("target")
    one, two = sr_hooks.run("cam", network, [lr, lr[..., :30, :41]], window=(20, 24, 16))
    assert [result.arrays["map_0"].shape for result in (one, two)] == [(48, 56), (30, 41)]
    assert np.allclose(one.arrays["map_0"], sr_hooks.run("cam", network, lr, window=(20, 24, 16)).arrays["map_0"])
    pair = sr_hooks.run("cam", network, lr, window="20,24,16;40,50,8")
    assert [result.scalars["window"] for result in pair] == [[20, 24, 16, 16], [40, 50, 8, 8]]
    whole = sr_hooks.run("cam", network, lr, window=(0, 0, 4 * 48, 4 * 56))
    assert whole.verdict.startswith("cannot tell where the window comes from"), "all of the weight, and all of the area"

    class Broken(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) / 0

    with pytest.raises(sr_hooks.SRHooksError, match="NaN or infinite"):
        sr_hooks.run("cam", sr_hooks.Network(Broken(), scale=1, multiple=1, channels=3), lr, window=(8, 8, 8))
