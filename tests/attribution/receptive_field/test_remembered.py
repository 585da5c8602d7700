"""A second call plans no cone again, and any change in the objective is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.attribution.objectives.window_values import GradientMagnitude
from sr_hooks.attribution.receptive_field import recording, remembered
from sr_hooks.attribution.receptive_field.cone import Cone
from sr_hooks.attribution.receptive_field.proved_cones import AGREEMENT
from tests.support.networks import Tiny

pytestmark = pytest.mark.slow

WINDOW = (20, 24, 8)


class Reversed(torch.autograd.Function):
    """The identity, whose gradient has the other sign."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return -gradient


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Tiny().eval()


@pytest.fixture
def counts(monkeypatch):
    """How often cones were planned, networks recorded and objectives recorded."""
    done = {"cones": 0, "networks": 0, "objectives": 0}

    def counted(owner: Any, name: str, what: str) -> None:
        function = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            done[what] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    counted(Cone, "_plan", "cones")
    counted(recording, "record", "networks")
    counted(remembered, "record", "objectives")
    return done


def explained(module, lr, **options):
    return sr_hooks.lam(module, lr, **{"window": WINDOW, "steps": 5, "picture": "whole", **options})


def same(a, b) -> bool:
    return np.linalg.norm(a.attribution - b.attribution) <= 10 * AGREEMENT * np.linalg.norm(b.attribution)


def test_a_second_call_records_and_plans_nothing(module, lr, counts):
    first = explained(module, lr)
    assert isinstance(first.scalars["cone"], dict) and min(counts.values()) > 0
    counts.update(cones=0, networks=0, objectives=0)
    second = explained(module, lr)
    assert counts == {"cones": 0, "networks": 0, "objectives": 0}
    assert np.array_equal(first.attribution, second.attribution) and np.array_equal(first.output, second.output)
    explained(module, lr, window=(4, 4, 8))
    assert counts["networks"] == 0 < counts["cones"], "another window has other cones of the same operations"


def test_another_size_of_image_is_recorded(module, lr, counts):
    explained(module, lr)
    counts.update(networks=0)
    larger = torch.nn.functional.pad(lr, (0, 8, 0, 8), mode="reflect")
    assert same(explained(module, larger), explained(module, larger, cone="off")) and counts["networks"] > 0


@pytest.mark.parametrize("large", [remembered._LARGE, 0])
def test_a_changed_objective_is_seen(module, lr, monkeypatch, large):
    monkeypatch.setattr(remembered, "_LARGE", large)
    plain = explained(module, lr)
    smoother = explained(module, lr, objective=GradientMagnitude(smoothing=0.5))
    assert same(smoother, explained(module, lr, cone="off", objective=GradientMagnitude(smoothing=0.5)))
    assert not same(smoother, plain)
    monkeypatch.setattr(
        GradientMagnitude, "__call__", lambda self, output, x, window: window.crop(output).square().sum((1, 2, 3))
    )
    patched = explained(module, lr)
    assert same(patched, explained(module, lr, cone="off")) and not same(patched, plain)


def test_an_objective_whose_tensor_changes_is_recorded_again(module, lr):
    weight = torch.ones(3, 1, 1)

    def weighted(pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.square() * weight).sum()

    first = explained(module, lr, objective=weighted)
    weight[1:] = -3
    second = explained(module, lr, objective=weighted)
    assert same(second, explained(module, lr, objective=weighted, cone="off")) and not same(first, second)


def test_a_gradient_that_becomes_the_objectives_own_is_seen(module, lr):
    custom = False

    def energy(pixels: torch.Tensor) -> torch.Tensor:
        pixels = pixels * 1.0
        return (Reversed.apply(pixels) if custom else pixels * 1.0).square().sum()

    first = explained(module, lr, objective=energy)
    custom = True
    second = explained(module, lr, objective=energy)
    assert same(second, explained(module, lr, objective=energy, cone="off")) and not same(first, second)


def test_few_recordings_are_kept(module, lr):
    for left in range(20):
        explained(module, lr, window=(8, left, 8), steps=2)
    (known,) = [memory for owner, (_, memory) in remembered._recordings.items() if owner is module]
    assert len(known["with objectives"]) == remembered._MOST
