"""Which part of its inputs an operation needs for a part of its output, and how to compute just that.

A rule takes a step and the box of its output that is wanted, and returns a `Part`: the boxes of its inputs, and how to
run it on those. Rules cover what convolutional networks are made of; what no rule covers is computed whole.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from sr_hooks.attribution.receptive_field import window_rules as around
from sr_hooks.attribution.receptive_field.parts import Part, Rule, Shapes, replay, shape_of, whole
from sr_hooks.attribution.receptive_field.trace import TracedOperation
from sr_hooks.images.windows import Box

__all__ = ["part_of"]

aten = torch.ops.aten


def part_of(step: TracedOperation, shapes: Shapes, box: Box | None) -> Part | None:
    """The step cut down to the box of its (first) output, or None: compute it whole."""
    if box is None:
        return None
    rule = _RULES.get(step.function.overloadpacket)
    if rule is None and torch.Tag.pointwise in step.function.tags:
        rule = _pointwise
    return rule(step, shapes, box) if rule is not None else None


# -- element by element ------------------------------------------------------------------------------


def _aligned(shape: tuple[int, ...], out: tuple[int, ...], box: Box) -> Box | None:
    """The part of an input, broadcast against the output, that the box needs.

    Raises:
        ValueError: it has columns but no rows.
    """
    if len(shape) < 2:
        if prod(shape) != 1:
            raise ValueError("columns without rows")
        return None
    rows = (box.top, box.bottom) if shape[-2] == out[-2] else (0, shape[-2])
    columns = (box.left, box.right) if shape[-1] == out[-1] else (0, shape[-1])
    return Box(*rows, *columns)


def _pointwise(step: TracedOperation, shapes: Shapes, box: Box) -> Part | None:
    out = shape_of(step, shapes)
    try:
        needs = {index: _aligned(shapes[index], out, box) for index in step.refs()}
    except ValueError:
        return None
    return Part(tuple(needs.items()), lambda fetch: replay(step, needs, fetch))


def _batch_norm(step: TracedOperation, shapes: Shapes, box: Box) -> Part | None:
    """In evaluation: one scale and shift a channel. Its arguments end in (training,) momentum, eps."""
    if step.args[5] is True:
        return None
    first = step.args[0].index
    needs = {index: box if index == first else whole(shapes[index]) for index in step.refs()}
    return Part(tuple(needs.items()), lambda fetch: replay(step, needs, fetch))


def _over_leading(step: TracedOperation, shapes: Shapes, box: Box) -> Part | None:
    """A reduction or normalisation over dimensions before the last two."""
    source = step.args[0].index
    rank = len(shapes[source])
    arguments = step.args[1] if len(step.args) > 1 else None
    dims = [arguments] if isinstance(arguments, int) else arguments
    if not dims or any(dim % rank >= rank - 2 for dim in dims) or shapes[source][-2:] != shape_of(step, shapes)[-2:]:
        return None
    return Part(((source, box),), lambda fetch: replay(step, {source: box}, fetch))


# -- other shapes, same rows and columns -------------------------------------------------------------


def _before_last_two(position: int, default: int = 0) -> Rule:
    """Concatenation, splitting, picking along a dimension before the last two; `position` is that argument's place."""

    def rule(step: TracedOperation, shapes: Shapes, box: Box) -> Part | None:
        refs = step.refs()
        rank = len(shapes[refs[0]])
        dim = step.args[position] if len(step.args) > position else step.kwargs.get("dim", default)
        if any(len(shapes[index]) != rank for index in refs) or dim % rank >= rank - 2:
            return None
        needs: dict[int, Box | None] = dict.fromkeys(refs, box)
        return Part(tuple(needs.items()), lambda fetch: replay(step, needs, fetch))

    return rule


