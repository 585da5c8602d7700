"""Which networks secants cover: linear operations, rectifiers, squares, products and roots."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

import torch

from sr_hooks.attribution.receptive_field.trace import Ref, Trace, TracedOperation

__all__ = ["has_slopes"]

aten = torch.ops.aten


def has_slopes(trace: Trace) -> bool:
    """Whether every operation that the input changes is linear, or has a slope between two nodes."""
    moving = {0}
    for step in trace.steps:
        if not moving.intersection(step.refs()):
            continue
        covers = _COVERED.get(step.function.overloadpacket)
        if covers is None or not covers(step, trace, moving):
            return False
        moving.update(index for index in step.outputs if index is not None)
    return True


def _always(step: TracedOperation, trace: Trace, moving: Set[int]) -> bool:
    return True


def _first_alone(step: TracedOperation, trace: Trace, moving: Set[int]) -> bool:
    """Whether the input changes the first argument only."""
    first, *others = step.refs()
    return isinstance(step.args[0], Ref) and first in moving and moving.isdisjoint(others)


def _one_factor(step: TracedOperation, trace: Trace, moving: Set[int]) -> bool:
    return sum(index in moving for index in step.refs()) == 1


def _product(step: TracedOperation, trace: Trace, moving: Set[int]) -> bool:
    shapes = {trace.shapes[index] for index in step.refs()}
    return _one_factor(step, trace, moving) or len(shapes) == 1


def _square(step: TracedOperation, trace: Trace, moving: Set[int]) -> bool:
    return bool(step.args[1] == 2)


def _normalised(step: TracedOperation, trace: Trace, moving: Set[int]) -> bool:
    """Batch normalisation in evaluation; its arguments end in (training,) momentum, eps."""
    return step.args[5] is not True and _first_alone(step, trace, moving)


def _divided(step: TracedOperation, trace: Trace, moving: Set[int]) -> bool:
    return step.kwargs.get("rounding_mode") is None and _first_alone(step, trace, moving)


def _converted(step: TracedOperation, trace: Trace, moving: Set[int]) -> bool:
    """Not to whole numbers or to a type that rounds."""
    return step.kwargs.get("dtype") in (None, torch.float32, torch.float64)


_LINEAR = (
    aten.add,
    aten.sub,
    aten.rsub,
    aten.neg,
    aten.cat,
    aten.stack,
    aten.alias,
    aten.clone,
    aten.view,
    aten._unsafe_view,
    aten.reshape,
    aten.squeeze,
    aten.unsqueeze,
    aten.expand,
    aten.repeat,
    aten.permute,
    aten.transpose,
    aten.t,
    aten.select,
    aten.slice,
    aten.split,
    aten.split_with_sizes,
    aten.unbind,
    aten.roll,
    aten.flip,
    aten.unfold,
    aten.im2col,
    aten.index_select,
    aten.pixel_shuffle,
    aten.pixel_unshuffle,
    aten.constant_pad_nd,
    aten.reflection_pad2d,
    aten.replication_pad2d,
    aten.avg_pool2d,
    aten.mean,
    aten.sum,
    aten.upsample_nearest2d,
    aten._upsample_nearest_exact2d,
    aten.upsample_bilinear2d,
    aten.upsample_bicubic2d,
    aten._upsample_bilinear2d_aa,
    aten._upsample_bicubic2d_aa,
)
_COVERED: dict[Any, Callable[[TracedOperation, Trace, Set[int]], bool]] = {
    **dict.fromkeys(_LINEAR, _always),
    **dict.fromkeys((aten.relu, aten.leaky_relu, aten.abs, aten.sqrt), _always),
    **dict.fromkeys((aten.convolution, aten._prelu_kernel), _first_alone),
    **dict.fromkeys((aten.mm, aten.bmm), _one_factor),
    **dict.fromkeys((aten.native_batch_norm, aten._native_batch_norm_legit_no_training), _normalised),
    aten.div: _divided,
    aten._to_copy: _converted,
    aten.mul: _product,
    aten.pow: _square,
}
