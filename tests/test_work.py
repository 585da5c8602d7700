"""How much is computed, counted and not timed: a change that makes an analysis do more work fails here.

Multiply-accumulates are half of what torch's own formulas give for convolutions and matrix products, but for the
blurs of LAM's path. The expected numbers follow from the methods (so many gradients of a forward and an
input-backward each), not from a run. Before each answer the network is observed: five small images go through
the network, one alone and four in a batch.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import sr_hooks
from sr_hooks.analyses.lam import integration, question
from sr_hooks.attribution.input_gradients import Gradients
from sr_hooks.attribution.path_integrals import SmallRounds
from sr_hooks.attribution.secants import strategy as secants
from sr_hooks.inference.calibration import ExecutionPlan

pytestmark = pytest.mark.slow

SIDE, FEATURES, BLOCKS, SCALE = 48, 8, 3, 4
OBSERVED, OBSERVED_SIDE = 5, 6  # images of the observation, and their side


@pytest.fixture
def network(basicsr, monkeypatch):
    """MSRResNet x4, small, in a fixed layout and one by one."""
    torch.manual_seed(0)
    monkeypatch.setattr(integration, "calibrate", lambda *a: ExecutionPlan())
    given = {"num_feat": FEATURES, "num_block": BLOCKS, "upscale": SCALE}
    return sr_hooks.Network.from_basicsr("MSRResNet", given)


@pytest.fixture
def image():
    return torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


class Work(TorchDispatchMode):
    """Counts multiply-accumulates as they are dispatched, backwards too."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if any(isinstance(a, FakeTensor) for a in args):  # a recording computes nothing
            return out
        formula = flop_registry.get(function.overloadpacket)
        blur = formula and any(isinstance(a, torch.Tensor) and a.ndim == 4 and 9 in a.shape[2:] for a in args)
        if formula and not blur:
            self.count += formula(*args, **(kwargs or {}), out_val=out) // 2
        return out


def counted(run):
    """The answer and its multiply-accumulates, once everything that is remembered is remembered."""
    run()
    with Work() as work:
        answer = run()
    return answer, work.count


def forward_work(height: int, width: int) -> int:
    """MSRResNet x4 by hand: convolutions at 1, 2 and 4 times the input's size."""
    f, area = FEATURES, height * width
    return area * 9 * (3 * f + 2 * BLOCKS * f * f + f * 4 * f + 4 * f * 4 * f + 16 * f * f + 16 * f * 3)


def backward_work(height: int, width: int) -> int:
    """To the input: as much again, convolution by convolution."""
    return forward_work(height, width)


def observation_work() -> int:
    return OBSERVED * forward_work(OBSERVED_SIDE, OBSERVED_SIDE)


def test_forward_work_is_that_of_the_hand_count(network, image):
    _, work = counted(lambda: network(image).detach())
    assert work == forward_work(SIDE, SIDE)


def test_lam_without_the_cone_is_its_gradients_and_one_picture(network, image):
    result, work = counted(lambda: sr_hooks.lam(network, image, window=(90, 90, 16), steps=11, cone="off"))
    assert result.steps == 11
    gradients = 11 * (forward_work(SIDE, SIDE) + backward_work(SIDE, SIDE))
    assert work == gradients + forward_work(SIDE, SIDE) + observation_work()


def test_lam_takes_no_more_than_its_cone(network, image):
    result, work = counted(lambda: sr_hooks.lam(network, image, window=(90, 90, 16), steps=11, picture="window"))
    cone = result.scalars["cone"]["work"] * forward_work(SIDE, SIDE)
    assert result.scalars["cone"]["work"] < 0.2
    box = result.scalars["cone"]["input"]
    own = forward_work(box["height"], box["width"])  # the network's own output there, for the picture and to compare
    assert work <= 1.02 * 2 * 11 * cone + own + observation_work()  # a forward and a backward each


