"""Which part of a value is meant: an interval of each of its dimensions, or of the factors of a dimension.

In layers of windows of attention a dimension is made of several: (B, H*W, C) has rows and columns in one, and a batch
of windows has rows and columns of windows. A rectangle of the image is an interval of each of these factors.

>>> from sr_hooks.attribution.receptive_field.extents import Span, refit, whole
>>> whole((1, 64, 8))[1]
(Span(size=64, start=0, stop=64),)
>>> rows_and_columns = (Span(8, 2, 5), Span(8, 0, 4))  # of a dimension of 8 x 8
>>> refit((rows_and_columns,), (8, 8))
((Span(size=8, start=2, stop=5),), (Span(size=8, start=0, stop=4),))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import NamedTuple

import torch
from torch.nn import functional as F

from sr_hooks.images.windows import Box

__all__ = [
    "Extent",
    "Span",
    "Spans",
    "as_box",
    "boxed",
    "can_narrow",
    "hull",
    "is_whole",
    "lengths",
    "narrowed",
    "one_span",
    "refit",
    "span",
    "whole",
]


class Span(NamedTuple):
    """The indices start to stop, modulo size: with stop > size the last ones and then the first ones."""

    size: int
    start: int
    stop: int

    @property
    def is_whole(self) -> bool:
        return self.stop - self.start == self.size


Spans = tuple[Span, ...]  # the factors of one dimension, the slowest first
Extent = tuple[Spans, ...]  # one for each dimension


def span(size: int, start: int, stop: int) -> Span:
    """A span with its start inside the size; all of it begins at 0."""
    if stop - start >= size:
        return Span(size, 0, size)
    first = start % size
    return Span(size, first, first + stop - start)


@lru_cache(1 << 14)
def whole(shape: tuple[int, ...]) -> Extent:
    """All of a value."""
    return tuple((Span(side, 0, side),) for side in shape)


def is_whole(extent: Extent) -> bool:
    return all(each.is_whole for spans in extent for each in spans)


def lengths(extent: Extent) -> list[int]:
    """The shape of that part of a value."""
    return [prod(each.stop - each.start for each in spans) for spans in extent]


def _split(each: Span, minor: int) -> Spans:
    """A span as (major, minor) factors; where it is not one interval of each, the larger part that is."""
    major = each.size // minor
    first, last = each.start // minor, (each.stop - 1) // minor
    if first == last and each.stop <= each.size:
        return Span(major, first, first + 1), span(minor, each.start % minor, (each.stop - 1) % minor + 1)
    return span(major, first, last + 1), Span(minor, 0, minor)


def _merged(spans: Iterable[Span]) -> Spans:
    """The same indices with as few factors as possible."""
    out: list[Span] = []
    for each in spans:
        if each.size == 1:
            continue
        if out and each.is_whole:
            last = out.pop()
            each = span(last.size * each.size, last.start * each.size, last.stop * each.size)
        elif out and out[-1].stop == out[-1].start + 1 and each.stop <= each.size:
            last = out.pop()
            ahead = last.start * each.size
            each = Span(last.size * each.size, ahead + each.start, ahead + each.stop)
        out.append(each)
    return tuple(out) or (Span(1, 0, 1),)


@lru_cache(1 << 14)
def refit(extent: Extent, shape: tuple[int, ...]) -> Extent:
    """The extent after the value is viewed in this shape; the smallest one that holds it."""
    flat = list(_merged(each for spans in extent for each in spans))[::-1]
    out: list[Spans] = []
    for side in shape:
        spans, left = list[Span](), side
        while left > 1:
            each = flat.pop()
            if left % each.size == 0:
                spans.append(each)
                left //= each.size
            elif each.size % left == 0:
                major, minor = _split(each, each.size // left)
                spans.append(major)
                flat.append(minor)
                left = 1
            else:
                return whole(shape)
        out.append(_merged(spans))
    return tuple(out)


def one_span(spans: Spans) -> Span:
    """A dimension's smallest interval, of whole blocks where it has factors, that holds the part of these."""
    while len(spans) > 1:
        *before, major, minor = spans
        spans = _merged((*before, major, Span(minor.size, 0, minor.size)))
    return spans[0]


