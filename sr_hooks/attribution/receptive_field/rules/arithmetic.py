"""Rules for arithmetic: element by element, over some dimensions, and products of matrices."""

from __future__ import annotations

from math import prod
from typing import Any

from sr_hooks.attribution.receptive_field.extents import Extent, lengths, whole
from sr_hooks.attribution.receptive_field.rules.parts import Fetch, Part, Rule, Shapes, replay, shape_of
from sr_hooks.attribution.receptive_field.rules.shapes import stretched
from sr_hooks.attribution.receptive_field.trace import TracedOperation

__all__ = ["attention", "batch_norm", "element_by_element", "layer_norm", "mixing_along", "product", "reduced"]


# -- element by element ------------------------------------------------------------------------------


def element_by_element(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    out = shape_of(step, shapes)
    needs = {index: stretched(shapes[index], out, want) for index in step.refs()}
    return Part(tuple(needs.items()), lambda fetch: replay(step, needs, fetch), want)


def batch_norm(step: TracedOperation, shapes: Shapes, want: Extent) -> Part | None:
    """In evaluation: one scale and shift a channel. Its arguments end in (training,) momentum, eps."""
    if step.args[5] is True:
        return None
    gives = (want[0], whole(shape_of(step, shapes))[1], *want[2:])
    first = step.args[0].index
    needs = {index: gives if index == first else whole(shapes[index]) for index in step.refs()}
    return Part(tuple(needs.items()), lambda fetch: replay(step, needs, fetch), gives)


# -- over some dimensions ----------------------------------------------------------------------------


def reduced(position: int) -> Rule:
    """Sum, mean, norm over dimensions, which leave or become one index; `position` is that argument's place."""

    def rule(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
        source = step.args[0].index
        rank = len(shapes[source])
        dims = step.args[position] if len(step.args) > position else None
        dims = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
        over = {dim % rank for dim in dims}
        left = iter(want if len(want) < rank else [w for dim, w in enumerate(want) if dim not in over])
        need = tuple(all_of if dim in over else next(left) for dim, all_of in enumerate(whole(shapes[source])))
        return Part(((source, need),), lambda fetch: replay(step, {source: need}, fetch), want)

    return rule


def mixing_along(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    """Softmax, running sums: each index of one dimension depends on all of them."""
    source, dim = step.args[0].index, step.args[1] % len(want)
    need = (*want[:dim], whole(shapes[source])[dim], *want[dim + 1 :])
    return Part(((source, need),), lambda fetch: replay(step, {source: need}, fetch), need)


def layer_norm(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    source, over = step.args[0].index, len(step.args[1])
    need = (*want[: len(want) - over], *whole(shapes[source])[len(want) - over :])
    needs = {index: need if index == source else whole(shapes[index]) for index in step.refs()}
    return Part(tuple(needs.items()), lambda fetch: replay(step, needs, fetch), need)


def product(first: int) -> Rule:
    """Matrix products, the factors from this argument on, before them a summand."""

    def rule(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
        a, b = (step.args[first + position].index for position in (0, 1))
        inner = whole(shapes[a])[-1]
        needs = [(a, (*want[:-1], inner)), (b, (*want[:-2], inner, want[-1]))]
        if first:
            summand = step.args[0].index
            needs.insert(0, (summand, stretched(shapes[summand], shape_of(step, shapes), want)))

        def run(fetch: Fetch) -> Any:
            return step.function(*(fetch(*need) for need in needs), **step.kwargs)

        return Part(tuple(needs), run, want, prod(lengths(want)) * shapes[a][-1])

    return rule


def attention(step: TracedOperation, shapes: Shapes, want: Extent) -> Part | None:
    """Fused attention of (B,heads,N,d): of all keys, to the wanted queries."""
    if len(step.args) > 4 and step.args[4] is True:
        return None  # causal: counts from the first query
    q, k, v = (step.args[position].index for position in (0, 1, 2))
    keys = (*want[:2], *whole(shapes[k])[2:])
    values = (*want[:2], *whole(shapes[v])[2:])
    queries = (*want[:3], whole(shapes[q])[3])
    mask = step.kwargs.get("attn_mask")
    needs = [(q, queries), (k, keys), (v, values)]
    logits = (*shapes[q][:3], shapes[k][2])
    if mask is not None:
        needs.append((mask.index, stretched(shapes[mask.index], logits, (*want[:3], whole(shapes[k])[2]))))

    def run(fetch: Fetch) -> Any:
        more = {"attn_mask": fetch(*needs[3])} if mask is not None else {}
        return step.function(*(fetch(*need) for need in needs[:3]), *step.args[3:], **{**step.kwargs, **more})

    gives = (*want[:3], whole(shapes[v])[3])
    work = prod(lengths(want[:3])) * shapes[k][2] * (shapes[q][3] + shapes[v][3])
    return Part(tuple(needs), run, gives, work)
