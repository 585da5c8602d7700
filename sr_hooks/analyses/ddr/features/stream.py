"""The features of many inputs at several taps, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from sr_hooks.analyses.ddr.samples import Samples
from sr_hooks.errors import ForwardError, NetworkError, TapError
from sr_hooks.hooks.activations import Captured, features
from sr_hooks.hooks.taps import Tap
from sr_hooks.images.patch_sets import Inputs
from sr_hooks.inference.batches import in_batches
from sr_hooks.inference.calibration import ExecutionPlan, calibrate
from sr_hooks.inference.memory.fallback import attempt
from sr_hooks.networks.network import Network

__all__ = ["Features", "Look"]

Look = Callable[[str, int, torch.Tensor], None]


class Features:
    """(start, stop) to tap -> (stop - start, d): the network run on those samples as far as its deepest tap.

    A tap whose first dimension is not the batch's (windows of attention, frames of a clip) is read one sample at a
    time, so that no sample's features are mixed with another's. Memory running out halves the batch.

    Args:
        frame: of a layer that passes all frames of a clip at once, the frame that is meant.
        measured: whether the memory layout is the one that is fastest on this machine. Workers on several machines
            take the plain one, so that their features are equal.
    """

    def __init__(
        self,
        network: Network,
        samples: Samples,
        wanted: Sequence[Tap],
        *,
        frame: int | None = None,
        measured: bool = True,
    ) -> None:
        self.frame = frame
        self.network, self.samples, self.wanted = network, samples, [str(tap) for tap in wanted]
        plan = _plan(network, samples.inputs) if measured else ExecutionPlan()
        self.plan = replace(plan, batch=4 if network.device.type == "cpu" else 16)
        if not self._takes_two():
            self.plan = replace(self.plan, batch=1)
        self.look: Look | None = None
        self._seen = 0

    @property
    def batch(self) -> int:
        """Samples that go through at once."""
        return self.plan.batch

    def _takes_two(self) -> bool:
        try:
            tried = attempt(lambda: self._forward(self.samples.inputs[:2]))
        except (ForwardError, TapError):  # it is written for one image at a time
            return False
        return not tried.ran_out and all(len(value) == 2 for value in tried.result().values())

    def _forward(self, inputs: torch.Tensor) -> Captured:
        x = self.plan.lay_out(inputs.to(self.network.device))
        with torch.no_grad():
            return features(self.network.module, lambda: self.network.feed(x), self.wanted)

    def __call__(self, start: int, stop: int) -> dict[str, torch.Tensor]:
        values = self._in_batches(stop - start, lambda part: self._batch(start + part.start, start + part.stop))
        if self.look is not None and stop > self._seen:  # a block that is computed again was looked at already
            self._seen = stop
            for tap, value in values.items():
                self.look(tap, start, value)
        return values

    def of_rows(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """The features of the samples with these numbers; their inputs are read at once."""
        inputs = self.samples.inputs[rows]
        return self._in_batches(len(rows), lambda part: self._of(inputs[part], rows[part]))

    def _in_batches(self, count: int, compute: Callable[[slice], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        parts = []
        for part, values in in_batches(count, compute, batch=self.plan.batch):
            parts.append(values)
            if part.stop < count:  # a batch that was halved stays so
                self.plan = replace(self.plan, batch=part.stop - part.start)
        return parts[0] if len(parts) == 1 else {k: torch.cat([part[k] for part in parts]) for k in parts[0]}

    def _batch(self, start: int, stop: int) -> dict[str, torch.Tensor]:
        return self._of(self.samples.inputs[start:stop], np.arange(start, stop))

    def _of(self, inputs: torch.Tensor, rows: np.ndarray) -> dict[str, torch.Tensor]:
        captured = self._forward(inputs)
        flat_features = {}
        for tap in self.wanted:
            value = captured.pop(tap)
            if not value.is_floating_point():
                raise TapError(f"{tap} passes {str(value.dtype).removeprefix('torch.')} values, which are no features")
            value = self._of_frame(value)
            if value.shape[0] != len(rows) and len(rows) > 1:
                raise TapError(f"{tap} passes a batch of {value.shape[0]} for {len(rows)} images")
            flat = value.reshape(len(rows), -1).float().cpu()
            if not bool(torch.isfinite(flat).all()):
                label = self.samples.names[int(self.samples.labels[rows[0]])]
                raise NetworkError(
                    f"{tap} of {self.network.name} has values that are NaN or infinite for images of {label}: look at "
                    "the network's weights, input_range and precision"
                )
            flat_features[tap] = flat
        return flat_features

    def _of_frame(self, value: torch.Tensor) -> torch.Tensor:
        """Of a layer that passes all frames of a clip at once, one frame's part; any other as it is."""
        shape = self.samples.inputs.shape
        if self.frame is None or len(shape) != 5:
            return value
        frames = shape[1]
        if value.ndim == 5:
            axis = next((axis for axis in (1, 2) if value.shape[axis] == frames), None)
            return value if axis is None else value.select(axis, self.frame)
        alone = self.plan.batch == 1 and value.shape[0] == frames
        return value[self.frame : self.frame + 1] if alone else value


def _plan(network: Network, inputs: Inputs) -> ExecutionPlan:
    """The calibrated memory layout; the plain one for networks that do not run on the small corner used for it."""
    try:
        return calibrate(network, tuple(inputs.shape[1:]))
    except Exception:
        return ExecutionPlan()
