"""FAIG waits for an accelerator once a level of nodes, whatever the number of the network's parameters."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.analyses.degraded_pairs import Inputs
from sr_hooks.analyses.faig import analysis
from sr_hooks.analyses.faig.baseline import masked_weights
from sr_hooks.analyses.faig.filters import Filters
from sr_hooks.analyses.faig.trajectory import Trajectory
from sr_hooks.attribution.weight_paths import StraightPath
from tests.support.waits import Waits


def pair(layers: int) -> tuple[nn.Module, nn.Module]:
    """A network with two parameters a layer, and the same a little further."""
    torch.manual_seed(layers)
    baseline = nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(layers)])
    for layer in baseline:
        nn.init.dirac_(layer.weight)
    target = copy.deepcopy(baseline)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter += 0.01 * torch.randn(parameter.shape)
    return baseline, target


def waits_of_faig(monkeypatch: pytest.MonkeyPatch, layers: int, hr: torch.Tensor, **options) -> tuple[Waits, int]:
    """The waits of one FAIG's integral, and its gradients."""
    waits, plain = Waits(), analysis.integrate

    def counted(*arguments, **given):
        with waits:
            return plain(*arguments, **given)

    with monkeypatch.context() as patch:
        patch.setattr(analysis, "integrate", counted)
        baseline, target = (sr_hooks.Network(module, scale=1) for module in pair(layers))
        result = sr_hooks.faig(baseline, target, images=hr, any_order=True, **options)
    return waits, result.scalars["gradients"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"steps": 6}, {}], ids=str)
def test_waits_do_not_grow_with_the_parameters(monkeypatch, photo, options):
    hr = photo[..., :24, :24]
    few, gradients = waits_of_faig(monkeypatch, 2, hr, **options)
    many, more = waits_of_faig(monkeypatch, 12, hr, **options)
    assert few.total <= 4 * gradients and many.total <= 4 * more, (few.counts, many.counts)
    if "steps" in options:
        assert gradients == more == 12 and few.total == many.total <= 8, "by level, not by gradient"


def test_gradients_that_are_not_finite_count_as_zero_and_are_told(photo, monkeypatch):
    """They are looked for once a level; then the image is integrated again, with each gradient cleaned."""
    baseline, target = (sr_hooks.Network(module, scale=1) for module in pair(2))

    class Spoilt(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            gradient = gradient.clone()
            gradient[0, 0] = torch.nan
            return gradient

    class Part(nn.Conv2d):
        def forward(self, x):
            return super().forward(Spoilt.apply(x) if x.requires_grad else x)

    for network in (baseline, target):
        network.module[1].__class__ = Part
    result = sr_hooks.faig(baseline, target, images=photo[..., :24, :24], any_order=True, steps=4)
    assert "8 of 8 gradients had entries that are not finite" in result.verdict
    assert result.scalars["gradients"] == 8 and result.arrays["scores"].any()


def test_a_trajectory_waits_as_often_for_many_parameters(photo):
    totals = []
    for layers in (2, 12):
        baseline, target = (sr_hooks.Network(module, scale=1) for module in pair(layers))
        inputs = Inputs(("clean",), (photo[..., :24, :24],), ((photo[..., :24, :24],),))
        with Waits() as waits:
            way = Trajectory(baseline, inputs, refine=0)
            way.move_to(target)
        totals.append(waits.total)
    assert totals[0] == totals[1] <= 8


def test_masking_filters_waits_for_nothing_and_copies_only_what_changes():
    baseline, target = pair(3)
    path, filters = StraightPath.between(baseline, target), Filters.of(target)
    chosen = np.arange(filters.count) == filters.count // 2  # in the second layer
    with Waits() as waits:
        weights = masked_weights(path, filters, chosen)
    assert waits.total == 0
    changed = [name for name, value in weights.items() if value is not path.end[name]]
    assert changed == ["1.weight"] and int((weights["1.weight"] != path.end["1.weight"]).sum()) == 9
