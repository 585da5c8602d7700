"""Extents are sets of indices, and what is computed with them is what sets give."""

from __future__ import annotations

from itertools import product
from math import prod

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr_hooks.attribution.receptive_field.extents import (
    Span,
    can_narrow,
    hull,
    is_whole,
    lengths,
    narrowed,
    refit,
    span,
    whole,
)


@st.composite
def spans(draw, size):
    """A span of so many indices."""
    start = draw(st.integers(0, size - 1))
    return span(size, start, start + draw(st.integers(1, size)))


@st.composite
def extents(draw, shape):
    """An extent whose dimensions may be made of factors."""
    out = []
    for side in shape:
        factor = draw(st.sampled_from([f for f in range(1, side + 1) if side % f == 0]))
        sides = [side] if factor in (1, side) else [side // factor, factor]
        out.append(tuple(draw(spans(each)) for each in sides))
    return tuple(out)


def indices(extent) -> list[int]:
    """The flat indices, in the order in which they are stored."""
    every = [each for part in extent for each in part]
    steps = [prod(each.size for each in every[at + 1 :]) for at in range(len(every))]
    ranges = [
        [i % each.size * step for i in range(each.start, each.stop)] for each, step in zip(every, steps, strict=True)
    ]
    return [sum(index) for index in product(*ranges)]


SHAPES = st.sampled_from([(12, 8), (4, 6, 4), (24,), (2, 12, 6)])


@given(data=st.data(), shape=SHAPES)
@settings(max_examples=60, deadline=None)
def test_narrowing_takes_the_indices_in_order(data, shape):
    extent = data.draw(extents(shape))
    value = torch.arange(prod(shape)).view(shape)
    part = narrowed(value, whole(shape), extent)
    assert list(part.shape) == lengths(extent) and part.flatten().tolist() == indices(extent)


@given(data=st.data(), shape=SHAPES)
@settings(max_examples=60, deadline=None)
def test_a_gradient_returns_to_the_indices_that_were_taken(data, shape):
    known, wanted = data.draw(extents(shape)), data.draw(extents(shape))
    known = hull(known, wanted)
    has, takes = indices(known), indices(wanted)
    value = torch.tensor(has, dtype=torch.float64).view(lengths(known)).requires_grad_()
    if not can_narrow(known, wanted):
        return
    part = narrowed(value, known, wanted)
    assert part.flatten().tolist() == takes
    (gradient,) = torch.autograd.grad(part.sum(), value)
    assert gradient.flatten().tolist() == [float(index in takes) for index in has]


def test_the_gradient_of_an_inner_part_lies_as_the_value():
    value = torch.rand(2, 8, 9, 10).contiguous(memory_format=torch.channels_last).requires_grad_()
    inner = (*whole((2, 8)), (Span(9, 2, 6),), (Span(10, 1, 9),))
    part = narrowed(value, whole((2, 8, 9, 10)), inner)
    assert torch.equal(part, value[..., 2:6, 1:9])
    (gradient,) = torch.autograd.grad(part, value, torch.ones_like(part))
    assert gradient.is_contiguous(memory_format=torch.channels_last) and gradient.sum() == part.numel()


@given(data=st.data(), shape=SHAPES)
@settings(max_examples=60, deadline=None)
def test_a_hull_holds_both_and_either_is_taken_out_of_it(data, shape):
    one, other = data.draw(extents(shape)), data.draw(extents(shape))
    both = hull(one, other)
    assert {*indices(one), *indices(other)} <= {*indices(both)}
    value = narrowed(torch.arange(prod(shape)).view(shape), whole(shape), both)
    for each in (one, other):
        assert narrowed(value, both, each).flatten().tolist() == indices(each)


@given(data=st.data(), shape=st.sampled_from([(12, 8), (4, 6, 4), (96,), (4, 24), (2, 2, 3, 8)]))
@settings(max_examples=60, deadline=None)
def test_another_shape_holds_the_same_indices_or_more(data, shape):
    extent = data.draw(extents((4, 24)))
    assert {*indices(extent)} <= {*indices(refit(extent, shape))}


def test_rows_of_windows_are_rows():
    windows = ((Span(4, 1, 3),), (Span(8, 0, 8),))
    assert refit(windows, (32,)) == ((Span(32, 8, 24),),)
    assert refit(((Span(32, 9, 20),),), (4, 8)) == windows
    assert refit(((Span(32, 28, 36),),), (4, 8)) == ((Span(4, 3, 5),), (Span(8, 0, 8),))
    assert is_whole(hull(windows, ((Span(4, 3, 5),), (Span(8, 0, 8),))))
