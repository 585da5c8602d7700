"""Rules for operations that look around pixels or move them: convolution, pooling, shuffling, resizing, padding."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch.nn import functional as F

from sr_hooks.attribution.receptive_field.extents import Extent, Span, one_span, span
from sr_hooks.attribution.receptive_field.rules.boxes import BoxFetch, BoxPart, BoxRule
from sr_hooks.attribution.receptive_field.rules.parts import Fetch, Part, Shapes, shape_of
from sr_hooks.attribution.receptive_field.trace import TracedOperation
from sr_hooks.images.windows import Box

__all__ = [
    "constant_pad",
    "convolution",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "pool",
    "resize",
    "sliding",
    "sliding_grid",
]


def convolution(step: TracedOperation, shapes: Shapes, box: Box) -> BoxPart | None:
    x, weight, bias, stride, padding, dilation, transposed, _, groups = step.args
    kernel = shapes[weight.index]
    if len(kernel) != 4 or len(shapes[x.index]) != 4:
        return None
    size = shapes[x.index][-2:]
    geometry = [(_at(stride, i), _at(padding, i), _at(dilation, i), kernel[2 + i], size[i]) for i in (0, 1)]
    under = _under_transposed if transposed else _under
    vertical, horizontal = (under(*ends, *geometry[i]) for i, ends in enumerate(_ends(box)))
    if vertical is None or horizontal is None:
        return None
    (top, bottom, up, down), (left, right, before, after) = vertical, horizontal
    need = Box(top, bottom, left, right)
    biased = [] if bias is None else [(bias.index, None)]
    rows, columns = box.size
    strides, dilations, same = _pair(stride), _pair(dilation), up == down and before == after
    around = (up, before) if same else 0

    def run(fetch: BoxFetch) -> torch.Tensor:
        inside, w = fetch(x.index, need), fetch(weight.index, None)
        b = None if bias is None else fetch(bias.index, None)
        if transposed:
            out = F.conv_transpose2d(inside, w, b, strides, 0, 0, groups, dilations)
            return out[..., up : up + rows, before : before + columns]
        if not same:
            inside = F.pad(inside, (before, after, up, down))
        return F.conv2d(inside, w, b, strides, around, dilations, groups)

    work = prod(kernel) * (need.size[0] * need.size[1] if transposed else rows * columns)
    return BoxPart(((x.index, need), (weight.index, None), *biased), run, work)


def _under(start: int, end: int, s: int, p: int, d: int, k: int, n: int) -> tuple[int, int, int, int] | None:
    """Input rows under output rows start to end, and how many rows of padding before and after them."""
    low, high = start * s - p, (end - 1) * s - p + d * (k - 1) + 1
    if high <= 0 or low >= n:
        return None
    return max(low, 0), min(high, n), max(-low, 0), max(high - n, 0)


def _under_transposed(start: int, end: int, s: int, p: int, d: int, k: int, n: int) -> tuple[int, int, int, int] | None:
    """Input rows that reach output rows start to end, and how many rows of what they give come before those."""
    low, high = max(0, -(-(start + p - d * (k - 1)) // s)), min(n, (end - 1 + p) // s + 1)
    skip = start + p - low * s
    if low >= high or skip < 0 or skip + end - start > (high - low - 1) * s + d * (k - 1) + 1:
        return None
    return low, high, skip, 0


def pool(step: TracedOperation, shapes: Shapes, box: Box) -> BoxPart | None:
    source = step.args[0].index
    kernel = step.args[1]
    stride = step.args[2] if len(step.args) > 2 and step.args[2] else kernel
    if any(value != 0 for value in _listed(step.args[3] if len(step.args) > 3 else 0)):
        return None
    if "max" in str(step.function) and any(value != 1 for value in _listed(step.args[4] if len(step.args) > 4 else 1)):
        return None
    size = shapes[source][-2:]
    vertical, horizontal = (
        _under(*ends, _at(stride, i), 0, 1, _at(kernel, i), size[i]) for i, ends in enumerate(_ends(box))
    )
    if vertical is None or horizontal is None or any((*vertical[2:], *horizontal[2:])):
        return None
    need = Box(*vertical[:2], *horizontal[:2])
    return BoxPart(((source, need),), lambda fetch: step.function(fetch(source, need), *step.args[1:], **step.kwargs))


def pixel_shuffle(step: TracedOperation, shapes: Shapes, box: Box) -> BoxPart | None:
    source, r = step.args[0].index, step.args[1]
    need = Box(box.top // r, -(-box.bottom // r), box.left // r, -(-box.right // r))
    return BoxPart(((source, need),), lambda fetch: _cut(F.pixel_shuffle(fetch(source, need), r), box, need, r))


def pixel_unshuffle(step: TracedOperation, shapes: Shapes, box: Box) -> BoxPart | None:
    source, r = step.args[0].index, step.args[1]
    need = Box(*(side * r for side in box))
    return BoxPart(((source, need),), lambda fetch: F.pixel_unshuffle(fetch(source, need), r))


def resize(mode: str, reach: int, *, antialias: bool = False) -> BoxRule:
    """Interpolation by a whole factor, without aligned corners."""

    def rule(step: TracedOperation, shapes: Shapes, box: Box) -> BoxPart | None:
        source, out = step.args[0].index, shape_of(step, shapes)
        h, w = shapes[source][-2:]
        factor = out[-2] // h
        if factor < 1 or out[-2:] != (h * factor, w * factor) or (reach and step.args[2] is True):
            return None
        if any(isinstance(v, float) and v != factor for each in step.args[2:] for v in _listed(each)):
            return None
        need = Box(
            max(box.top // factor - reach, 0),
            min((box.bottom - 1) // factor + 1 + reach, h),
            max(box.left // factor - reach, 0),
            min((box.right - 1) // factor + 1 + reach, w),
        )

        def run(fetch: BoxFetch) -> torch.Tensor:
            size = (need.size[0] * factor, need.size[1] * factor)
            inside, corners = fetch(source, need), False if reach else None
            larger = F.interpolate(inside, size=size, mode=mode, align_corners=corners, antialias=antialias)
            return _cut(larger, box, need, factor)

        return BoxPart(((source, need),), run)

    return rule


def pad(step: TracedOperation, shapes: Shapes, box: Box) -> BoxPart | None:
    """Mirrored or repeated borders of the last two dimensions."""
    source, pads = step.args[0].index, list(step.args[1])
    if len(pads) not in (2, 4):
        return None
    left, _, top, _ = (*pads, 0, 0)[:4]
    kind = str(step.function)
    vertical = _under_pad(kind, box.top, box.bottom, top, shapes[source][-2])
    horizontal = _under_pad(kind, box.left, box.right, left, shapes[source][-1])
    if vertical is None or horizontal is None:
        return None
    (t, b, up, down, y), (le, r, ahead, behind, x) = vertical, horizontal
    need, rest = Box(t, b, le, r), step.args[2:]
    rows, columns = box.size

    def run(fetch: BoxFetch) -> torch.Tensor:
        inside = fetch(source, need)
        if up or down or ahead or behind:
            inside = step.function(inside, [ahead, behind, up, down], *rest)
        return inside[..., y : y + rows, x : x + columns]

    return BoxPart(((source, need),), run)


def _under_pad(kind: str, start: int, end: int, before: int, n: int) -> tuple[int, int, int, int, int] | None:
    """Input rows, rows of padding wanted before and after them, and where the output rows begin in what that gives."""
    low, high = max(start - before, 0), min(end - before, n)
    ahead, behind = max(before - start, 0), max(end - before - n, 0)
    if "reflection" in kind:
        low, high = (0 if ahead else min(low, n - 1 - behind)), (n if behind else max(high, ahead + 1))
    if low >= high or high > n or low < 0:
        return None
    return low, high, ahead, behind, 0 if ahead else start - before - low


def _cut(larger: torch.Tensor, box: Box, need: Box, factor: int) -> torch.Tensor:
    top, left = box.top - need.top * factor, box.left - need.left * factor
    return larger[..., top : top + box.size[0], left : left + box.size[1]]


def constant_pad(step: TracedOperation, shapes: Shapes, want: Extent) -> Part:
    """Borders of one value, of any dimensions."""
    source, pads = step.args[0].index, step.args[1]
    need, gives, around = list(want), list(want), list[int]()
    for position, (before, after) in enumerate(zip(pads[::2], pads[1::2], strict=True)):
        dim = len(want) - 1 - position
        side = shapes[source][dim]
        if before == after == 0:
            around += [0, 0]
            continue
        inside = one_span(want[dim])
        if inside.stop > inside.size:
            inside = Span(inside.size, 0, inside.size)
        low = min(max(inside.start - before, 0), side - 1)  # of a border alone a line is taken, and cut off again
        high = max(min(inside.stop - before, side), low + 1)
        around += [low + before - inside.start, inside.stop - before - high]
        gives[dim], need[dim] = (inside,), (span(side, low, high),)
    taken, rest = tuple(need), step.args[2:]

    def run(fetch: Fetch) -> torch.Tensor:
        value = fetch(source, taken)
        return F.pad(value, around, value=rest[0] if rest else 0.0) if any(around) else value

    return Part(((source, taken),), run, tuple(gives))


def sliding(step: TracedOperation, shapes: Shapes, box: Box) -> BoxPart | None:
    """Windows side by side (`nn.Unfold`), as channels of an image that has a pixel for each."""
    source, kernel, dilation, padding, stride = step.args
    size = shapes[source.index][-2:]
    geometry = [(_at(stride, i), _at(padding, i), _at(dilation, i), _at(kernel, i), size[i]) for i in (0, 1)]
    vertical, horizontal = (_under(*ends, *geometry[i]) for i, ends in enumerate(_ends(box)))
    if vertical is None or horizontal is None:
        return None
    (top, bottom, up, down), (left, right, before, after) = vertical, horizontal
    need = Box(top, bottom, left, right)

    def run(fetch: BoxFetch) -> torch.Tensor:
        inside = F.pad(fetch(source.index, need), (before, after, up, down))
        columns: torch.Tensor = F.unfold(inside, _pair(kernel), _pair(dilation), 0, _pair(stride))
        return columns.reshape(*columns.shape[:2], *box.size)

    return BoxPart(((source.index, need),), run)


def sliding_grid(step: TracedOperation, shapes: Shapes) -> tuple[int, int]:
    """How many windows stand below each other and side by side."""
    source, kernel, dilation, padding, stride = step.args
    rows, columns = (
        (side + 2 * _at(padding, i) - _at(dilation, i) * (_at(kernel, i) - 1) - 1) // _at(stride, i) + 1
        for i, side in enumerate(shapes[source.index][-2:])
    )
    return rows, columns


def _ends(box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    return (box.top, box.bottom), (box.left, box.right)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _at(value: Any, i: int) -> int:
    return int(value[i % len(value)]) if isinstance(value, (list, tuple)) else int(value)


def _pair(value: Any) -> tuple[int, int]:
    return _at(value, 0), _at(value, 1)