def _slice(step: TracedOperation, shapes: Shapes, box: Box) -> Part | None:
    source = step.args[0].index
    rank, out = len(shapes[source]), shape_of(step, shapes)
    arguments = [*step.args[1:], *(0, None, None, 1)[len(step.args) - 1 :]]
    dim, start, stride = arguments[0], arguments[1], arguments[3]
    dim %= rank
    if dim < rank - 2:
        return Part(((source, box),), lambda fetch: replay(step, {source: box}, fetch))
    length = shapes[source][dim]
    first = 0 if start is None else max(start + length if start < 0 else start, 0)
    if stride != 1 or out[dim] == 0:
        return None
    down, across = (first, 0) if dim == rank - 2 else (0, first)
    moved = Box(box.top + down, box.bottom + down, box.left + across, box.right + across)
    return Part(((source, moved),), lambda fetch: fetch(source, moved))


def _reshape(step: TracedOperation, shapes: Shapes, box: Box) -> Part | None:
    """A view that keeps the last two dimensions as they are."""
    source, out = step.args[0].index, shape_of(step, shapes)
    if len(shapes[source]) < 2 or len(out) < 2 or shapes[source][-2:] != out[-2:]:
        return None
    return Part(((source, box),), lambda fetch: fetch(source, box).reshape(*out[:-2], *box.size))


def _unsqueeze(step: TracedOperation, shapes: Shapes, box: Box) -> Part | None:
    source, out = step.args[0].index, shape_of(step, shapes)
    if len(shapes[source]) < 2 or shapes[source][-2:] != out[-2:] or step.args[1] % len(out) > len(out) - 3:
        return None
    return Part(((source, box),), lambda fetch: fetch(source, box).unsqueeze(step.args[1] % len(out)))


def _expand(step: TracedOperation, shapes: Shapes, box: Box) -> Part | None:
    source, out = step.args[0].index, shape_of(step, shapes)
    if len(shapes[source]) < 2:
        return None
    need = _aligned(shapes[source], out, box)
    return Part(((source, need),), lambda fetch: fetch(source, need).expand(*out[:-2], *box.size))


def _permute(step: TracedOperation, shapes: Shapes, box: Box) -> Part | None:
    source = step.args[0].index
    rank = len(shapes[source])
    dims = [dim % rank for dim in step.args[1]]
    if dims[-2:] != [rank - 2, rank - 1]:
        return None
    return Part(((source, box),), lambda fetch: fetch(source, box).permute(dims))


def _transpose(step: TracedOperation, shapes: Shapes, box: Box) -> Part | None:
    rank = len(shapes[step.args[0].index])
    return _before_last_two(1)(step, shapes, box) if step.args[2] % rank < rank - 2 else None


_SAME = (
    aten.alias,
    aten.detach,
    aten.clone,
    aten._to_copy,
    aten._prelu_kernel,
    aten.zeros_like,
    aten.ones_like,
    aten.full_like,
)
_RULES: dict[Any, Rule] = {
    **dict.fromkeys(_SAME, _pointwise),
    **dict.fromkeys(
        (aten.native_batch_norm, aten._native_batch_norm_legit_no_training, aten.cudnn_batch_norm), _batch_norm
    ),
    **dict.fromkeys((aten.mean, aten.sum, aten.amax, aten.amin, aten.var, aten._softmax), _over_leading),
    **dict.fromkeys((aten.view, aten._unsafe_view, aten.reshape), _reshape),
    **dict.fromkeys((aten.avg_pool2d, aten.max_pool2d_with_indices), around.pool),
    **dict.fromkeys((aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d), around.pad),
    aten.cat: _before_last_two(1),
    aten.split: _before_last_two(2),
    aten.split_with_sizes: _before_last_two(2),
    aten.select: _before_last_two(1),
    aten.slice: _slice,
    aten.unsqueeze: _unsqueeze,
    aten.expand: _expand,
    aten.permute: _permute,
    aten.transpose: _transpose,
    aten.convolution: around.convolution,
    aten.pixel_shuffle: around.pixel_shuffle,
    aten.pixel_unshuffle: around.pixel_unshuffle,
    aten.upsample_nearest2d: around.resize("nearest", 0),
    aten._upsample_nearest_exact2d: around.resize("nearest-exact", 0),
    aten.upsample_bilinear2d: around.resize("bilinear", 1),
    aten.upsample_bicubic2d: around.resize("bicubic", 2),
    aten._upsample_bilinear2d_aa: around.resize("bilinear", 1, antialias=True),
    aten._upsample_bicubic2d_aa: around.resize("bicubic", 2, antialias=True),
}
