"""The strategies of a CPU and of an accelerator: equal answers, few rounds and few waits, whatever the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.analyses.lam import question
from sr_hooks.attribution import wide_rounds
from sr_hooks.attribution.input_gradients import Gradients
from sr_hooks.attribution.path_integrals import Integrand, Key, PathIntegral, SmallRounds, Strategy
from sr_hooks.attribution.secants.strategy import SecantsOrGradients
from sr_hooks.attribution.wide_rounds import WideRounds
from tests.support.architectures import ARCHITECTURES
from tests.support.waits import Waits

pytestmark = pytest.mark.slow

WINDOWS = [(16, 20, 16), (24, 8, 12)]


class Watched:
    """A strategy, with the rounds of each of its integrands, and the waits and the most nodes of each."""

    def __init__(self, strategy: Strategy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.strategy, self.rounds, self.waits, self.gradients = strategy, list[int](), list[Waits](), list[int]()
        plain, counting = Gradients.__call__, [False]
        self._counting = counting

        def call(engine, points, *more, **given):
            if counting[0]:
                self.rounds[-1] += 1
                self.gradients[-1] += len(points)
            return plain(engine, points, *more, **given)

        monkeypatch.setattr(Gradients, "__call__", call)
        monkeypatch.setattr(question, "strategy_of", lambda device: self)

    def planned(self, *given):
        return self.strategy.planned(*given)

    def images_at_once(self, *given):
        return self.strategy.images_at_once(*given)

    def integrals(self, integrand: Integrand) -> dict[Key, PathIntegral]:
        self.rounds.append(0)
        self.gradients.append(0)
        self._counting[0] = True
        with Waits() as waits:
            answer = self.strategy.integrals(integrand)
        self._counting[0] = False
        self.waits.append(waits)
        return answer


@pytest.fixture
def both(monkeypatch):
    """Runs a LAM by both strategies: its results by that of the CPU, those by the other one, and the other one."""

    def run(network, images, **options):
        with monkeypatch.context() as patch:
            patch.setattr(question, "strategy_of", lambda device: SmallRounds())
            expected = sr_hooks.lam(network, images, **options)
        with monkeypatch.context() as patch:
            watched = Watched(WideRounds(), patch)
            found = sr_hooks.lam(network, images, **options)
        return expected, found, watched

    return run


def assert_equal(found, expected):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.arrays["nodes"], other.arrays["nodes"]) and one.window == other.window
        size = np.linalg.norm(other.attribution)
        assert size > 0 and np.linalg.norm(one.attribution - other.attribution) < 1e-5 * size
        for name in ("error", "diffusion_index", "completeness_gap", "objective_change"):
            assert one.scalars[name] == pytest.approx(other.scalars[name], rel=1e-4, abs=1e-5), name
        assert one.scalars["output_range"] == pytest.approx(other.scalars["output_range"], abs=1e-5)
        assert one.scalars["nonfinite"] == other.scalars["nonfinite"]
        assert one.verdict.split(":")[0] == other.verdict.split(":")[0]
        assert one.provenance["input_sha256"] == other.provenance["input_sha256"]


def assert_few(watched, at_most=3):
    assert watched.rounds and max(watched.rounds) <= at_most
    for rounds, waits in zip(watched.rounds, watched.waits, strict=True):
        assert waits.total <= 4 * rounds, waits.counts


@pytest.mark.slow
def test_equal_answers_on_real_weights(both, target, lr):
    expected, found, watched = both(target, lr[..., 8:40, 8:40], window=[(40, 60, 16)])
    assert_equal(found, expected)
    assert_few(watched)
    assert found[0].steps > 9, "more than the first round's"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MSRResNet", "EDSR", "RCAN", "SwinIR"])
def test_equal_answers_on_every_kind_of_network(basicsr, both, lr, name):
    torch.manual_seed(0)
    network = sr_hooks.Network.from_basicsr(name, ARCHITECTURES[name])
    images = torch.cat([lr[..., 8:32, 8:32], lr[..., 20:44, 12:36]])
    for options in ({}, {"steps": 21}) if name == "MSRResNet" else ({},):
        expected, found, watched = both(network, images, window=WINDOWS, **options)
        assert len(found) == 4
        assert_equal(found, expected)
        assert_few(watched)


class Film(nn.Module):
    """A network over clips: each frame with its neighbours, sharpened where it is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv3d(3, 3, 3, padding=1)

    def forward(self, x):
        return x + torch.relu(self.body(x.transpose(1, 2)).transpose(1, 2))


