"""A cone whose activations are computed twice: the same values and gradients in less memory, all of it given back."""

from __future__ import annotations

import gc

import pytest
import torch

import sr_hooks
from sr_hooks.attribution.objectives.by_name import make_objective
from sr_hooks.attribution.receptive_field.cone import Cone
from sr_hooks.attribution.receptive_field.segments import SegmentedCone
from sr_hooks.attribution.receptive_field.trace import record
from sr_hooks.images.windows import Window
from tests.attribution.receptive_field.test_cone import OPERATIONS
from tests.support.architectures import ARCHITECTURES
from tests.support.memory import SmallCard

pytestmark = pytest.mark.slow
SIZE = (24, 32)


def recorded(module: torch.nn.Module, windows: list[tuple[int, ...]]) -> tuple[Cone, dict]:
    """The cone of some windows together, and what no input changes in it."""
    objective = make_objective("gradient")
    module.eval().requires_grad_(False)
    trace = record(
        lambda x: [y := module(x), *(objective(y, x, Window(*window)) for window in windows)],
        module,
        [(1, 3, *SIZE)],
        torch.device("cpu"),
    )
    cone = Cone(trace, [1 + number for number in range(len(windows))], shown=0)
    return cone, cone.prepare(dict([*module.named_parameters(), *module.named_buffers()]))


def gradients(cone: Cone | SegmentedCone, fixed: dict, box: tuple[int, ...]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What is shown, and the gradients of all results from one forward."""
    torch.manual_seed(1)
    x = torch.rand(1, 3, *SIZE)[..., box[0] : box[1], box[2] : box[3]].clone().requires_grad_()
    shown, values = cone(x, fixed)
    return shown.detach(), [torch.autograd.grad(value.sum(), x, retain_graph=True)[0] for value in values]


def assert_equal_twice(module: torch.nn.Module, windows: list[tuple[int, ...]]) -> SegmentedCone:
    cone, fixed = recorded(module, windows)
    segmented = SegmentedCone(cone)
    assert len(segmented.borders) > 2 and segmented.borders[-1] == len(cone.steps)
    shown, plain = gradients(cone, fixed, cone.inputs)
    again, twice = gradients(segmented, fixed, cone.inputs)
    assert torch.equal(shown, again)
    assert all(float((a - b).norm()) <= 1e-6 * float(b.norm()) for a, b in zip(twice, plain, strict=True))
    return segmented


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation(name):
    torch.manual_seed(2)
    assert_equal_twice(OPERATIONS[name](), [(9, 12, 4, 5), (0, 0, 3, 3)])


@pytest.mark.parametrize(
    ("name", "deeper"), [("RRDBNet", {"num_block": 2}), ("SwinIR", {"depths": [2, 2, 2], "num_heads": [2, 2, 2]})]
)
def test_real_networks_take_less(name, deeper):
    """Several gradients from one forward; and without a collection of circles nothing is left."""
    module = sr_hooks.Network.from_basicsr(name, ARCHITECTURES[name] | deeper).module
    windows = [(16, 20, 8, 8), (0, 0, 6, 6)]
    assert_equal_twice(module, windows)
    cone, fixed = recorded(module, windows[:1])
    peaks = []
    for way in (cone, SegmentedCone(cone)):
        gc.collect()
        gc.disable()
        try:
            with SmallCard() as card:
                result = gradients(way, fixed, cone.inputs)
                peaks.append(card.peak)
                del result
                assert card.live == 0
        finally:
            gc.enable()
    assert peaks[1] < 0.7 * peaks[0]
