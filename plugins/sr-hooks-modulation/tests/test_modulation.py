"""Conditions: found where they are and nowhere else; a planted switch of classes is found; constants change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sr_hooks_modulation import find_modulations
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import read_image


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def images() -> list[torch.Tensor]:
    return [read_image(path)[..., 60:108, 60:108] for path in photographs()[:4]]


class SftLayer(nn.Module):
    """As in SFT-GAN (arXiv 1804.02815): feature * (scale + 1) + shift, both from the condition."""

    def __init__(self, condition: int, features: int) -> None:
        super().__init__()
        self.scale = nn.Sequential(
            nn.Conv2d(condition, 8, 1), nn.LeakyReLU(0.1, inplace=True), nn.Conv2d(8, features, 1)
        )
        self.shift = nn.Sequential(
            nn.Conv2d(condition, 8, 1), nn.LeakyReLU(0.1, inplace=True), nn.Conv2d(8, features, 1)
        )

    def forward(self, feature: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return feature * (self.scale(condition) + 1) + self.shift(condition)


class Sft(nn.Module):
    """A network with SFT layers in residual blocks, x2, `constant` for a condition that knows nothing of the image."""

    def __init__(self, blocks: int = 2, constant: bool = False) -> None:
        super().__init__()
        self.condition = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(6, 6, 1))
        self.head, self.tail = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)
        self.sft = nn.ModuleList(SftLayer(6, 8) for _ in range(blocks))
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(blocks))
        self.constant = constant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        condition = self.condition(x)
        condition = condition * 0 + 0.5 if self.constant else condition
        feature = self.head(x)
        for sft, conv in zip(self.sft, self.convs, strict=True):
            feature = feature + conv(F.relu(sft(feature, condition), inplace=True))
        base = F.interpolate(x, scale_factor=2, mode="bilinear")
        return base + 0.1 * F.pixel_shuffle(self.tail(feature), 2)


class Switch(nn.Module):
    """Estimates noise from the image; passes the image where it is clean, and a blurred one where it is noisy."""

    def __init__(self) -> None:
        super().__init__()
        kernel = torch.ones(3, 1, 5, 5) / 25
        self.register_buffer("kernel", kernel)
        self.same = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.same.weight.copy_(torch.eye(3).view(3, 3, 1, 1))

    def smooth(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), self.kernel, groups=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        noise = (x - F.avg_pool2d(x, 3, stride=1, padding=1))[..., 1:-1, 1:-1].abs().mean(dim=(1, 2, 3), keepdim=True)
        gate = torch.sigmoid(150 * (noise - 0.05))
        gamma = torch.cat([(1 - gate).expand(-1, 3, 1, 1), gate.expand(-1, 3, 1, 1)], dim=1)
        beta = 0.001 * gate.expand(-1, 6, 1, 1)
        feature = torch.cat([self.same(x), self.smooth(x)], dim=1)
        return (feature * gamma + beta).unflatten(1, (2, 3)).sum(dim=1)


class Prompted(nn.Module):
    """As in PromptIR: a prompt, mixed of learned ones by weights from the image, is put beside the feature."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(10, 3, 3, padding=1)
        self.prompt = Prompt()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        feature = self.head(x)
        prompt = self.prompt(feature)[..., None, None].expand(-1, -1, *x.shape[-2:])
        return x + 0.1 * self.tail(torch.cat([feature, prompt], dim=1))


class Prompt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.choose, self.prompts = nn.Linear(6, 5), nn.Parameter(torch.randn(5, 4))

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        return self.choose(feature.std(dim=(2, 3))).softmax(dim=1) @ self.prompts


class Attention(nn.Module):
    """Channel attention and skips: products and sums of features, but no condition."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.gate = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.norm, self.layer_scale = nn.GroupNorm(1, 3), nn.Parameter(torch.rand(3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        feature = self.norm(self.head(x))
        return x + self.layer_scale * (feature * torch.sigmoid(self.gate(feature.mean((2, 3), keepdim=True))) + feature)


def network(module: nn.Module, scale: int = 1) -> sr_hooks.Network:
    return sr_hooks.Network(module.eval(), scale=scale, multiple=1, channels=3)


def test_the_recording_finds_every_sft_layer_and_nothing_else(images):
    for blocks in (1, 3):
        sites = find_modulations(network(Sft(blocks), 2), images[0])
        assert len(sites) == blocks and {site.gamma_at for site in sites} == {1}
    assert len(find_modulations(network(Switch()), images[0])) == 1
    assert find_modulations(network(Attention()), images[0]) == []
    assert find_modulations(demo_network("target"), images[0]) == []
    with pytest.raises(sr_hooks.SRHooksError, match="name the layers"):
        sr_hooks.run("modulation", network(Attention()), images, crop=48)


def test_a_condition_swapped_by_hand_is_that_of_the_analysis(images):
    """Another image's condition: the same as to call the layers with that image's condition branch."""
    module = Sft()
    result = sr_hooks.run("modulation", network(module, 2), images, degradations=["blur:1", "noise:20"], crop=48)
    assert result.arrays["db_own"].tolist() == np.zeros((2, 4)).tolist(), "put back, nothing changes by a bit"
    inputs = sr_hooks.analyses.make_inputs(
        network(module, 2), images, ["blur:1", "noise:20"], crop=48, clip=True, seed=0
    )
    other = module.condition(inputs.lr[1][1])
    own = module(inputs.lr[0][1]).detach()
    module.condition = _Fixed(other)
    swapped = module(inputs.lr[0][1]).detach()
    change = _psnr(swapped, inputs.gt[0]) - _psnr(own, inputs.gt[0])
    assert result.arrays["db_other_image"][1, 0] == pytest.approx(change, abs=1e-4) and abs(change) > 1e-4


class _Fixed(nn.Module):
    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value


def _psnr(output: torch.Tensor, target: torch.Tensor) -> float:
    return float(sr_hooks.images.psnr(output, target))


def test_a_planted_switch_of_classes_is_found(images):
    result = sr_hooks.run("modulation", network(Switch()), images, degradations=["blur:1", "noise:40"], crop=48)
    rows = {(row["degradation"], row["condition"]): row for row in result.scalars["rows"]}
    assert rows["noise:40", "other class"]["high"] < -1, "left noisy"
    assert abs(rows["noise:40", "other image"]["db"]) < 0.05, "any noisy image has the same condition"
    assert "other class's condition costs" in result.verdict and "on noise:40" in result.verdict
    assert result.scalars["share_between_classes"] > 0.95 and result.scalars["p"] < 0.05
    assert result.figure() is not None


def test_constant_gamma_and_beta_change_exactly_nothing(images):
    result = sr_hooks.run("modulation", network(Sft(constant=True), 2), images, crop=48)
    for name in ("own", "mean", "other_image", "other_class"):
        assert np.abs(result.arrays[f"db_{name}"]).max() == 0, name
    assert "same for every image" in result.verdict
    assert np.abs(result.arrays["db_zero"]).max() > 0, "it is a condition nevertheless"


def test_a_prompt_by_name(images):
    result = sr_hooks.run("modulation", network(Prompted()), images, layers="prompt", crop=48)
    assert np.abs(result.arrays["db_own"]).max() == 0
    assert all(np.abs(result.arrays[f"db_{name}"]).max() > 0 for name in ("mean", "other_image", "other_class", "zero"))
    assert result.arrays["conditions"].shape == (8, 4) and result.scalars["places"] == ["prompt"]
