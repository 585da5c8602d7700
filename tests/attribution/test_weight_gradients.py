"""Gradients of the weights: their layout in memory changes how fast they come, not what they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sr_hooks.attribution.weight_paths import StraightPath, WeightGradients
from sr_hooks.inference import ExecutionPlan
from sr_hooks.networks import Network


@pytest.mark.quick
def test_channels_last_gives_the_same_gradients_from_weights_laid_out_so():
    torch.manual_seed(0)
    start, end = (
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)) for _ in range(2)
    )
    path = StraightPath.between(start, end)
    lr, gt = torch.rand(1, 3, 12, 12), torch.rand(1, 3, 12, 12)
    answers, layouts = [], []
    for plan in (None, ExecutionPlan(channels_last=True)):
        engine = WeightGradients(Network(end, scale=1, multiple=1, channels=3), path, plan=plan)
        end[0].register_forward_hook(
            lambda _, args, out: layouts.append(out.is_contiguous(memory_format=torch.channels_last))
        )
        engine.move_to(0.3)
        answers.append(engine(lr, gt))
    assert float(answers[0][0]) == pytest.approx(float(answers[1][0]), rel=1e-5)
    for plain, laid_out in zip(answers[0][1], answers[1][1], strict=True):
        assert torch.allclose(plain, laid_out, rtol=1e-4, atol=1e-5)
    assert layouts[0] is False and layouts[-1] is True
    assert all(weight.is_contiguous() for weight in end.parameters())  # the network's own stay as they are
