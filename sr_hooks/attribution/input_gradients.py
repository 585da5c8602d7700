"""Gradients of an objective with respect to the input, in batches, as cheap as they come."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from sr_hooks.attribution.objectives.objective import Objective
from sr_hooks.attribution.receptive_field.fixed_values import Fixed
from sr_hooks.attribution.receptive_field.proved_cones import WindowCone
from sr_hooks.attribution.receptive_field.segments import SegmentedCone
from sr_hooks.core.torch_errors import is_out_of_memory
from sr_hooks.errors import NetworkError, OptionError, SRHooksError
from sr_hooks.hooks.gradient_breaks import find_gradient_breaks
from sr_hooks.images.windows import Window
from sr_hooks.inference.calibration import ExecutionPlan, autocast, reduced, to_cpu, to_device
from sr_hooks.inference.memory.fallback import attempt
from sr_hooks.networks.calling import tensor_float_32
from sr_hooks.networks.network import Network

__all__ = ["Facts", "Gradients", "Sample", "Samples", "Tally", "extremes"]

_log = logging.getLogger("sr_hooks")
_SIZES = (1, 2, 3, 4, 6, 9, 12, 17, 21, 26, 33, 42, 51, 65, 84, 106, 128)  # of a cone's batches, recorded once each


@dataclass(frozen=True)
class Facts:
    """What was met at one input and for one window.

    Attributes:
        value: the objective.
        nonfinite: entries of the gradient that were NaN or infinite and are 0 there.
        low, high: extremes of the output, as far as it was computed.
        broken: values of the output that were NaN or infinite.
    """

    value: float
    nonfinite: int
    low: float
    high: float
    broken: int

    @classmethod
    def of(cls, row: Sequence[float]) -> Facts:
        """From a row of `Samples.facts`."""
        value, nonfinite, low, high, broken = row
        return cls(value, int(nonfinite), low, high, int(broken))


@dataclass(frozen=True)
class Sample:
    """At one input and for one window: the gradient (1,C,h,w) on the CPU, and what was met."""

    gradient: torch.Tensor
    facts: Facts


@dataclass
class Tally:
    """What was met over several samples; see `Facts`."""

    nonfinite: int = 0
    low: float = math.inf
    high: float = -math.inf
    broken: int = 0

    def add(self, facts: Facts) -> None:
        self.nonfinite += facts.nonfinite
        self.broken += facts.broken
        self.low, self.high = min(self.low, facts.low), max(self.high, facts.high)


@dataclass(frozen=True)
class Samples:
    """Gradients for windows at points, on the network's device.

    Attributes:
        pairs: of each sample the number of the point and the index of the window.
        gradients: (S,C,h,w) float32, 0 where an entry was not finite.
        facts: (S,5) float64, the fields of `Facts`.
        outputs: the outputs (1,C,H,W) at the points for which they were requested, as far as they were computed.
    """

    pairs: Sequence[tuple[int, int]]
    gradients: torch.Tensor
    facts: torch.Tensor
    outputs: Mapping[int, torch.Tensor] = field(default_factory=dict)

    def on_cpu(self) -> list[dict[int, Sample]]:
        """For each point the samples of its windows, by the window's index; an accelerator is waited for once."""
        gradients, facts = to_cpu(self.gradients, self.facts)
        points: list[dict[int, Sample]] = [{} for _ in range(1 + max(point for point, _ in self.pairs))]
        for row, ((point, index), numbers) in enumerate(zip(self.pairs, facts.tolist(), strict=True)):
            points[point][index] = Sample(gradients[row : row + 1], Facts.of(numbers))
        return points

    @staticmethod
    def joined(parts: Sequence[tuple[int, Samples]]) -> Samples:
        """The samples of several batches, each with the number of its first point."""
        if len(parts) == 1:
            return parts[0][1]
        return Samples(
            [(first + point, index) for first, part in parts for point, index in part.pairs],
            torch.cat([part.gradients for _, part in parts]),
            torch.cat([part.facts for _, part in parts]),
            {first + point: output for first, part in parts for point, output in part.outputs.items()},
        )


