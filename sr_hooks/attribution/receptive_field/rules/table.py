"""Which rule an operation has.

A rule takes a step and the extent of its output that is wanted, and returns a `Part`: the extents of its inputs, and
how to run the operation on those. Rules cover what convolutional networks and those of windowed attention are made of;
what no rule covers is computed whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import torch

from sr_hooks.attribution.receptive_field.extents import Extent, is_whole
from sr_hooks.attribution.receptive_field.rules import arithmetic
from sr_hooks.attribution.receptive_field.rules import shapes as shape
from sr_hooks.attribution.receptive_field.rules import windows as around
from sr_hooks.attribution.receptive_field.rules.boxes import im2col, on_boxes
from sr_hooks.attribution.receptive_field.rules.parts import Part, Rule, Shapes
from sr_hooks.attribution.receptive_field.trace import TracedOperation

__all__ = ["needs_everything", "part_of"]

aten = torch.ops.aten


def part_of(step: TracedOperation, shapes: Shapes, want: Extent) -> Part | None:
    """The step cut down to the part of its (first) output, or None: compute it whole."""
    rule = _RULES.get(step.function.overloadpacket)
    if rule is None and torch.Tag.pointwise in step.function.tags:
        rule = arithmetic.element_by_element
    return rule(step, shapes, want) if rule is not None else None


def needs_everything(
    step: TracedOperation, part: Part | None, wanted: Mapping[int, Extent], shapes: Shapes, moving: Set[int]
) -> bool:
    """Whether a step needs all of an input of which other steps, or a part of its output, need less."""
    inputs = [index for index in step.refs() if index in moving]
    if part is None:
        return any(len(shapes[index]) >= 3 for index in inputs)
    rule = _RULES.get(step.function.overloadpacket)
    if rule not in _MIXING or not any(index in inputs and is_whole(need) for index, need in part.needs):
        return False
    less = not is_whole(part.gives)
    return less or (rule in (_over, _normed) and any(i in wanted and not is_whole(wanted[i]) for i in inputs))


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
_over, _normed, _mm, _addmm = arithmetic.reduced(1), arithmetic.reduced(2), arithmetic.product(0), arithmetic.product(1)
_MIXING = (_over, _normed, _mm, _addmm, arithmetic.mixing_along, arithmetic.layer_norm, arithmetic.attention)
_RULES: dict[Any, Rule] = {
    **dict.fromkeys(_SAME, arithmetic.element_by_element),
    **dict.fromkeys(
        (aten.native_batch_norm, aten._native_batch_norm_legit_no_training, aten.cudnn_batch_norm),
        arithmetic.batch_norm,
    ),
    **dict.fromkeys(
        (aten.mean, aten.sum, aten.amax, aten.amin, aten.var, aten.var_mean, aten.std, aten.max, aten.min), _over
    ),
    **dict.fromkeys((aten._softmax, aten._log_softmax, aten.cumsum), arithmetic.mixing_along),
    **dict.fromkeys((aten.mm, aten.bmm), _mm),
    **dict.fromkeys((aten.addmm, aten.baddbmm), _addmm),
    **dict.fromkeys((aten._scaled_dot_product_flash_attention_for_cpu,), arithmetic.attention),
    **dict.fromkeys((aten.view, aten._unsafe_view, aten.reshape, aten.squeeze), shape.view),
    **dict.fromkeys((aten.split, aten.split_with_sizes), shape.split),
    **dict.fromkeys((aten.transpose, aten.t), shape.transpose),
    **dict.fromkeys((aten.avg_pool2d, aten.max_pool2d_with_indices), on_boxes(around.pool)),
    **dict.fromkeys((aten.reflection_pad2d, aten.replication_pad2d), on_boxes(around.pad)),
    aten.linalg_vector_norm: _normed,
    aten.native_layer_norm: arithmetic.layer_norm,
    aten.constant_pad_nd: around.constant_pad,
    aten.cat: shape.cat,
    aten.select: shape.select,
    aten.slice: shape.slices,
    aten.unbind: shape.unbind,
    aten.roll: shape.roll,
    aten.flip: shape.flip,
    aten.unfold: shape.unfold,
    aten.unsqueeze: shape.unsqueeze,
    aten.expand: shape.expand,
    aten.repeat: shape.repeat,
    aten.permute: shape.permute,
    aten.index_select: shape.picked(1),
    aten.im2col: im2col(around.sliding, around.sliding_grid),
    aten.convolution: on_boxes(around.convolution),
    aten.pixel_shuffle: on_boxes(around.pixel_shuffle),
    aten.pixel_unshuffle: on_boxes(around.pixel_unshuffle),
    aten.upsample_nearest2d: on_boxes(around.resize("nearest", 0)),
    aten._upsample_nearest_exact2d: on_boxes(around.resize("nearest-exact", 0)),
    aten.upsample_bilinear2d: on_boxes(around.resize("bilinear", 1)),
    aten.upsample_bicubic2d: on_boxes(around.resize("bicubic", 2)),
    aten._upsample_bilinear2d_aa: on_boxes(around.resize("bilinear", 1, antialias=True)),
    aten._upsample_bicubic2d_aa: on_boxes(around.resize("bicubic", 2, antialias=True)),
}
