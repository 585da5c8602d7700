"""LAM by secants: as true as stated, equal with and without a cone, and gradients where secants do not hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import sr_hooks
from sr_hooks.analyses.lam import question
from sr_hooks.attribution.path_integrals import SmallRounds
from sr_hooks.attribution.secants import strategy as secants
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.images.image import downsample, read_image


class Small(nn.Module):
    """A residual network of 8 channels; `act` is what stands between its convolutions."""

    def __init__(self, act=None):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.act = act or nn.ReLU(inplace=True)

    def forward(self, x):
        return x + 0.3 * self.last(self.act(self.first(x)))


class Cut(Small):
    """Of half its output no gradient comes back."""

    def forward(self, x):
        with torch.no_grad():
            lost = self.last(self.act(self.first(x)))
        return x + 0.3 * self.last(self.act(self.first(x))) + 0.3 * lost


class Checkpointed(Small):
    """Its forward runs a part again in the backward, without the slopes."""

    def forward(self, x):
        return x + checkpoint(lambda h: self.last(self.act(h)), self.first(x), use_reentrant=False)


class Written(Small):
    """What a rectifier took is written to afterwards."""

    def forward(self, x):
        h = self.first(x)
        y = torch.relu(h)
        h.mul_(0.5).add_(1)
        return self.last(y + h)


@pytest.fixture
def by_gradients(monkeypatch):
    def run(*given, **options):
        with monkeypatch.context() as patch:
            patch.setattr(question, "strategy_of", lambda device: SmallRounds())
            return sr_hooks.lam(*given, **options)

    return run


def image(side=24):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(3))


def relative(one, other):
    return float(np.linalg.norm(one.attribution - other.attribution) / np.linalg.norm(other.attribution))


def test_a_rectified_network_is_explained_by_secants():
    result = sr_hooks.lam(Small(), image(), window=(8, 8, 8))
    assert result.scalars["rule"] == "secants" and "secants at the cost of" in result.verdict
    assert result.scalars["completeness_gap"] < 1e-5
    assert sr_hooks.lam(Small(), image(), window=(8, 8, 8), steps=9).scalars["rule"] == "gradients"


def test_other_networks_have_the_gradients_that_they_had(by_gradients):
    for network in (Small(nn.GELU()), Cut(), Checkpointed(nn.ReLU()), Written()):
        result = sr_hooks.lam(network, image(), window=(8, 8, 8), cone="off")
        before = by_gradients(network, image(), window=(8, 8, 8), cone="off")
        assert result.scalars["rule"] == "gradients" and result.steps == before.steps
        assert np.array_equal(result.attribution, before.attribution)


def test_with_and_without_a_cone_the_answers_are_equal():
    network, lr = demo_network("target"), image(32)
    on, off = (sr_hooks.lam(network, lr, window=(8, 8, 8), cone=cone) for cone in ("auto", "off"))
    assert isinstance(on.scalars["cone"], dict) and {on.scalars["rule"], off.scalars["rule"]} == {"secants"}
    assert np.array_equal(on.arrays["nodes"], off.arrays["nodes"]) and relative(on, off) < 1e-4


def test_windows_together_are_what_each_is_alone():
    network, windows = demo_network("target"), [(8, 8, 8), (40, 36, 12)]
    together = sr_hooks.lam(network, image(32), window=windows)
    for window, result in zip(windows, together, strict=True):
        alone = sr_hooks.lam(network, image(32), window=window)
        assert np.array_equal(result.arrays["nodes"], alone.arrays["nodes"]) and relative(result, alone) < 1e-4


def test_little_room_gives_equal_maps(monkeypatch, by_gradients):
    """What operations took at the nodes is forgotten and computed again; where not even four nodes fit, gradients."""
    network, lr = demo_network("target"), image(32)
    expected = sr_hooks.lam(network, lr, window=(8, 8, 8))
    runs, compute = [], secants.compute
    monkeypatch.setattr(secants, "compute", lambda *given, **more: runs.append(given) or compute(*given, **more))
    sr_hooks.lam(network, lr, window=(8, 8, 8))
    usual, stored = len(runs), secants._STORED
    nodes = next(iter([compute(*runs[0])[0].size]))
    monkeypatch.setattr(secants, "_STORED", 4 * nodes)
    result = sr_hooks.lam(network, lr, window=(8, 8, 8))
    assert np.array_equal(result.attribution, expected.attribution) and len(runs) > 2 * usual
    monkeypatch.setattr(secants, "_STORED", 3 * nodes)
    assert sr_hooks.lam(network, lr, window=(8, 8, 8)).scalars["rule"] == "gradients"
    assert stored > 4 * nodes


@pytest.mark.slow
@pytest.mark.parametrize("which", ["baseline", "target"])
def test_the_stated_error_is_true_with_less_work(which, by_gradients):
    network, work = demo_network(which), [0, 0]
    for path in photographs():
        lr = downsample(read_image(path), network.scale)[..., 20:60, 16:56].contiguous()
        for window in [(60, 84, 16), (90, 28, 12)]:
            result = sr_hooks.lam(network, lr, window=window)
            before = by_gradients(network, lr, window=window)
            reference = by_gradients(network, lr, window=window, steps=129)
            assert result.scalars["rule"] == "secants" and result.error <= 0.04
            assert relative(result, reference) <= 1.2 * result.error + 0.005  # 129 gradients have an error of their own
            work = [work[0] + result.steps, work[1] + before.steps]
    assert work[0] < 0.9 * work[1]
