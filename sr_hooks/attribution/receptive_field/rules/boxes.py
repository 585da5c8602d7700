"""From rules of boxes of an image, (...,H,W), to rules of extents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import torch

from sr_hooks.attribution.receptive_field.extents import Extent, Span, Spans, hull, one_span, refit, span, whole
from sr_hooks.attribution.receptive_field.rules.parts import Fetch, Part, Rule, Shapes, shape_of
from sr_hooks.attribution.receptive_field.trace import TracedOperation
from sr_hooks.images.windows import Box

__all__ = ["BoxFetch", "BoxPart", "BoxRule", "im2col", "on_boxes"]

BoxFetch = Callable[[int, Box | None], torch.Tensor]  # a value by its number, narrowed to a box; None for all of it


@dataclass(frozen=True)
class BoxPart:
    """Of a step the box of its output: `needs` says which box of which value it takes; None is all of a value."""

    needs: tuple[tuple[int, Box | None], ...]
    run: Callable[[BoxFetch], Any]
    work: int = 0  # multiply-accumulates for one image


BoxRule = Callable[[TracedOperation, Shapes, Box], BoxPart | None]


@dataclass(frozen=True)
class _Pieces:
    """A rectangle that may continue on the opposite side of the image, as parts that do not."""

    rows: list[list[BoxPart]]
    first: int  # the number of the value that is an image too
    batch: Spans | None
    shapes: Shapes

    @property
    def parts(self) -> list[BoxPart]:
        return [part for row in self.rows for part in row]

    @cached_property
    def extents(self) -> dict[tuple[int, Box | None], Extent]:
        """Of what the parts take."""
        return {need: self._extent(*need) for part in self.parts for need in part.needs}

    def needs(self) -> dict[int, Extent]:
        out: dict[int, Extent] = {}
        for (index, _), need in self.extents.items():
            out[index] = hull(out[index], need) if index in out else need
        return out

    def _extent(self, index: int, box: Box | None) -> Extent:
        shape = self.shapes[index]
        extent = whole(shape)
        if box is not None and len(shape) >= 2:
            extent = (
                *extent[:-2],
                (span(shape[-2], box.top, box.bottom),),
                (span(shape[-1], box.left, box.right),),
            )
        if index == self.first and self.batch is not None:
            extent = (self.batch, *extent[1:])
        return extent

    def run(self, fetch: Fetch) -> Any:
        def of_box(index: int, box: Box | None) -> torch.Tensor:
            return fetch(index, self.extents[index, box])

        done = [[part.run(of_box) for part in row] for row in self.rows]
        if len(done) == len(done[0]) == 1:
            return done[0][0]
        if isinstance(done[0][0], (tuple, list)):
            return [_joined([[out[i] for out in row] for row in done]) for i in range(len(done[0][0]))]
        return _joined(done)

    def work(self) -> int:
        images = prod(each.stop - each.start for each in self.batch) if self.batch else 1
        return images * sum(part.work for part in self.parts)


def _joined(rows: list[list[torch.Tensor]]) -> torch.Tensor:
    return torch.cat([torch.cat(row, -1) if len(row) > 1 else row[0] for row in rows], -2)


def _segments(each: Span) -> list[tuple[int, int]]:
    """A span as intervals that do not continue at 0."""
    if each.stop <= each.size:
        return [(each.start, each.stop)]
    return [(each.start, each.size), (0, each.stop - each.size)]


def _pieces(
    rule: BoxRule, step: TracedOperation, shapes: Shapes, rows: Span, columns: Span, batch: Spans | None
) -> _Pieces | None:
    parts = []
    for top, bottom in _segments(rows):
        row = [rule(step, shapes, Box(top, bottom, left, right)) for left, right in _segments(columns)]
        if None in row:
            return None
        parts.append([part for part in row if part is not None])
    return _Pieces(parts, step.args[0].index, batch, shapes)


def on_boxes(rule: BoxRule) -> Rule:
    """The rule of extents for operations that return an image: of the batch the same, of channels all."""

    def of_extents(step: TracedOperation, shapes: Shapes, want: Extent) -> Part | None:
        out = shape_of(step, shapes)
        rows, columns = one_span(want[-2]), one_span(want[-1])
        batch = want[0] if len(want) == 4 else None
        pieces = _pieces(rule, step, shapes, rows, columns, batch)
        if pieces is None:
            return None
        gives = (*whole(out)[:-2], (rows,), (columns,))
        if batch is not None:
            gives = (batch, *gives[1:])
        return Part(tuple(pieces.needs().items()), pieces.run, gives, pieces.work())

    return of_extents


def im2col(rule: BoxRule, grid: Callable[[TracedOperation, Shapes], tuple[int, int]]) -> Rule:
    """The rule of extents for windows side by side, (B, C*k*k, windows), from one that returns rows and columns."""

    def of_extents(step: TracedOperation, shapes: Shapes, want: Extent) -> Part | None:
        side = grid(step, shapes)
        rows, columns = map(one_span, refit((want[2],), side))
        pieces = _pieces(rule, step, shapes, rows, columns, want[0])
        if pieces is None:
            return None
        (windows,) = refit(((rows,), (columns,)), (side[0] * side[1],))
        gives = (want[0], whole(shape_of(step, shapes))[1], windows)
        return Part(tuple(pieces.needs().items()), lambda fetch: pieces.run(fetch).flatten(2), gives)

    return of_extents