def _factors(one: Spans, other: Spans) -> tuple[int, ...] | None:
    """The sizes of factors of which both are made."""
    ends = {1}
    for spans in (one, other):
        size = 1
        for each in spans[::-1]:
            ends.add(size := size * each.size)
    ordered = sorted(ends, reverse=True)
    if any(a % b for a, b in pairwise(ordered)):
        return None
    return tuple(a // b for a, b in pairwise(ordered))


def _hull_of_spans(one: Span, other: Span) -> Span:
    size, arcs = one.size, []
    for a, b in ((one, other), (other, one)):
        stop = max(a.stop, b.stop + (size if b.start < a.start else 0))
        arcs.append(span(size, a.start, stop))
    return min(arcs, key=lambda arc: (arc.stop - arc.start, arc.stop))


@lru_cache(1 << 14)
def hull(one: Extent, other: Extent) -> Extent:
    """The smallest extent that holds both."""
    return tuple(a if a == b else _hull_of_factors(a, b) for a, b in zip(one, other, strict=True))


def _hull_of_factors(a: Spans, b: Spans) -> Spans:
    size = prod(each.size for each in a)
    if a[0].size == b[0].size == size:
        return (_hull_of_spans(a[0], b[0]),)
    factors = _factors(a, b)
    if factors is None:
        return (Span(size, 0, size),)
    pairs = zip(refit((a,), factors), refit((b,), factors), strict=True)
    return _merged(_hull_of_spans(one_span(x), one_span(y)) for x, y in pairs)


def can_narrow(known: Extent, wanted: Extent) -> bool:
    """Whether the wanted part can be taken out of the known one: their factors fit."""
    pairs = zip(known, wanted, strict=True)
    return all(len(has) == len(wants) == 1 or has == wants or _fit(has, wants) for has, wants in pairs)


def _fit(has: Spans, wants: Spans) -> bool:
    factors = _factors(has, wants)
    return factors is not None and lengths((has,)) == [prod(lengths(refit((has,), factors)))]


def narrowed(value: torch.Tensor, known: Extent, wanted: Extent) -> torch.Tensor:
    """The wanted part of a value of which the known part is at hand.

    Where a gradient returns, rows and columns are cut in one operation: its backward fills one tensor, in the layout of
    the value, and that of a slice for each dimension fills two, row by row.
    """
    if known == wanted:
        return value
    borders = _borders(known, wanted) if value.requires_grad else None
    if borders is not None:
        return F.pad(value, borders)
    for dim, (has, wants) in enumerate(zip(known, wanted, strict=True)):
        if has != wants:
            value = _narrowed_along(value, dim, has, wants)
    return value


@lru_cache(1 << 14)
def _borders(known: Extent, wanted: Extent) -> list[int] | None:
    """What is cut off, as `F.pad` counts it, where two dimensions or more lose plain borders and the others nothing."""
    cut, borders = 0, list[int]()
    for has, wants in zip(known[::-1], wanted[::-1], strict=True):
        before = after = 0
        if has != wants:
            if len(has) != 1 or len(wants) != 1:
                return None
            (all_of, part), cut = (has[0], wants[0]), cut + 1
            before = (part.start - all_of.start) % all_of.size
            after = all_of.stop - all_of.start - before - (part.stop - part.start)
            if after < 0:
                return None
        borders += [-before, -after]
    return borders if cut > 1 else None


def _narrowed_along(value: torch.Tensor, dim: int, has: Spans, wants: Spans) -> torch.Tensor:
    if len(has) == len(wants) == 1:
        return _interval(value, dim, has[0], wants[0])
    factors = _factors(has, wants)
    assert factors is not None
    before, after = (tuple(spans[0] for spans in refit((each,), factors)) for each in (has, wants))
    shape = value.shape
    value = value.reshape(*shape[:dim], *(each.stop - each.start for each in before), *shape[dim + 1 :])
    for position, (a, b) in enumerate(zip(before, after, strict=True)):
        value = _interval(value, dim + position, a, b)
    return value.reshape(*shape[:dim], -1, *shape[dim + 1 :])


def _interval(value: torch.Tensor, dim: int, has: Span, wants: Span) -> torch.Tensor:
    if has == wants:
        return value
    start, length = (wants.start - has.start) % has.size, wants.stop - wants.start
    there = has.stop - has.start
    if start + length <= there:
        return value.narrow(dim, start, length)
    return torch.cat([value.narrow(dim, start, there - start), value.narrow(dim, 0, start + length - there)], dim)


def boxed(box: Box, shape: Sequence[int]) -> Extent:
    """A box of the last two dimensions of a value, and all of the others."""
    rows, columns = Span(shape[-2], box.top, box.bottom), Span(shape[-1], box.left, box.right)
    return (*whole(tuple(shape[:-2])), (rows,), (columns,))


def as_box(extent: Extent) -> Box:
    """The smallest box of the last two dimensions that holds the extent."""
    (top, bottom), (left, right) = ((0, s.size) if s.stop > s.size else s[1:] for s in map(one_span, extent[-2:]))
    return Box(top, bottom, left, right)