@pytest.mark.slow
def test_equal_answers_on_clips(both, lr):
    torch.manual_seed(0)
    clip = torch.stack([lr[0, :, 8:32, 8 + i : 32 + i] for i in range(4)])
    expected, found, watched = both(sr_hooks.Network(Film(), frames=4), clip, window=[(8, 8, 8)], steps=9)
    assert_equal(found, expected)
    assert_few(watched)


@pytest.mark.parametrize(
    "options",
    [{"steps": 2}, {"steps": 3}, {"steps": 6}, {"cone": "off"}, {"path": "linear:mean", "objective": "intensity"}],
    ids=str,
)
@pytest.mark.slow
def test_equal_answers_with_every_option(both, baseline, small_lr, options):
    expected, found, watched = both(baseline, small_lr, window=[(40, 40, 16)], **options)
    assert_equal(found, expected)
    assert_few(watched)


@pytest.mark.slow
def test_equal_deviations_of_a_reduced_precision(both, target, small_lr):
    expected, found, _ = both(target, small_lr, window=[(40, 40, 16)], precision="bfloat16", steps=9)
    assert found[0].precision_deviation == pytest.approx(expected[0].precision_deviation, rel=0.2)


@pytest.mark.slow
def test_images_and_windows_share_batches_and_waits(both, baseline, small_lr):
    """Three images and two windows take as many rounds, and hardly more waits, than one of each."""
    images = torch.cat([small_lr, small_lr.flip(-1), small_lr * 0.5])
    expected, found, watched = both(baseline, images, window=[(40, 40, 16), (40, 48, 16)], cone="off")
    assert_equal(found, expected)
    assert_few(watched)
    assert len(watched.rounds) == 1, "all six together"


@pytest.mark.slow
def test_any_number_of_nodes_takes_three_rounds_and_four_waits_each(both, target, small_lr):
    for options in ({"steps": 50}, {"tolerance": 1e-4}):
        _, found, watched = both(target, small_lr, window=[(40, 40, 16)], **options)
        assert found[0].steps == (50 if "steps" in options else 65)
        assert_few(watched)


def test_the_strategy_of_a_cpu_waits_often(target, small_lr, monkeypatch):
    """The counter counts: what does not matter on a CPU would be a wait for every term on an accelerator."""
    with monkeypatch.context() as patch:
        watched = Watched(SmallRounds(), patch)
        sr_hooks.lam(target, small_lr, window=(40, 40, 16), steps=21)
    assert watched.rounds[0] > 3 and watched.waits[0].total > 4 * watched.rounds[0]
    assert watched.waits[0].counts["_local_scalar_dense"] >= 20


def test_a_cpu_computes_no_gradient_that_it_does_not_use(target, small_lr, monkeypatch):
    with monkeypatch.context() as patch:
        watched = Watched(SmallRounds(), patch)
        result = sr_hooks.lam(target, small_lr, window=(40, 40, 16))
    assert watched.gradients == [result.steps]


def test_devices_choose():
    assert isinstance(question.strategy_of(torch.device("cpu")), SecantsOrGradients)
    assert isinstance(question.strategy_of(torch.device("cuda", 1)), WideRounds)


@pytest.mark.slow
def test_memory_that_runs_out_beside_the_gradients_leaves_the_strategy_of_a_cpu(both, baseline, small_lr, monkeypatch):
    def scarce(*_):
        raise torch.OutOfMemoryError("CUDA out of memory (forced by the test)")

    monkeypatch.setattr(wide_rounds._Store, "terms", scarce)
    expected, found, watched = both(baseline, small_lr, window=[(40, 40, 16)], steps=13)
    assert_equal(found, expected)
    assert watched.rounds[0] > 3


class Steps(nn.Module):
    """Jumps in brightness: an interval that holds a jump is bisected again and again."""

    def forward(self, x):
        return x + 0.1 * torch.sigmoid(400 * (x - 0.5)) + 0.1 * torch.sigmoid(900 * (x.mean((2, 3), True) - 0.47))


@pytest.mark.slow
def test_a_rule_that_needs_more_rounds_goes_on_among_its_nodes(both, small_lr):
    """The stated error is that of the nodes that were taken, whichever they are."""
    for options in ({"tolerance": 1e-3}, {"steps": 40}):
        expected, found, watched = both(sr_hooks.Network(Steps(), scale=1), small_lr, window=[(8, 8, 8)], **options)
        assert_few(watched)
        assert found[0].steps == expected[0].steps
        assert found[0].error == pytest.approx(expected[0].error, rel=0.5)
        assert ("sound" in found[0].verdict) == ("sound" in expected[0].verdict)
