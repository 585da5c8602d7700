"""The cone of a window: of a network and a window, only what the window depends on is computed.

The operations are written down once (`trace`); from the window backwards, each says which part of its inputs it needs
(`rules`). For convolutions that is a few pixels more a layer, for windows of attention it is the windows that the part
touches, so the features before the tail shrink to the window's neighbourhood and the input to the receptive field. What
needs everything (global pooling, global attention) is computed whole, and so is what comes before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from sr_hooks.attribution.receptive_field.extents import Extent, as_box, boxed, can_narrow, hull, narrowed, whole
from sr_hooks.attribution.receptive_field.fixed_values import Fixed, fixed_values, run_whole
from sr_hooks.attribution.receptive_field.rules.parts import Fetch, Part, Shapes
from sr_hooks.attribution.receptive_field.rules.table import needs_everything, part_of
from sr_hooks.attribution.receptive_field.trace import Trace, TracedOperation, Untraceable
from sr_hooks.images.windows import Box

__all__ = ["Cone", "ConeStep"]


@dataclass(frozen=True)
class ConeStep:
    """A recorded operation, and the part of the operation that the cone computes."""

    operation: TracedOperation
    part: Part


class Cone:
    """What some results of a trace depend on, ready to be computed.

    Args:
        trace: the operations.
        results: which of the trace's results are wanted, by their positions in it.
        shown: the position of one more result, which is given back as far as it is computed.

    Attributes:
        inputs: the box of the input that is needed; None where nothing depends on it.
        shown_box: the box of the shown result that is computed.
        work: multiply-accumulates of one forward, as far as convolutions and matrix products go.
        barrier: the operation nearest to the results that needs all of its input's rows and columns, or "".
        steps: what is computed, in order.
        known: of the values that the input changes, by number, the part that is computed.
        ends: the numbers of the values that are results.
    """

    def __init__(self, trace: Trace, results: Sequence[int], *, shown: int | None = None) -> None:
        self.trace = trace
        self._results = [trace.results[position] for position in results]
        self._shown = _origin(trace, trace.results[shown]) if shown is not None else None
        self.ends = {*self._results} if self._shown is None else {*self._results, self._shown}
        self._moving = _depending(trace)
        self.known: dict[int, Extent] = {}
        self.inputs: Box | None = None
        self.shown_box: Box | None = None
        self.barrier = ""
        self.steps = self._plan()
        self._last = _last_uses([step.part for step in self.steps])
        self.work = sum(step.part.work for step in self.steps)

    def _plan(self) -> list[ConeStep]:
        shapes, steps = self.trace.shapes, []
        wanted = {index: whole(shapes[index]) for index in self._results}
        for step in reversed(self.trace.steps):
            outputs = [index for index in step.outputs if index in wanted]
            if not any(index in self._moving for index in outputs):
                continue
            if self._shown in outputs:
                self.shown_box = as_box(wanted[self._shown])
                wanted[self._shown] = boxed(self.shown_box, shapes[self._shown])
            part = self._cut(step, outputs, wanted)
            for index in outputs:
                self.known[index] = _in_shape(part.gives, shapes[index])
            for index, need in part.needs:
                if index in self._moving:
                    wanted[index] = hull(wanted[index], need) if index in wanted else need
            steps.append(ConeStep(step, part))
        if 0 in wanted:
            self.inputs = as_box(wanted[0])
            self.known[0] = boxed(self.inputs, shapes[0])
        needs = (need for step in steps for need in step.part.needs)
        if not all(can_narrow(self.known[index], need) for index, need in needs if index in self._moving):
            raise Untraceable("parts of the image are taken that do not fit into each other")
        return steps[::-1]

    def _cut(self, step: TracedOperation, outputs: list[int], wanted: Mapping[int, Extent]) -> Part:
        shapes = self.trace.shapes
        want = _joint(step, outputs, wanted, shapes)
        part = part_of(step, shapes, want) if want is not None else None
        if not self.barrier and step.module and needs_everything(step, part, wanted, shapes, self._moving):
            self.barrier = f"{str(step.function).removesuffix('.default')} in {step.module}"
        return part or _entire(step, shapes)

    def prepare(self, weights: Mapping[str, torch.Tensor]) -> dict[tuple[int, Extent], torch.Tensor]:
        """The parts of values that the cone takes and that no input changes, from the weights."""
        parts: dict[int, set[Extent]] = {}
        for step in self.steps:
            for index, extent in step.part.needs:
                if index not in self._moving:
                    parts.setdefault(index, set()).add(extent)
        return fixed_values(self.trace, parts, weights)

    def __call__(self, x: torch.Tensor, fixed: Fixed) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """The shown result as far as computed, and the wanted ones; differentiable.

        Args:
            x: the box `inputs` of the input, (N,C,h',w').
            fixed: what `prepare` gave.
        """
        values = {0: x}
        self.advance(values, fixed)
        return self.results_in(values, fixed)

    def advance(self, values: dict[int, torch.Tensor], fixed: Fixed, start: int = 0, stop: int | None = None) -> None:
        """Run the steps from `start` to `stop`: what they make is added to the values, and what is used up removed."""
        fetch = self._fetch_from(values, fixed)
        for position, step in enumerate(self.steps[start:stop], start):
            out = step.part.run(fetch)
            for index, value in zip(step.operation.outputs, out if step.operation.several else [out], strict=True):
                if index in self.known:
                    values[index] = value
            for index in self._last.get(position, ()):
                if index not in self.ends:
                    values.pop(index, None)

    def results_in(
        self, values: Mapping[int, torch.Tensor], fixed: Fixed
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """The shown result as far as computed, and the wanted ones, from the values after the last step."""
        fetch, shapes, shown = self._fetch_from(values, fixed), self.trace.shapes, None
        if self._shown is not None and self.shown_box is not None:
            shown = fetch(self._shown, boxed(self.shown_box, shapes[self._shown]))
        return shown, [fetch(index, whole(shapes[index])) for index in self._results]

    def _fetch_from(self, values: Mapping[int, torch.Tensor], fixed: Fixed) -> Fetch:
        def fetch(index: int, extent: Extent) -> torch.Tensor:
            if index in values:
                return narrowed(values[index], self.known[index], extent)
            return fixed[index, extent]

        return fetch


def _depending(trace: Trace) -> set[int]:
    """The values that the input changes."""
    moving = {0}
    for step in trace.steps:
        if any(index in moving for index in step.refs()):
            moving.update(index for index in step.outputs if index is not None)
    return moving


def _origin(trace: Trace, number: int) -> int:
    """The value that this one merely renames."""
    makers = {index: step for step in trace.steps for index in step.outputs}
    while number in makers and makers[number].function.overloadpacket is torch.ops.aten.alias:
        number = makers[number].args[0].index
    return number


def _entire(step: TracedOperation, shapes: Shapes) -> Part:
    """The step as it was recorded, on whole inputs."""
    needs = {index: whole(shapes[index]) for index in step.refs()}

    def run(fetch: Any) -> Any:
        return run_whole(step, {index: fetch(index, extent) for index, extent in needs.items()})

    first = next(index for index in step.outputs if index is not None)
    return Part(tuple(needs.items()), run, whole(shapes[first]), _work(step, shapes))


def _joint(
    step: TracedOperation, outputs: Sequence[int], wanted: Mapping[int, Extent], shapes: Shapes
) -> Extent | None:
    """What is wanted of a step's outputs, in the shape of the first; None where they have other dimensions."""
    first = step.outputs[0]
    if first is None or any(len(shapes[index]) != len(shapes[first]) for index in outputs):
        return None
    joint, *others = (_in_shape(wanted[index], shapes[first], shapes[index]) for index in outputs)
    for other in others:
        joint = hull(joint, other)
    return joint


def _in_shape(extent: Extent, shape: tuple[int, ...], of: tuple[int, ...] | None = None) -> Extent:
    """The extent in another output of its step: all of the dimensions that have another size."""
    sizes = of or tuple(prod(each.size for each in spans) for spans in extent)
    if len(sizes) != len(shape):
        return whole(shape)
    return tuple(a if size == side else b for a, b, size, side in zip(extent, whole(shape), sizes, shape, strict=True))


def _work(step: TracedOperation, shapes: Shapes) -> int:
    """Multiply-accumulates of a whole operation, where torch's own counter knows it."""
    from torch.utils.flop_counter import flop_registry

    counter = flop_registry.get(step.function.overloadpacket)
    if counter is None:
        return 0
    args, kwargs = step.taking(shapes.__getitem__)
    return int(counter(*args, **kwargs, out_val=shapes[step.outputs[0]])) // 2  # type: ignore[index]


def _last_uses(parts: Sequence[Part]) -> dict[int, list[int]]:
    """Position of a step: the values that nothing after it takes."""
    last = {index: position for position, part in enumerate(parts) for index, _ in part.needs}
    out: dict[int, list[int]] = {}
    for index, position in last.items():
        out.setdefault(position, []).append(index)
    return out
