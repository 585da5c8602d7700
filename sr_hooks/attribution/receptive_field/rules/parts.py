"""Parts of the operations of a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sr_hooks.attribution.receptive_field.extents import Extent
from sr_hooks.attribution.receptive_field.trace import TracedOperation

__all__ = ["Fetch", "Part", "Rule", "Shapes", "replay", "shape_of"]


Fetch = Callable[[int, Extent], torch.Tensor]  # a value by its number, narrowed


@dataclass(frozen=True)
class Part:
    """A step, cut down.

    Attributes:
        needs: which part of which value it takes.
        run: computes the part `gives` of its outputs from those.
        gives: at least what was wanted.
        work: multiply-accumulates.
    """

    needs: tuple[tuple[int, Extent], ...]
    run: Callable[[Fetch], Any]
    gives: Extent
    work: int = 0


Shapes = Sequence[tuple[int, ...]]
Rule = Callable[[TracedOperation, Shapes, Extent], "Part | None"]


def shape_of(step: TracedOperation, shapes: Shapes) -> tuple[int, ...]:
    """Of the step's first output."""
    first = step.outputs[0]
    assert first is not None
    return shapes[first]


def replay(step: TracedOperation, needs: Mapping[int, Extent], fetch: Fetch) -> Any:
    """The same function on the narrowed values."""
    args, kwargs = step.taking(lambda index: fetch(index, needs[index]))
    return step.function(*args, **kwargs)
