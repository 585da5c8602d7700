"""The values of a trace that no input changes: weights, and masks and tables that are computed from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sr_hooks.attribution.receptive_field.extents import Extent, is_whole, narrowed, whole
from sr_hooks.attribution.receptive_field.trace import Ref, Trace, TracedOperation

__all__ = ["Fixed", "fixed_values", "run_whole"]

_VIEWS = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)

Fixed = Mapping[tuple[int, Extent], torch.Tensor]  # values by number and extent


def fixed_values(
    trace: Trace, parts: Mapping[int, Collection[Extent]], weights: Mapping[str, torch.Tensor]
) -> dict[tuple[int, Extent], torch.Tensor]:
    """These parts of values that no input changes.

    Equal operations are run once: a network may compute the same mask in each of its layers. What is used up is freed.
    """
    needed, operations = set(parts), []
    for operation in reversed(trace.steps):
        if any(index in needed for index in operation.outputs):
            operations.append(operation)
            needed.update(operation.refs())
    once = _once(operations[::-1])
    values = {number: weights[name] for number, name in trace.weights.items() if number in needed}
    values |= {number: value.detach() for number, value in trace.constants.items() if number in needed}
    users: dict[int, list[int]] = {}
    for index in parts:
        users.setdefault(once.instead.get(index, index), []).append(index)
    out: dict[tuple[int, Extent], torch.Tensor] = {}

    def take(index: int) -> None:
        for user in users.get(index, ()):
            out.update({(user, extent): _part(values[index], extent) for extent in parts[user]})

    for index in list(values):
        take(index)
    last = {index: number for number, operation in enumerate(once.operations) for index in operation.refs()}
    with torch.no_grad():
        for number, operation in enumerate(once.operations):
            result = run_whole(operation, values)
            for made, value in zip(operation.outputs, result if operation.several else [result], strict=True):
                if made is not None:
                    values[made] = value
                    take(made)
            for used in {*operation.refs(), *operation.outputs}:
                if used is not None and last.get(used, number) == number:
                    values.pop(used, None)
    return out


def run_whole(step: TracedOperation, values: Mapping[int, torch.Tensor]) -> Any:
    """What an operation gives of these values.

    A view is taken as a reshape: weights may lie channels last now, and in another order when the view was recorded.
    """
    args, kwargs = step.taking(values.__getitem__)
    if step.function in _VIEWS:
        return args[0].reshape(args[1])
    return step.function(*args, **kwargs)


def _part(value: torch.Tensor, extent: Extent) -> torch.Tensor:
    """A copy, so that the whole value can be freed; or the value itself."""
    if is_whole(extent):
        return value
    return narrowed(value, whole(tuple(value.shape)), extent).clone()


@dataclass(frozen=True)
class _Once:
    """Operations without those that repeat an earlier one, and which value stands for which."""

    operations: list[TracedOperation]
    instead: dict[int, int]


def _written(operations: Sequence[TracedOperation]) -> set[int | None]:
    """The values that an operation writes to in place, and those that may share their memory."""
    written: set[int | None] = set()
    for operation in reversed(operations):
        if operation.function._schema.is_mutable or not written.isdisjoint(operation.outputs):
            written.update(operation.refs(), operation.outputs)
    return written - {None}


def _once(operations: Sequence[TracedOperation]) -> _Once:
    once, first, written = _Once([], {}), dict[str, TracedOperation](), _written(operations)
    for operation in operations:
        args, kwargs = operation.taking(lambda index: Ref(once.instead.get(index, index)))
        operation = replace(operation, args=tuple(args), kwargs=kwargs)
        key = f"{operation.function} {args} {kwargs}"
        earlier = first.setdefault(key, operation)
        if earlier is operation or not written.isdisjoint((*operation.refs(), *operation.outputs)):
            once.operations.append(operation)
            continue
        for index, other in zip(operation.outputs, earlier.outputs, strict=True):
            if index is not None and other is not None:
                once.instead[index] = other
    return once