def test_lam_on_a_larger_image_is_no_more_work(network):
    def lam(side):
        image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
        place = (2 * side, 2 * side, 16)
        return counted(lambda: sr_hooks.lam(network, image, window=place, steps=5, picture="window"))[1]

    assert lam(64) == lam(128) == lam(192)


def test_windows_side_by_side_cost_a_backward_each_and_one_forward(network, image):
    windows = [(90, 90, 16), (90, 92, 16), (92, 90, 16)]
    (one, *_), single = counted(lambda: sr_hooks.lam(network, image, window=windows[:1], steps=5, picture="window"))
    results, work = counted(lambda: sr_hooks.lam(network, image, window=windows, steps=5, picture="window"))
    assert len(results) == 3 and one.steps == 5
    assert work < 2.5 * single  # each alone: 3


def test_lam_takes_as_many_gradients_as_the_tolerance_needs_and_none_twice(network, image, monkeypatch):
    taken: list[float] = []
    plain = Gradients._batch

    def noting(self, points, *more):
        taken.extend(float(point.double().sum()) for point in points)
        return plain(self, points, *more)

    monkeypatch.setattr(Gradients, "_batch", noting)
    monkeypatch.setattr(question, "strategy_of", lambda device: SmallRounds())
    result = sr_hooks.lam(network, image, window=(90, 90, 16))
    assert len(taken) == result.steps == len(set(np.round(taken, 9))) <= 21


def test_secants_take_the_work_that_they_state(network, image, monkeypatch):
    runs, compute = [], secants.compute

    def counting(gradients, point, windows, neighbours=(), **options):
        runs.append((float(point.double().sum()), sum(len(each.windows) for each in neighbours)))
        return compute(gradients, point, windows, neighbours, **options)

    monkeypatch.setattr(secants, "compute", counting)
    result = sr_hooks.lam(network, image, window=(90, 90, 16))
    forwards, backwards = len(runs), sum(count for _, count in runs)
    assert result.scalars["rule"] == "secants" and result.steps == math.ceil((forwards + backwards) / 2) <= 21
    assert len({round(place, 9) for place, _ in runs}) >= forwards - 1  # the middle may be computed twice


class Calls:
    """Counts a module's forwards and the images in them."""

    def __init__(self, module: nn.Module) -> None:
        self.images: Counter[tuple[int, ...]] = Counter()
        self.handle = module.register_forward_pre_hook(lambda m, args: self.images.update({tuple(args[0].shape): 1}))

    def total(self) -> int:
        return sum(shape[0] * count for shape, count in self.images.items())


def test_ddr_runs_each_patch_once_and_nothing_past_the_tap(network, image):
    hr = torch.rand(4, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    given = {"patches": 4, "patch": 24, "degradations": ["clean", "noise:20"], "layers": ["body.1"], "tsne": 0}
    sr_hooks.ddr(network, hr, **given)
    first, past = Calls(network.module.conv_first), Calls(network.module.upconv1)
    sr_hooks.ddr(network, hr, **given)
    first.handle.remove()
    past.handle.remove()
    # Beside the eight: what layers there are, and how large a feature is; not more with more patches.
    assert first.total() <= 8 + 3 + OBSERVED and past.total() <= 1 + OBSERVED


def test_faig_takes_a_forward_and_a_backward_a_node_and_input(network, image):
    import copy

    target = sr_hooks.Network(copy.deepcopy(network.module))
    with torch.no_grad():
        for parameter in target.module.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    hr = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    given = {"images": hr, "degradations": ["blur:2", "noise:20"], "steps": 5}
    result, work = counted(lambda: sr_hooks.faig(network, target, **given))
    evaluations = result.scalars["gradients"]
    side = 64 // SCALE
    # A backward to the weights costs a forward's work for the weights and one for the features.
    assert work <= 1.02 * evaluations * 3 * forward_work(side, side) + 8 * forward_work(side, side)
