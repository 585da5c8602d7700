"""Slopes between two nodes: what an interval adds is exact in its sum for any length of the interval."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sr_hooks.attribution.secants.slopes import Notes, Secants


def slopes_between(function, x, y):
    """The attribution of the interval from x to y, and the function's change."""
    values, notes = [], []
    for point in (x, y):
        point = point.clone().requires_grad_()
        notes.append(Notes())
        with Secants(notes[-1]):
            values.append((point, function(point).sum()))
    notes[0].face(notes[1].own)
    (slope,) = torch.autograd.grad(values[0][1], values[0][0])
    return slope * (y - x), float((values[1][1] - values[0][1]).detach())


def in_place(x):
    x = x * 2 - 0.5
    torch.relu_(x)
    return x * x


def all_in_place(x):
    x = x * 2 - 0.5
    y = x * 0.5
    y *= x
    return x.abs_() + y.absolute_().add(0.1).sqrt_() + (x - 0.3).pow_(2)


OPERATIONS = {
    "others in place": all_in_place,
    "other names": lambda x: torch.multiply(x, x - 0.3).absolute() + torch.ops.aten.relu(x - 0.4),
    "relu": lambda x: F.relu(x - 0.3),
    "relu in place": in_place,
    "module in place": lambda x: nn.ReLU(inplace=True)(x - 0.3),
    "leaky": lambda x: F.leaky_relu(x - 0.3, 0.1),
    "prelu, one": lambda x: F.prelu(x - 0.3, torch.tensor([0.2])),
    "prelu, a channel": lambda x: F.prelu(x - 0.3, torch.tensor([0.2, 0.4, -0.1])),
    "absolute": lambda x: (x - 0.3).abs(),
    "square": lambda x: x**2 + x.square() + x * x,
    "product": lambda x: F.relu(x - 0.2) * (1 - x),
    "root": lambda x: (x * x + 1e-6).sqrt(),
    "a constant factor": lambda x: 0.1 * x * torch.full_like(x, 3.0),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_interval_adds_up(name):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 1, 3, 8, 8, generator=generator)
    attribution, change = slopes_between(OPERATIONS[name], x, y)
    size = float(attribution.abs().sum())
    assert size > 0 and abs(float(attribution.sum()) - change) < 1e-5 * size


NOT_DIFFERENTIATED = {
    "whole numbers": lambda c: torch.abs(c - 3) + torch.relu(c) + (c - 1).pow(2) + c * c,
    "complex numbers": lambda c: torch.fft.fft(c.float()).abs(),
    "given memory": lambda c: torch.abs(c.float(), out=torch.empty(8)),
}


@pytest.mark.parametrize("name", NOT_DIFFERENTIATED)
def test_other_numbers_and_given_memory_keep_their_operation(name):
    numbers = torch.arange(8)
    with Secants(Notes()):
        values = NOT_DIFFERENTIATED[name](numbers)
    assert torch.equal(values, NOT_DIFFERENTIATED[name](numbers))


@pytest.mark.parametrize("write", [lambda x: x.add_(1), lambda x: x.relu_()])
def test_what_an_operation_took_must_not_be_written_to(write):
    notes = Notes()
    with Secants(notes), torch.no_grad():
        x = torch.rand(1, 3, 4, 4) - 0.5
        F.relu(x)
        notes.check()
        write(x)
    with pytest.raises(ValueError, match="writes in place"):
        notes.check()


def test_the_derivative_does_not_add_up():
    """What the test above would not notice if secants were derivatives."""
    x, y = torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    point = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.relu(point - 0.3).sum(), point)
    change = float((F.relu(y - 0.3) - F.relu(x - 0.3)).sum())
    assert abs(float((slope * (y - x)).sum()) - change) > 0.1 * abs(change)


@pytest.mark.parametrize("name", ["relu", "leaky", "absolute"])
def test_between_equal_nodes_the_slope_is_the_derivative(name):
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    x[0, 0] = 0.3  # where a rectifier's input is 0
    attribution, change = slopes_between(OPERATIONS[name], x, x)
    assert change == 0 and float(attribution.abs().sum()) == 0
    point, notes = x.clone().requires_grad_(), Notes()
    with Secants(notes):
        value = OPERATIONS[name](point).sum()
    notes.face([tuple(each.clone() for each in taken) for taken in notes.own])
    (slope,) = torch.autograd.grad(value, point)
    plain = x.clone().requires_grad_()
    (derivative,) = torch.autograd.grad(OPERATIONS[name](plain).sum(), plain)
    settled = x != 0.3 if name == "absolute" else torch.ones_like(x, dtype=torch.bool)
    assert torch.allclose(slope[settled], derivative[settled], atol=1e-6)


def test_other_operations_at_the_other_node_are_refused():
    notes, other = Notes(), Notes()
    for each, function in ((notes, OPERATIONS["relu"]), (other, OPERATIONS["product"])):
        with Secants(each):
            function(torch.rand(1, 3, 4, 4).requires_grad_())
    with pytest.raises(ValueError, match="other operations"):
        notes.face(other.own)


@pytest.mark.parametrize("threshold", [-5.0, 0.5])
def test_turned_counts_changed_signs(threshold):
    x, y = torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    notes, other = Notes(weighs=True), Notes()
    point = x.clone().requires_grad_()
    with Secants(notes):
        value = F.relu(point - threshold).sum()
    with Secants(other):
        F.relu(y - threshold)
    notes.face(other.own)
    torch.autograd.grad(value, point)
    signs = (x > threshold) != (y > threshold)
    expected = 4 * ((x - threshold) * (y - threshold)).abs()[signs].sum() / (x - y).square().sum()
    assert notes.turned == pytest.approx(float(expected) ** 0.5 if threshold > 0 else 0.0, abs=1e-2)
