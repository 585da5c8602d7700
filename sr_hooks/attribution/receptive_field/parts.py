"""Parts of values, and of the operations that compute them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sr_hooks.attribution.receptive_field.trace import Ref, TracedOperation
from sr_hooks.images.windows import Box

__all__ = ["Fetch", "Part", "Rule", "Shapes", "hull", "replay", "shape_of", "whole"]


Fetch = Callable[[int, Box | None], torch.Tensor]  # a value by its number, narrowed to a box; None for all of it


@dataclass(frozen=True)
class Part:
    """A step, cut down: `needs` says which box of which value it takes, `run` computes the wanted box from those."""

    needs: tuple[tuple[int, Box | None], ...]
    run: Callable[[Fetch], Any]
    work: int = 0  # multiply-accumulates for one image


Shapes = Sequence[tuple[int, ...]]
Rule = Callable[[TracedOperation, Shapes, Box], "Part | None"]


def whole(shape: Sequence[int]) -> Box | None:
    """The box of all of a value; None for one without rows and columns."""
    return Box(0, shape[-2], 0, shape[-1]) if len(shape) >= 2 else None


def hull(a: Box | None, b: Box | None) -> Box | None:
    """The smallest box that holds both."""
    if a is None or b is None:
        return None
    return Box(min(a.top, b.top), max(a.bottom, b.bottom), min(a.left, b.left), max(a.right, b.right))


def shape_of(step: TracedOperation, shapes: Shapes) -> tuple[int, ...]:
    """Of the step's first output."""
    first = step.outputs[0]
    assert first is not None
    return shapes[first]


def replay(step: TracedOperation, needs: dict[int, Box | None], fetch: Fetch) -> Any:
    """The same function on the narrowed values."""

    def put(value: Any) -> Any:
        if isinstance(value, Ref):
            return fetch(value.index, needs[value.index])
        if isinstance(value, (list, tuple)):
            return type(value)(put(v) for v in value)
        return value

    return step.function(*(put(a) for a in step.args), **{k: put(v) for k, v in step.kwargs.items()})
