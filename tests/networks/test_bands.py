"""Networks of 1 to 16 channels: multispectral bands, stereo pairs, and their pictures."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks import Network
from sr_hooks.cli.app import main
from sr_hooks.cli.networks import add_network_flags, load_network
from sr_hooks.doctor import examine
from sr_hooks.errors import ImageError, NetworkError
from sr_hooks.figures.shrink import rgb_of, showing_bands

pytestmark = pytest.mark.slow


class Bands(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head, self.tail = nn.Conv2d(inside, 8, 3, padding=1), nn.Conv2d(8, outside * 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.tail(F.relu(self.head(x))), 2)


def image(channels: int) -> torch.Tensor:
    return torch.rand(1, channels, 24, 20, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("inside", "outside"), [(1, 1), (2, 2), (4, 4), (5, 3), (6, 6), (8, 8), (12, 4), (16, 16)])
def test_any_number_of_bands(inside: int, outside: int, tmp_path) -> None:
    network = Network(Bands(inside, outside))
    assert (network.channels, network.scale) == (inside, 2)
    result = sr_hooks.lam(network, image(inside), window=(8, 8, 8), steps=4)
    assert result.attribution.shape == (inside, 24, 20) and result.map.shape == (24, 20)
    whole = sr_hooks.lam(network, image(inside), window=(8, 8, 8), steps=4, cone="off")
    assert np.abs(result.attribution - whole.attribution).max() <= 1e-5 * np.abs(whole.attribution).max()
    result.save(tmp_path / "lam")
    assert (tmp_path / "lam/figure.png").is_file()
    assert sr_hooks.lam(network, image(inside), window="auto", steps=4).window[2] == 32, "of the output, 48x40"
    if inside not in (1, 3):
        rows = image(inside)[0].permute(1, 2, 0).numpy()
        again = sr_hooks.lam(network, rows, window=(8, 8, 8), steps=4)
        np.testing.assert_array_equal(again.attribution, result.attribution)


def test_another_number_is_named() -> None:
    with pytest.raises(ImageError, match=r"takes 6: give a pair of RGB images \(stereo\) as one, torch.cat"):
        sr_hooks.lam(Network(Bands(6, 6)), image(3), window=(8, 8, 8))
    with pytest.raises(ImageError, match=r"takes 8: give all 8 bands as one tensor \(N,8,h,w\)"):
        sr_hooks.lam(Network(Bands(8, 8)), image(3), window=(8, 8, 8))
    with pytest.raises(ImageError, match="5 channels"):
        sr_hooks.lam(Network(Bands(8, 8)), image(5), window=(8, 8, 8))


@pytest.mark.parametrize(("inside", "bands"), [(5, (0, 1, 9)), (4, (4, 0, 1)), (3, (5, 1, 0)), (1, (0, 1, 7))])
def test_bands_that_are_not_there_are_refused(inside: int, bands: tuple[int, int, int]) -> None:
    network = Network(Bands(inside, 3), scale=2, channels=inside, bands=bands)
    with pytest.raises(NetworkError, match=f"takes {inside} channel"):
        sr_hooks.lam(network, torch.rand(1, inside, 16, 16), window=(4, 4, 4), steps=2)


def test_pictures_show_the_chosen_bands() -> None:
    bands = image(8)[0].numpy()
    np.testing.assert_array_equal(rgb_of(bands), bands[:3])
    with showing_bands((7, 0, 4)):
        np.testing.assert_array_equal(rgb_of(bands), bands[[7, 0, 4]])
        np.testing.assert_array_equal(rgb_of(bands[:3]), bands[:3])
    np.testing.assert_array_equal(rgb_of(bands[:2]), np.repeat(bands[:2].mean(0, keepdims=True), 3, 0))
    results = [
        sr_hooks.lam(Network(Bands(8, 8), bands=chosen), image(8), window=(8, 8, 8), steps=4)
        for chosen in (None, (7, 0, 4), (7, 0, 4))
    ]
    assert results[1].provenance["network"]["bands"] == [7, 0, 4] and "bands" not in results[0].provenance["network"]
    first, second, third = (_pixels(result.figure()) for result in results)
    assert np.array_equal(second, third) and not np.array_equal(first, second)
    with pytest.raises(NetworkError, match="bands is"):
        Network(Bands(8, 8), bands=(1, 2))


def _pixels(figure) -> np.ndarray:
    return np.concatenate([np.asarray(drawn.get_array()).ravel() for axes in figure.axes for drawn in axes.images])


@pytest.mark.parametrize(("inside", "outside"), [(1, 3), (2, 2), (4, 4), (6, 6), (8, 8), (12, 4), (16, 16)])
def test_doctor_examines_any_number_of_bands(inside: int, outside: int) -> None:
    diagnosis = examine(Bands(inside, outside))
    outcomes = {finding.analysis: finding for finding in diagnosis.findings}
    assert diagnosis.facts["channels"] == inside
    for analysis in ("taps", "lam", "ddr", *(["faig"] if inside == outside else [])):
        assert outcomes[analysis].works, outcomes[analysis].message
    assert outcomes["faig"].works or outcomes["faig"].explained, "an error of our own, in words"


def test_the_command_line_takes_bands(tmp_path, capsys) -> None:
    target = f"{__file__}:Bands"
    flags = ["--arguments", "{inside: 8, outside: 8}", "--channels", "8", "--bands", "7,0,4", "--device", "cpu"]
    assert main(["doctor", target, *flags]) == 0
    assert "channels     8" in capsys.readouterr().out
    parser = argparse.ArgumentParser()
    add_network_flags(parser, positional=True)
    network = load_network(parser.parse_args([target, *flags]))
    assert (network.channels, network.bands) == (8, (7, 0, 4))
    with pytest.raises(SystemExit):
        parser.parse_args([target, "--bands", "1,2"])
    assert "give three numbers from 0" in capsys.readouterr().err