class Gradients:
    """d objective / d input at any number of inputs, for several windows from one forward.

    No parameter gradient is computed. Where memory runs out, the batch is halved; of one input, a cone's activations
    are computed twice. A network that writes in place into what its backward needs is run again with its layers'
    outputs cloned.

    Args:
        window_cone: where given, only the windows' cone is computed, and inputs and gradients are of its `inputs` box.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        windows: Sequence[Window],
        plan: ExecutionPlan,
        precision: str,
        window_cone: WindowCone | None = None,
    ) -> None:
        self.network, self.objective, self.windows = network, objective, list(windows)
        self.plan, self.precision, self.window_cone = plan, precision, window_cone
        self._fixed: dict[int, Fixed] = {}
        self._segmented: SegmentedCone | None = None  # the cone of one input, where memory ran out

    def __call__(
        self, points: torch.Tensor, wanted: Sequence[Sequence[int]], *, with_output: Sequence[int] = ()
    ) -> Samples:
        """The samples of the windows that are wanted at each of the points (K,C,h,w), at least one a point.

        Nothing waits for an accelerator here. `with_output` has the numbers of the points whose outputs are given too.
        """
        layout = self.network.channels_last(self.plan.channels_last and self.window_cone is None)
        with layout, tensor_float_32(self.precision == "tf32"):  # backwards included, which run outside of `reduced`
            return self._in_batches(points, wanted, frozenset(with_output))

    def _in_batches(
        self, points: torch.Tensor, wanted: Sequence[Sequence[int]], with_output: frozenset[int]
    ) -> Samples:
        done: list[tuple[int, Samples]] = []
        first = 0
        while first < len(points):
            part = slice(first, first + self.plan.batch)
            shown = [number - first for number in range(len(points))[part] if number in with_output]
            batch = partial(self._batch, points[part], wanted[part], shown)
            tried = attempt(partial(self.network.differentiate, batch))
            if tried.ran_out and self._takes_less():
                continue
            done.append((first, tried.result()))
            first += len(points[part])
        return Samples.joined(done)

    def _takes_less(self) -> bool:
        """Halve the batch; of one input compute a cone's activations twice. False where nothing is left to do."""
        self._fixed.clear()
        if self.plan.batch > 1:
            self.plan = replace(self.plan, batch=self.plan.batch // 2)
            return True
        if self._segmented is not None:
            self.network.backward.cone_bytes = self._segmented.bytes
        if self.window_cone is None or self._segmented is not None:
            return False
        self._segmented = SegmentedCone(self.window_cone.cone(1))
        _log.info("sr_hooks: the activations of a window's cone in %s are computed twice", self.network.name)
        return True

    def _batch(self, points: torch.Tensor, wanted: Sequence[Sequence[int]], shown: Sequence[int]) -> Samples:
        turns, pairs = _turns(wanted), list[tuple[int, int]]()
        gradients, values = list[torch.Tensor](), list[torch.Tensor]()
        with torch.enable_grad():
            x = self.plan.lay_out(to_device(self._filled(points.detach()), self.network.device)).requires_grad_()
            output, values_of = self.forward(x)
            if not output.requires_grad:
                raise self._no_gradient(x.detach())
            for number, turn in enumerate(turns):
                each = [values_of(rows, index) for index, rows in turn.items()]
                value = sum((some.sum() for some in each[1:]), each[0].sum())
                (gradient,) = self.network.gradients(value, [x], retain_graph=number < len(turns) - 1)
                if gradient is None:
                    raise NetworkError(f"the objective does not depend on the input of {self.network.name}")
                pairs += [(row, index) for index, rows in turn.items() for row in rows]
                gradients.append(_rows(gradient.detach(), [row for rows in turn.values() for row in rows]))
                values += [some.detach().double() for some in each]
        output = output.detach()
        gradient, met = _joined(gradients).float(), _rows(extremes(output), [row for row, _ in pairs])
        finite = torch.isfinite(gradient)
        facts = torch.cat([torch.stack([_joined(values), (~finite).flatten(1).sum(1).double()], dim=1), met], dim=1)
        outputs = {row: output[row : row + 1].float() for row in shown}
        return Samples(pairs, gradient.where(finite, 0.0).contiguous(), facts, outputs)

    def _filled(self, points: torch.Tensor) -> torch.Tensor:
        """The points, the last of them repeated up to a size of batches that a cone is recorded for."""
        if self.window_cone is None:
            return points
        size = min((size for size in _SIZES if size >= len(points)), default=len(points))
        more = min(size, max(self.plan.batch, len(points))) - len(points)
        return torch.cat([points, points[-1:].expand(more, *points.shape[1:])]) if more else points

    def prepare(self, count: int) -> None:
        """Compute what no input changes of a cone, for batches of `count` inputs; `forward` does so too."""
        if self.window_cone is not None and count not in self._fixed:
            self._fixed[count] = self.window_cone.cone(count).prepare(self.window_cone.weights(self.plan))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Callable[[list[int], int], torch.Tensor]]:
        """The output, and a function (rows, window's index) to the objective's values there."""
        if self.window_cone is None:
            with reduced(self.network, self.precision):
                output = self.network(x).float()
            image = self._image(x)
            return output, lambda rows, index: self._objective(output, image, rows, self.windows[index])
        cone = self._segmented or self.window_cone.cone(len(x))
        self.prepare(len(x))
        precision = "tf32" if self.precision == "tf32" else "float32"  # the steps say themselves what is bfloat16
        with autocast(self.network.device, precision):
            shown, values = cone(x, self._fixed[len(x)])
        assert shown is not None
        positions = {index: position for position, index in enumerate(self.window_cone.indices)}
        return shown, lambda rows, index: _rows(self._differentiable(values[positions[index]]), rows)

    def _image(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w): of clips the frame that stands where the window's does."""
        if x.ndim == 4:
            return x
        positions = self.network.returned_frames(x.shape[1])
        frame = self.network.frame
        return x[:, round(positions[frame if isinstance(frame, int) else len(positions) // 2])]

    def _no_gradient(self, x: torch.Tensor) -> NetworkError:
        lost = find_gradient_breaks(self.network.module, lambda: self.network(x.requires_grad_()))
        where = f"it is lost {lost[0]}" if lost else "its output does not come from its input"
        return NetworkError(f"no gradient reaches the input of {self.network.name}: {where}")

    def _objective(self, output: torch.Tensor, x: torch.Tensor, rows: list[int], window: Window) -> torch.Tensor:
        try:
            values = self.objective(_rows(output, rows), _rows(x, rows), window)
        except SRHooksError:
            raise
        except Exception as error:
            if is_out_of_memory(error) or self.objective.is_ours():
                raise
            message = f"{type(error).__name__}: {error}"
            raise OptionError(f"the objective {self.objective.name} failed: {message}") from error
        if not isinstance(values, torch.Tensor) or values.shape != (len(rows),):
            got = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
            raise OptionError(
                f"the objective {self.objective.name} must return shape ({len(rows)},), one scalar an image, not {got}"
            )
        return self._differentiable(values)

    def _differentiable(self, values: torch.Tensor) -> torch.Tensor:
        if not values.requires_grad and torch.is_grad_enabled():
            raise OptionError(
                f"the objective {self.objective.name} is not differentiable: its value carries no gradient"
            )
        return values


def _turns(wanted: Sequence[Sequence[int]]) -> list[dict[int, list[int]]]:
    """The backwards of a batch, each as window to rows: a row has one window a turn, so one backward serves all."""
    turns: list[dict[int, list[int]]] = [{} for _ in range(max(map(len, wanted)))]
    for row, windows in enumerate(wanted):
        for turn, index in zip(turns, windows, strict=False):
            turn.setdefault(index, []).append(row)
    return turns


def _rows(tensor: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    """Rows of a tensor; a view where they follow each other, so that nothing is copied and no index is sent."""
    if len(rows) == len(tensor) and list(rows) == list(range(len(tensor))):
        return tensor
    if list(rows) == list(range(rows[0], rows[0] + len(rows))):
        return tensor[rows[0] : rows[0] + len(rows)]
    return tensor.index_select(0, to_device(torch.tensor(rows), tensor.device))


def _joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def extremes(output: torch.Tensor) -> torch.Tensor:
    """(N,3) float64: of each output the least and the largest finite value, and how many are not finite."""
    sane = torch.isfinite(output)
    low = output.where(sane, torch.inf).flatten(1).amin(1)
    high = output.where(sane, -torch.inf).flatten(1).amax(1)
    return torch.stack([low.double(), high.double(), (~sane).flatten(1).sum(1).double()], dim=1)
