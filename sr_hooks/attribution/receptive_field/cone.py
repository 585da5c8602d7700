"""The cone of window_cone: of a network and a window, only what the window depends on is computed.

The operations are written down once (`trace`); from the window backwards, each says which part of its
inputs it needs (`rules`). For convolutions that is a few pixels more a layer, so the features before the
tail shrink to the window's neighbourhood and the input to the receptive field. What needs everything (global pooling,
attention) is computed whole, and so is what comes before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from sr_hooks.attribution.receptive_field.parts import Part, Shapes, hull, whole
from sr_hooks.attribution.receptive_field.rules import part_of
from sr_hooks.attribution.receptive_field.trace import Ref, Trace, TracedOperation
from sr_hooks.images.windows import Box

__all__ = ["Cone"]


@dataclass(frozen=True)
class _ConeStep:
    """A recorded operation, and the part of the operation that the cone computes."""

    operation: TracedOperation
    part: Part
    box: Box | None
    cut: bool


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
    """

    def __init__(self, trace: Trace, results: Sequence[int], *, shown: int | None = None) -> None:
        self.trace = trace
        self._results = [trace.results[position] for position in results]
        self._shown = _origin(trace, trace.results[shown]) if shown is not None else None
        self._moving = _depending(trace)
        self._boxes: dict[int, Box | None] = {}
        self.barrier = ""
        self._steps = self._plan()
        self._last = _last_uses([step.part for step in self._steps])
        self.inputs = self._boxes.get(0)
        self.shown_box = self._boxes.get(self._shown) if self._shown is not None else None
        self.work = sum(step.part.work for step in self._steps)

    def _plan(self) -> list[_ConeStep]:
        shapes, steps = self.trace.shapes, []
        wanted: dict[int, Box | None] = {index: whole(shapes[index]) for index in self._results}
        for step in reversed(self.trace.steps):
            outputs = [index for index in step.outputs if index in wanted]
            if not outputs:
                continue
            if not any(index in self._moving for index in outputs):
                for index in step.refs():
                    wanted[index] = whole(shapes[index])
                continue
            box, part = self._cut(step, outputs, wanted)
            for index in outputs:
                self._boxes[index] = box if part is not None else whole(shapes[index])
            shown = part or _entire(step, shapes)
            for index, need in shown.needs:
                wanted[index] = hull(wanted[index], need) if index in wanted else need
            steps.append(_ConeStep(step, shown, box, part is not None))
        for index, box in wanted.items():
            if index not in self._moving or index == 0:
                self._boxes[index] = box if index == 0 else whole(shapes[index])
        return steps[::-1]

    def _cut(
        self, step: TracedOperation, outputs: list[int], wanted: Mapping[int, Box | None]
    ) -> tuple[Box | None, Part | None]:
        shapes = self.trace.shapes
        first = step.outputs[0]
        box = wanted[outputs[0]]
        for index in outputs[1:]:
            box = hull(box, wanted[index])
        alike = first is not None and all(shapes[index][-2:] == shapes[first][-2:] for index in outputs)
        part = part_of(step, shapes, box) if alike else None
        if part is None and step.module and not self.barrier and any(len(shapes[i]) >= 3 for i in step.refs()):
            self.barrier = f"{str(step.function).removesuffix('.default')} in {step.module}"
        return box, part

    def prepare(self, weights: Mapping[str, torch.Tensor]) -> dict[int, torch.Tensor]:
        """The values that the cone takes and that no input changes, from the weights; what is used up is freed."""
        results = {index for step in self._steps for index, _ in step.part.needs if index not in self._moving}
        wanted, operations = set(results), []
        for operation in reversed(self.trace.steps):
            if any(index in wanted for index in operation.outputs):
                operations.append(operation)
                wanted.update(operation.refs())
        values = {number: weights[name] for number, name in self.trace.weights.items() if number in wanted}
        values |= {number: value.detach() for number, value in self.trace.constants.items() if number in wanted}
        last = {index: number for number, operation in enumerate(operations[::-1]) for index in operation.refs()}
        with torch.no_grad():
            for number, operation in enumerate(operations[::-1]):
                out = _call(operation, values)
                for index, value in zip(operation.outputs, out if operation.several else [out], strict=True):
                    if index in wanted:
                        values[index] = value
                for index in operation.refs():
                    if last[index] == number and index not in results:
                        values.pop(index, None)
        return {index: values[index] for index in results if index in values}

    def __call__(
        self, x: torch.Tensor, fixed: Mapping[int, torch.Tensor]
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """The shown result as far as computed, and the wanted ones; differentiable.

        Args:
            x: the box `inputs` of the input, (N,C,h',w').
            fixed: what `prepare` gave.
        """
        values: dict[int, torch.Tensor] = {0: x}

        def fetch(index: int, box: Box | None) -> torch.Tensor:
            value = values[index] if index in values else fixed[index]
            known = self._boxes[index]
            if box is None or known is None or box == known:
                return value
            top, left = box.top - known.top, box.left - known.left
            return value[..., top : top + box.size[0], left : left + box.size[1]]

        results = {*self._results, self._shown}
        for position, step in enumerate(self._steps):
            out = step.part.run(fetch)
            for index, value in zip(step.operation.outputs, out if step.operation.several else [out], strict=True):
                if index in self._boxes:
                    values[index] = value
            for index in self._last.get(position, ()):
                if index not in results:
                    values.pop(index, None)
        shown = values.get(self._shown) if self._shown is not None else None
        return shown, [values[index] for index in self._results]


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
        return _call(step, {index: fetch(index, box) for index, box in needs.items()})

    return Part(tuple(needs.items()), run, _work(step, shapes))


def _call(step: TracedOperation, values: Mapping[int, torch.Tensor]) -> Any:
    args, kwargs = tree_map_only(Ref, lambda ref: values[ref.index], (step.args, step.kwargs))
    return step.function(*args, **kwargs)


def _work(step: TracedOperation, shapes: Shapes) -> int:
    """Multiply-accumulates of a whole operation, where torch's own counter knows it."""
    from torch.utils.flop_counter import flop_registry

    counter = flop_registry.get(step.function.overloadpacket)
    if counter is None:
        return 0
    args, kwargs = tree_map_only(Ref, lambda ref: shapes[ref.index], (step.args, step.kwargs))
    return int(counter(*args, **kwargs, out_val=shapes[step.outputs[0]])) // 2  # type: ignore[index]


def _last_uses(parts: Sequence[Part]) -> dict[int, list[int]]:
    """Place of a step: the values that nothing after it takes."""
    last = {index: position for position, part in enumerate(parts) for index, _ in part.needs}
    out: dict[int, list[int]] = {}
    for index, position in last.items():
        out.setdefault(position, []).append(index)
    return out
