"""A cone whose activations are computed twice: stored are only those at the borders of segments of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from math import prod

import torch
from torch.utils.checkpoint import checkpoint

from sr_hooks.attribution.receptive_field.cone import Cone, ConeStep
from sr_hooks.attribution.receptive_field.extents import lengths
from sr_hooks.attribution.receptive_field.fixed_values import Fixed

__all__ = ["SegmentedCone"]

_PARTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # segments that are tried: the share of all that one may make
_FLOAT = 4  # bytes of a number


class SegmentedCone:
    """A cone that is called as the cone itself, gives the same values and gradients, and takes less memory.

    A forward stores what passes the borders between segments. The backward computes one segment at a time once more.
    The borders are where little passes, so that these values and the largest segment take as little as possible.

    Attributes:
        borders: the positions of the steps at which segments begin, and the number of steps.
        bytes: what a forward and backward hold, nearly: the values at the borders, and the largest segment.
    """

    def __init__(self, cone: Cone) -> None:
        self.cone, self._last = cone, _last_uses(cone)
        sizes = _Sizes(cone, self._last)
        self.bytes, self.borders = min(sizes.cost(sizes.borders(sizes.total / parts)) for parts in _PARTS)

    def __call__(self, x: torch.Tensor, fixed: Fixed) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """As `Cone.__call__`; differentiable."""
        values = {0: x}
        for start, stop in pairwise(self.borders):
            taken, given = self._taken(start, stop, values), self._given(start, stop)
            run = partial(self._run, (start, stop), taken, given, fixed)
            # No random numbers are drawn: what draws is not recorded.
            made = checkpoint(run, *(values[index] for index in taken), use_reentrant=False, preserve_rng_state=False)
            values.update(zip(given, made, strict=True))
            values = {index: value for index, value in values.items() if self._last[index] >= stop}
        return self.cone.results_in(values, fixed)

    def _run(
        self, steps: tuple[int, int], taken: Sequence[int], given: Sequence[int], fixed: Fixed, *tensors: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        values = dict(zip(taken, tensors, strict=True))
        self.cone.advance(values, fixed, *steps)
        return tuple(values[index] for index in given)

    def _taken(self, start: int, stop: int, values: Iterable[int]) -> list[int]:
        needs = {index for step in self.cone.steps[start:stop] for index, _ in step.part.needs}
        return [index for index in values if index in needs]

    def _given(self, start: int, stop: int) -> list[int]:
        made = (index for step in self.cone.steps[start:stop] for index in _made(self.cone, step))
        return [index for index in made if self._last[index] >= stop]


class _Sizes:
    """How many bytes the values of a cone take, for a choice of borders.

    Attributes:
        total: bytes of all values that the steps make.
    """

    def __init__(self, cone: Cone, last: Mapping[int, int]) -> None:
        self._bytes = {index: _FLOAT * prod(lengths(extent)) for index, extent in cone.known.items()}
        self._made = [0]  # before each step, by all steps so far
        self._alive: list[set[int]] = [{0}]  # before each step
        for position, step in enumerate(cone.steps):
            made = _made(cone, step)
            self._made.append(self._made[-1] + (0 if _is_view(step) else self._of(made)))
            self._alive.append({i for i in (*self._alive[-1], *made) if last[i] > position})
        self.total = self._made[-1]

    def _of(self, indices: Iterable[int]) -> int:
        return sum(self._bytes[index] for index in indices)

    def borders(self, most: float) -> tuple[int, ...]:
        """Those of segments that make no more than so many bytes, as far as single steps allow, where little passes."""
        borders = [0]
        for stop in range(1, len(self._made)):
            begin = self._made[borders[-1]]
            if self._made[stop] - begin > most:
                second_half = (p for p in range(borders[-1] + 1, stop + 1) if self._made[p] - begin >= most / 2)
                borders.append(min(second_half, key=lambda position: self._of(self._alive[position])))
        return tuple(dict.fromkeys((*borders, len(self._made) - 1)))

    def cost(self, borders: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """The bytes that are held at once, and the borders."""
        passing = set().union(*(self._alive[position] for position in borders[:-1]))
        return self._of(passing) + max(self._made[b] - self._made[a] for a, b in pairwise(borders)), borders


def _last_uses(cone: Cone) -> dict[int, int]:
    """By value the position of the last step that takes it; of results, of the end."""
    last = {index: position for position, step in enumerate(cone.steps) for index, _ in step.part.needs}
    return last | dict.fromkeys(cone.ends, len(cone.steps))


def _made(cone: Cone, step: ConeStep) -> list[int]:
    """The values that a step makes and others take."""
    return [index for index in step.operation.outputs if index is not None and index in cone.known]


def _is_view(step: ConeStep) -> bool:
    return any(argument.alias_info is not None for argument in step.operation.function._schema.arguments)
