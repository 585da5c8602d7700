"""The input range: inferred from work that a network does, not from what comes back by doing nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks import Network
from sr_hooks.cli.app import main
from sr_hooks.networks.loading.checkpoints import read_weights
from tests.conftest import REPOSITORY

SKIPS = ("nearest", "bilinear", "bicubic", "area", "conv", "shuffle")


class Drowning(nn.Module):
    """A skip connection, and a normalised part of its own that does the same whatever the size of white."""

    def __init__(self, skip: str = "nearest", scale: int = 2) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.skip, self.scale = skip, scale
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.tail = nn.Conv2d(8, 3 * scale**2, 3, padding=1)
        self.by_convolution = nn.Conv2d(3, 3 * scale**2, 1, bias=False)
        with torch.no_grad():
            self.by_convolution.weight.zero_()
            for channel in range(3 * scale**2):
                self.by_convolution.weight[channel, channel // scale**2] = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        own = self.head(x)
        own = F.relu((own - own.mean(1, keepdim=True)) / (own.std(1, keepdim=True) + 1e-6))
        return self._skipped(x) + F.pixel_shuffle(0.2 * self.tail(own), self.scale)

    def _skipped(self, x: torch.Tensor) -> torch.Tensor:
        if self.skip == "conv":
            return F.pixel_shuffle(self.by_convolution(x), self.scale)
        if self.skip == "shuffle":
            return F.pixel_shuffle(x.repeat_interleave(self.scale**2, 1), self.scale)
        return F.interpolate(x, scale_factor=self.scale, mode=self.skip)


def loaded(module: nn.Module, folder: Path) -> Network:
    torch.save(module.state_dict(), folder / "net.pth")
    return Network(module, weights=read_weights(folder / "net.pth"))


def origin(network: Network) -> str:
    return dict(network.facts.origins)["input_range"]


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_an_input_that_only_comes_back_is_no_evidence(skip: str, scale: int, tmp_path: Path) -> None:
    network = loaded(Drowning(skip, scale), tmp_path)
    assert (network.input_range, origin(network)) == (1, "guessed")


@pytest.mark.slow
def test_a_guess_stands_first_in_verdict_doctor_and_result(tmp_path: Path, small_lr: torch.Tensor, capsys) -> None:
    network = loaded(Drowning(), tmp_path)
    result = sr_hooks.lam(network, small_lr, window=(10, 10, 8), steps=5)
    assert result.verdict.startswith("input range guessed: neither net.pth")
    assert result.provenance["warnings"][0].startswith("input range guessed")
    stated = sr_hooks.lam(Network(network.module, weights=network.weights, input_range=1), small_lr, window=(10, 10, 8))
    assert "guessed" not in stated.verdict
    in_memory = sr_hooks.lam(network.module, small_lr, window=(10, 10, 8), steps=5)
    assert "guessed" not in in_memory.verdict, "1 is the documented default of a module in memory"
    target = f"{REPOSITORY}/tests/networks/probing/test_input_range.py:Drowning"
    main(["doctor", target, "--weights", str(tmp_path / "net.pth")])
    assert "input range guessed" in capsys.readouterr().out
    main(["doctor", target, "--weights", str(tmp_path / "net.pth"), "--input-range", "1"])
    assert "input range guessed" not in capsys.readouterr().out


class EightBit(nn.Module):
    """A network of white 255: it sharpens, and takes off and adds a mean of 8-bit values by biases."""

    def __init__(self) -> None:
        super().__init__()
        kernel = torch.tensor([[0.0, -0.2, 0], [-0.2, 1.8, -0.2], [0, -0.2, 0]])
        self.conv = nn.Conv2d(3, 3, 3, padding=1, padding_mode="replicate")
        with torch.no_grad():
            self.conv.weight.copy_(kernel * torch.eye(3).view(3, 3, 1, 1))
            self.conv.bias.fill_(3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv(x) + F.relu(x - 200) * 0.1) - 3.0 + F.relu(4 - x) * 1.5


def test_a_network_of_8_bit_values_is_told_by_its_work(tmp_path: Path) -> None:
    network = loaded(EightBit(), tmp_path)
    assert (network.input_range, origin(network)) == (255, "inferred")
    assert not network.warnings()


def test_a_network_that_restores_better_than_interpolation_is_not_guessed(baseline: Network, target: Network) -> None:
    for network in (baseline, target):
        unstated = Network(network.module, weights=network.weights)
        assert (unstated.input_range, origin(unstated)) == (1, "inferred") and not unstated.warnings()


def test_networks_of_basicsr_take_the_documented_range(data: Path, basicsr) -> None:
    for state in ("baseline", "target"):
        network = Network.from_basicsr("MSRResNet", {"upscale": 2}, weights=data / f"weights/msrresnet_x2_{state}.pth")
        assert network.input_range == 1 and origin(network) != "guessed" and not network.warnings()
