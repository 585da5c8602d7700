"""Gradients of an objective with respect to the input, in batches, as cheap as they come."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from sr_hooks.attribution.objectives import Objective
from sr_hooks.attribution.receptive_field.proved_cones import WindowCone
from sr_hooks.core.torch_errors import is_out_of_memory
from sr_hooks.errors import NetworkError, OptionError, SRHooksError
from sr_hooks.hooks.gradient_breaks import find_gradient_breaks
from sr_hooks.images.windows import Window
from sr_hooks.inference.calibration import ExecutionPlan, autocast, reduced, to_cpu, to_device
from sr_hooks.inference.memory.fallback import attempt
from sr_hooks.networks.calling import tensor_float_32
from sr_hooks.networks.network import Network

__all__ = ["Gradients", "Sample", "Tally"]


@dataclass(frozen=True)
class Sample:
    """At one input and for one window: the objective, its gradient (1,C,h,w) and what was met on the way.

    Attributes:
        nonfinite: entries of the gradient that were NaN or infinite and are 0 here.
        low, high: extremes of the output, as far as it was computed.
        broken: values of the output that were NaN or infinite.
        output: (1,C,H,W), as far as it was computed, on the CPU; None where it was not requested.
    """

    value: float
    gradient: torch.Tensor
    nonfinite: int
    low: float
    high: float
    broken: int
    output: torch.Tensor | None = None


@dataclass
class Tally:
    """What was met over several samples; see `Sample`."""

    nonfinite: int = 0
    low: float = math.inf
    high: float = -math.inf
    broken: int = 0

    def add(self, sample: Sample) -> None:
        self.nonfinite += sample.nonfinite
        self.broken += sample.broken
        self.low, self.high = min(self.low, sample.low), max(self.high, sample.high)


class Gradients:
    """d objective / d input at any number of inputs, for several windows from one forward.

    No parameter gradient is computed, memory running out halves the batch, and a network that writes in
    place into what its backward needs is run again with its layers' outputs cloned.

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
        self._fixed: dict[int, dict[int, torch.Tensor]] = {}

    def __call__(
        self, points: torch.Tensor, wanted: Sequence[Sequence[int]], *, with_output: Sequence[int] = ()
    ) -> list[dict[int, Sample]]:
        """For each of the points (K,C,h,w) the samples of the windows wanted there, by the window's index.

        `with_output` has the numbers of the points whose samples bear the output too.
        """
        layout = self.network.channels_last(self.plan.channels_last and self.window_cone is None)
        with layout, tensor_float_32(self.precision == "tf32"):  # backwards included, which run outside of `reduced`
            return self._in_batches(points, wanted, frozenset(with_output))

    def output(self, points: torch.Tensor) -> torch.Tensor:
        """The output at the points (K,C,h,w), as far as it is computed, without a gradient."""
        with torch.no_grad(), self.network.channels_last(self.plan.channels_last and self.window_cone is None):
            parts = [self._forward(self.plan.lay_out(to_device(x, self.network.device)))[0] for x in points.split(1)]
        return torch.cat(parts).float().cpu()

    def _in_batches(
        self, points: torch.Tensor, wanted: Sequence[Sequence[int]], with_output: frozenset[int]
    ) -> list[dict[int, Sample]]:
        done: list[dict[int, Sample]] = []
        while len(done) < len(points):
            part = slice(len(done), len(done) + self.plan.batch)
            shown = [number in with_output for number in range(len(points))[part]]
            batch = partial(self._batch, points[part], wanted[part], shown)
            tried = attempt(partial(self.network.differentiate, batch))
            if not tried.ran_out or self.plan.batch == 1:
                done += tried.result()
            else:
                self._fixed.clear()
                self.plan = replace(self.plan, batch=self.plan.batch // 2)
        return done

    def _batch(
        self, points: torch.Tensor, wanted: Sequence[Sequence[int]], shown: Sequence[bool]
    ) -> list[dict[int, Sample]]:
        samples: list[dict[int, Sample]] = [{} for _ in points]
        with torch.enable_grad():
            x = self.plan.lay_out(to_device(points.detach(), self.network.device)).requires_grad_()
            output, values_of = self._forward(x)
            if not output.requires_grad:
                raise self._no_gradient(x.detach())
            windows = sorted({index for each in wanted for index in each})
            for index in windows:
                rows = [row for row, each in enumerate(wanted) if index in each]
                values = values_of(rows, index)
                last = index == windows[-1]
                (gradient,) = self.network.gradients(values.sum(), [x], retain_graph=not last)
                if gradient is None:
                    raise NetworkError(f"the objective does not depend on the input of {self.network.name}")
                for row, sample in zip(rows, self._samples(output, values, rows, gradient), strict=True):
                    picture = output[row : row + 1].detach().float().cpu() if shown[row] else None
                    samples[row][index] = replace(sample, output=picture)
        return samples

    def _forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Callable[[list[int], int], torch.Tensor]]:
        """The output, and a function (rows, window's index) to the objective's values there."""
        if self.window_cone is None:
            with reduced(self.network, self.precision):
                output = self.network(x).float()
            image = self._image(x)
            return output, lambda rows, index: self._objective(output, image, rows, self.windows[index])
        cone = self.window_cone.cone(len(x))
        if len(x) not in self._fixed:
            self._fixed[len(x)] = cone.prepare(self.window_cone.weights(self.plan))
        precision = (
            "tf32" if self.precision == "tf32" else "float32"
        )  # the cone's steps say themselves what is bfloat16
        with autocast(self.network.device, precision):
            shown, values = cone(x, self._fixed[len(x)])
        assert shown is not None
        positions = {index: position for position, index in enumerate(self.window_cone.indices)}
        return shown, lambda rows, index: self._differentiable(values[positions[index]])[rows]

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
        whole = len(rows) == len(x)
        try:
            values = self.objective(output if whole else output[rows], x if whole else x[rows], window)
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

    def _samples(
        self, output: torch.Tensor, values: torch.Tensor, rows: list[int], gradient: torch.Tensor
    ) -> list[Sample]:
        """Everything on its way to the CPU at once, so that an accelerator is waited for a single time."""
        gradient, output = gradient.detach().float(), output.detach()[rows]
        finite, sane = torch.isfinite(gradient), torch.isfinite(output)
        facts = [
            values.detach().double(),
            (~finite)[rows].flatten(1).sum(1),
            output.where(sane, torch.inf).flatten(1).amin(1),
            output.where(sane, -torch.inf).flatten(1).amax(1),
            (~sane).flatten(1).sum(1),
        ]
        gradient, table = to_cpu(
            gradient.where(finite, 0.0)[rows].contiguous(), torch.stack([fact.double() for fact in facts], dim=1)
        )
        return [
            Sample(value, gradient[i : i + 1], int(nonfinite), low, high, int(broken))
            for i, (value, nonfinite, low, high, broken) in enumerate(table.tolist())
        ]
