"""Spectra of pictures and networks whose spectra are known, and the figures measured on trained networks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sr_hooks_spectra import fsds
from sr_hooks_spectra.radial import RingSums
from sr_hooks_spectra.response import impulse_response, linear_part
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.degradations import make_lr
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import blur, image_files, read_image


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def hr() -> torch.Tensor:
    return read_image(photographs()[1])[..., 40:137, 40:151]


class Blur(nn.Module):
    """The identity's layer, then a Gaussian blur of a known std as a convolution, circular at the border."""

    def __init__(self, std: float) -> None:
        super().__init__()
        axis = torch.arange(-10, 11).double()
        kernel = torch.exp(-0.5 * (axis[:, None] ** 2 + axis**2) / std**2)
        self.blur = nn.Conv2d(3, 3, 21, padding=10, padding_mode="circular", groups=3, bias=False)
        self.blur.weight = nn.Parameter((kernel / kernel.sum()).float().expand(3, 1, 21, 21).clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blur(x)


def run(module: nn.Module, image: torch.Tensor, **options) -> sr_hooks.Result:
    network = sr_hooks.Network(module, scale=1, multiple=1, channels=3)
    return sr_hooks.run("spectra", network, image, **{"control": False, "response": 0, **options})


@pytest.mark.parametrize("window", ["hann", None])
@pytest.mark.parametrize("std", [1.0, 1.4])
def test_white_noise_through_a_blur_follows_its_transfer_function(std, window):
    noise = torch.rand(4, 3, 128, 128)
    result = run(nn.Sequential(Blur(std)), noise, window=window, layers="0.blur")
    amplitude = np.exp((result.arrays["log_power"][0] - result.arrays["input"]) / 2)
    expected = np.exp(-(std**2) * result.arrays["radius"] ** 2 / 2)
    wide = result.arrays["radius"] > 0.3  # the first rings hold few frequencies
    assert np.abs(amplitude - expected)[wide].max() < 0.02


def test_stripes_of_period_four_peak_at_half_of_pi():
    stripes = (0.5 + 0.4 * torch.sin(torch.arange(128) * torch.pi / 2)).expand(1, 3, 128, 128)
    result = run(nn.Sequential(nn.Conv2d(3, 3, 1)), stripes)
    assert abs(result.arrays["radius"][int(np.nanargmax(result.arrays["input"]))] - np.pi / 2) < np.pi / 32


def test_a_network_of_one_layer_has_its_ends_alone(hr):
    result = run(nn.Conv2d(3, 3, 3, padding=1), hr)
    assert result.arrays["log_power"].shape == (0, 32) and result.figure() is not None


def test_a_ramp_needs_the_window():
    ramp = (torch.arange(64) / 64).expand(3, 64, 64)
    shares = []
    for window in ("hann", None):
        sums = RingSums(32)
        sums.add(ramp, window)
        shares += sums.shares
    assert shares[0] < 1e-5 and shares[1] > 0.02


def test_inputs_without_a_spectrum(hr):
    """Constant images have none, however rounded; NaN is named with its layer, and dropped nowhere in silence."""
    two = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1, padding_mode="replicate"))
    grey = run(two, torch.full((2, 3, 48, 50), 0.3), control=True)
    assert grey.verdict == "cannot tell: the ground truth is constant, and has no spectrum."
    assert grey.scalars["fsds"] is None and all(row["high_share"] is None for row in grey.scalars["layers"])
    assert grey.figure() is not None

    class Broken(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self[1](self[0](x) / 0)

    with pytest.raises(sr_hooks.SRHooksError, match="1 of Broken has values that are NaN or infinite"):
        run(Broken(*two), hr)
    with pytest.raises(sr_hooks.SRHooksError, match=r"no layer matches 'nope\.\*'"):
        run(two, hr, layers="nope.*")


def test_images_of_two_sizes_and_half_precision(hr):
    """Shares are means over images; a network in bfloat16 has nearly the same."""
    network = demo_network("target")
    parts = [hr[..., :64, :64], hr[..., 5:69, 10:98]]
    both = sr_hooks.run("spectra", network, parts, layers="body.3", control=False, response=0)
    alone = [sr_hooks.run("spectra", network, x, layers="body.3", control=False, response=0) for x in parts]
    shares = [each.scalars["layers"][0]["high_share"] for each in (both, *alone)]
    assert shares[0] == pytest.approx((shares[1] + shares[2]) / 2, abs=1e-6)
    rounded = sr_hooks.Network(demo_network("target").module.bfloat16(), scale=4)
    other = sr_hooks.run("spectra", rounded, parts, layers="body.3", control=False, response=0)
    assert other.scalars["layers"][0]["high_share"] == pytest.approx(shares[0], abs=0.02)


def test_fsds_of_known_pairs(hr):
    assert fsds(hr, hr) == 120
    near, far = fsds(blur(hr, [0.8]), hr), fsds(blur(hr, [2.5]), hr)
    assert 60 > near > far + 3
    assert fsds(0.5 * hr + 0.2, hr) == pytest.approx(120, abs=30), "brightness and contrast do not count"


def test_fsds_follows_its_formula(hr):
    """Written out once more with loops over the cumulative sums of both halves, at an odd height."""
    other = blur(hr, [1.0])

    def halves(image):
        array = image[0].double().numpy()
        array = (array - array.mean()) / array.std(ddof=1)
        array = np.concatenate([array, np.zeros_like(array[:, :1])], axis=1) if array.shape[1] % 2 else array
        spectrum = np.fft.rfft2(array)
        half = array.shape[1] // 2
        return [np.cumsum(np.cumsum(p, axis=1), axis=2) for p in (spectrum[:, :half], spectrum[:, half:][:, ::-1])]

    error = sum((abs(a - b) ** 2).sum() for a, b in zip(halves(other), halves(hr), strict=True))
    size = sum((abs(b) ** 2).sum() for b in halves(hr))
    assert fsds(other, hr) == pytest.approx(-10 * np.log10(error / size), abs=1e-6)


def test_the_split_of_a_linear_network_leaves_no_rest(hr):
    """With mirrored borders, for all channels mix; a bias belongs to the linear part."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 12, 3, padding=1, padding_mode="reflect")
            self.shuffle = nn.PixelShuffle(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.shuffle(self.first(x))

    network = sr_hooks.Network(Linear(), scale=2, multiple=1, channels=3)
    options = {"layers": "first", "control": False, "response": 9}
    linear = sr_hooks.run("spectra", network, hr, **options)
    assert linear.scalars["linear_share"] == pytest.approx(1, abs=1e-3)
    trained = sr_hooks.run("spectra", demo_network("baseline"), hr, layers="auto", control=False)
    assert 0.3 < trained.scalars["linear_share"] < 0.999, "an activation leaves a rest"


def test_the_linear_part_is_the_transposed_convolution_with_the_impulse_response(hr):
    network = demo_network("baseline")
    response = impulse_response(network, 9)
    lr = make_lr(hr[..., :96, :96], "clean", scale=4)[..., :20, :24]
    padded = F.pad(lr.double(), (9, 9, 9, 9), mode="reflect")
    full = F.conv_transpose2d(padded, response.kernel, stride=4)
    start = response.offset + 4 * 9
    expected = full[..., start : start + 80, start : start + 96] + response.black.repeat(1, 20, 24)
    assert torch.allclose(linear_part(response, lr, 4)[0], expected[0], atol=1e-9)


def test_what_was_learned_differs_from_shuffled_weights(hr):
    result = sr_hooks.run("spectra", demo_network("target"), hr, layers="body.*", response=0, degradation="blur:2")
    assert any(abs(row["high_share"] - row["control_high_share"]) > 0.05 for row in result.scalars["layers"])
    untrained = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1))
    with torch.no_grad():
        for part in untrained:
            part.weight.copy_(torch.full_like(part.weight, 0.1))  # shuffling leaves them as they are
    assert "cannot tell of any layer" in run(untrained, hr, control=True).verdict


def test_output_against_truth_by_band(hr):
    result = sr_hooks.run("spectra", demo_network("baseline"), hr, degradation="blur:2", response=0, control=False)
    bands = list(result.scalars["bands"].values())
    assert bands[0] > -1 > bands[-1], "blur takes high frequencies, which this network does not bring back"
    assert "lacks energy" in result.verdict and result.figure() is not None


def test_ready_made_inputs_reruns_and_mistakes(hr):
    network = demo_network("baseline")
    lr = make_lr(hr[..., :96, :96], "clean", scale=network.scale)
    one = sr_hooks.run("spectra", network, hr[..., :96, :96], lr=lr, layers="auto", bins=16)
    other = sr_hooks.run("spectra", network, hr[..., :96, :96], layers="auto", bins=16)
    assert all(np.allclose(one.arrays[k], other.arrays[k], equal_nan=True, atol=1e-3) for k in one.arrays)
    assert one.arrays["log_power"].shape == (1, 16)
    again = sr_hooks.run("spectra", network, hr[..., :96, :96], layers="auto", bins=16)
    assert all(np.array_equal(again.arrays[k], other.arrays[k], equal_nan=True) for k in other.arrays)
    with pytest.raises(sr_hooks.SRHooksError, match="bins"):
        sr_hooks.run("spectra", network, hr, bins=1)


def test_shares_measured_on_the_trained_networks():
    """REFERENCES, section 8: 0.39 and 0.58 of the energy of body.7 above pi/2."""
    data = Path(os.environ.get("SR_HOOKS_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not (data / "weights").is_dir():
        pytest.skip("the development data (shared/data, or SR_HOOKS_DATA) is not on this machine")
    files = image_files(data / "bsds500" / "val")
    for name, expected in (("baseline", 0.39), ("target", 0.58)):
        weights = data / "weights" / f"msrresnet_x2_{name}.pth"
        network = sr_hooks.Network.from_basicsr("MSRResNet", {"upscale": 2}, weights=weights)
        images = [read_image(file)[..., 96:224, 96:224] for file in files]
        result = sr_hooks.run("spectra", network, images, layers="body.7", control=False, response=0)
        assert result.scalars["layers"][0]["high_share"] == pytest.approx(expected, abs=0.03)
