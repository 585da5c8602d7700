"""Rules for operations that compute nothing: values in other shapes, orders and pieces."""

from __future__ import annotations

from typing import Any

import torch

from sr_hooks.attribution.receptive_field.extents import Extent, Span, lengths, one_span, refit, span, whole
from sr_hooks.attribution.receptive_field.rules.parts import Fetch, Part, Rule, Shapes, replay, shape_of
from sr_hooks.attribution.receptive_field.trace import TracedOperation

__all__ = [
    "cat",
    "expand",
    "flip",
    "permute",
    "repeat",
    "roll",
    "select",
    "slices",
    "split",
    "squeeze",
    "transpose",
    "unbind",
    "unfold",
    "unsqueeze",
    "view",
]


def view(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    source = step.args[0].index
    need = refit(want, shapes[source])
    gives = refit(need, shape_of(step, shapes))
    size = lengths(gives)
    return Part(((source, need),), lambda fetch: fetch(source, need).reshape(size), gives)


def permute(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    source = step.args[0].index
    dims = [dim % len(want) for dim in step.args[1]]
    need = tuple(want[dims.index(dim)] for dim in range(len(want)))
    return Part(((source, need),), lambda fetch: fetch(source, need).permute(dims), want)


def transpose(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    source, rank = step.args[0].index, len(want)
    a, b = (dim % rank for dim in step.args[1:]) if len(step.args) > 1 else (0, rank - 1)
    need = list(want)
    need[a], need[b] = need[b], need[a]
    taken = tuple(need)
    return Part(((source, taken),), lambda fetch: fetch(source, taken).transpose(a, b), want)


def unsqueeze(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    source, dim = step.args[0].index, step.args[1] % len(want)
    need = (*want[:dim], *want[dim + 1 :])
    return Part(((source, need),), lambda fetch: fetch(source, need).unsqueeze(dim), want)


def squeeze(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    """Dimensions of one index are left out: a view."""
    return view(step, shapes, want)


def expand(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    source = step.args[0].index
    need = stretched(shapes[source], shape_of(step, shapes), want)
    size = lengths(want)
    return Part(((source, need),), lambda fetch: fetch(source, need).expand(size), want)


def repeat(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    """Copies side by side; of a dimension with several all is taken."""
    source, times = step.args[0].index, step.args[1]
    ahead = len(want) - len(shapes[source])
    everything = whole(shape_of(step, shapes))
    gives = tuple(spans if count == 1 else every for spans, every, count in zip(want, everything, times, strict=True))
    shape = (1,) * ahead + shapes[source]
    need = tuple(w if n == 1 else s for w, s, n in zip(want, whole(shape), times, strict=True))[ahead:]
    return Part(((source, need),), lambda fetch: fetch(source, need).repeat(times), gives)


def stretched(shape: tuple[int, ...], out: tuple[int, ...], want: Extent) -> Extent:
    """What is needed of a value that is broadcast."""
    ahead = len(out) - len(shape)
    return tuple(
        want[ahead + dim] if side == out[ahead + dim] else (Span(side, 0, side),) for dim, side in enumerate(shape)
    )


def _along(want: Extent, dim: int, spans: Any) -> Extent:
    return (*want[:dim], spans, *want[dim + 1 :])


def select(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    source, (dim, index) = step.args[0].index, step.args[1:3]
    side, dim = shapes[source][dim], dim % len(shapes[source])
    need = (*want[:dim], (span(side, index % side, index % side + 1),), *want[dim:])
    return Part(((source, need),), lambda fetch: fetch(source, need).select(dim, 0), want)


def slices(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    source = step.args[0].index
    defaults: tuple[Any, ...] = (0, None, None, 1)
    dim, start, _, stride = (*step.args[1:], *defaults[len(step.args) - 1 :])
    dim, side = dim % len(want), shapes[source][dim]
    first = 0 if start is None else min(max(start + side if start < 0 else start, 0), side)
    inside = one_span(want[dim])
    if inside.stop > inside.size:
        inside = Span(inside.size, 0, inside.size)
    low, high = first + inside.start * stride, first + (inside.stop - 1) * stride + 1
    need = _along(want, dim, want[dim] if high - low == side else (span(side, low, high),))
    gives = _along(want, dim, want[dim] if high - low == side else (inside,))
    index = (slice(None),) * dim + (slice(None, None, stride),)
    return Part(
        ((source, need),), lambda fetch: fetch(source, need)[index] if stride > 1 else fetch(source, need), gives
    )


def split(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    source = step.args[0].index
    dim = (step.args[2] if len(step.args) > 2 else step.kwargs.get("dim", 0)) % len(want)
    need = _along(want, dim, whole(shapes[source])[dim])
    gives = _along(want, dim, whole(shape_of(step, shapes))[dim])
    return Part(((source, need),), lambda fetch: replay(step, {source: need}, fetch), gives)


def unbind(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    source = step.args[0].index
    dim = (step.args[1] if len(step.args) > 1 else 0) % len(shapes[source])
    need = (*want[:dim], whole(shapes[source])[dim], *want[dim:])
    return Part(((source, need),), lambda fetch: replay(step, {source: need}, fetch), want)


def cat(step: TracedOperation, shapes: Shapes, want: Extent) -> Part | None:
    """Of the joined dimension an interval, of which some of the values may hold nothing."""
    sources = [ref.index for ref in step.args[0]]
    if any(len(shapes[index]) != len(want) for index in sources):
        return None
    dim = (step.args[1] if len(step.args) > 1 else step.kwargs.get("dim", 0)) % len(want)
    inside = one_span(want[dim])
    if inside.stop > inside.size:
        inside = Span(inside.size, 0, inside.size)
    needs, ahead = [], 0
    for index in sources:
        side = shapes[index][dim]
        low, high = max(inside.start - ahead, 0), min(inside.stop - ahead, side)
        if low < high:
            needs.append((index, _along(want, dim, (span(side, low, high),))))
        ahead += side
    gives = _along(want, dim, (inside,))
    return Part(tuple(needs), lambda fetch: torch.cat([fetch(*need) for need in needs], dim), gives)


def roll(step: TracedOperation, shapes: Shapes, want: Extent) -> Part | None:
    """A cyclic shift only renames indices, unless all of them are wanted."""
    if len(step.args) < 3 or not step.args[2]:
        return None
    source, need, gives = step.args[0].index, list(want), list(want)
    turned = []
    for shift, dim in zip(step.args[1], step.args[2], strict=True):
        inside = one_span(want[dim])
        gives[dim] = (inside,)
        need[dim] = (span(inside.size, inside.start - shift, inside.stop - shift),)
        if inside.is_whole:
            turned.append((shift, dim))
    taken, shifts = tuple(need), tuple(zip(*turned, strict=True))

    def run(fetch: Fetch) -> torch.Tensor:
        value = fetch(source, taken)
        return torch.roll(value, *shifts) if shifts else value

    return Part(((source, taken),), run, tuple(gives))


def flip(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    source, need, gives = step.args[0].index, list(want), list(want)
    for dim in step.args[1]:
        inside = one_span(want[dim])
        gives[dim] = (inside,)
        need[dim] = (span(inside.size, inside.size - inside.stop, inside.size - inside.start),)
    taken = tuple(need)
    return Part(((source, taken),), lambda fetch: fetch(source, taken).flip(step.args[1]), tuple(gives))


def unfold(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    """Overlapping windows along one dimension, their contents last."""
    source, (dim, size, stride) = step.args[0].index, step.args[1:4]
    dim %= len(shapes[source])
    inside = one_span(want[dim])
    if inside.stop > inside.size:
        inside = Span(inside.size, 0, inside.size)
    low, high = inside.start * stride, (inside.stop - 1) * stride + size
    need = _along(want[:-1], dim, (span(shapes[source][dim], low, high),))
    gives = (*_along(want[:-1], dim, (inside,)), (Span(size, 0, size),))
    return Part(((source, need),), lambda fetch: fetch(source, need).unfold(dim, size, stride), gives)


def picked(position: int) -> Rule:
    """Indices taken along one dimension, of which all are needed."""

    def rule(step: TracedOperation, shapes: Shapes, want: Extent) -> Part | None:
        dim = step.args[position] % len(want)
        gives = _along(want, dim, whole(shape_of(step, shapes))[dim])
        source = step.args[0].index
        needs = {index: whole(shapes[index]) for index in step.refs()}
        needs[source] = _along(gives, dim, whole(shapes[source])[dim])
        return Part(tuple(needs.items()), lambda fetch: replay(step, needs, fetch), gives)

    return rule
