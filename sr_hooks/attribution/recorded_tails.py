"""The recorded operations after each of several taps, run again on features with channels set to zero."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from sr_hooks.attribution.receptive_field.recording import recorded
from sr_hooks.attribution.receptive_field.trace import Ref, TracedOperation, Untraceable, check_hooks
from sr_hooks.errors import TapError
from sr_hooks.hooks.taps import Tap
from sr_hooks.inference.calibration import ExecutionPlan, reduced
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import derived_weights

__all__ = ["RecordedTail", "RecordedTails"]

aten = torch.ops.aten
_IN_PLACE = {aten.relu.default: aten.relu_.default, aten.leaky_relu.default: aten.leaky_relu_.default}


@dataclass(frozen=True)
class _Operation:
    """A recorded operation; its values go by the number of the value that they rename or copy.

    Attributes:
        slots: which positional argument is which value; None where a value is inside of a list or has a keyword.
    """

    step: TracedOperation
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    slots: tuple[tuple[int, int], ...] | None


class RecordedTails:
    """A network's operations, recorded once, of which what follows a tap can be run alone.

        tails = RecordedTails(network, (3, 48, 48), taps, plan, batch=4)
        tails.start(lr)                                   # one forward, whose values all tails share
        tail = tails.tail(taps[0])
        tail(features)                                    # (4,C,H,W) for 4 features that replace tail.feature
        tail.without(features, range(4))                  # the same, where feature i is tail.feature without channel i

    It does what `inference.Tail` does, faster: there is one recording and one forward for all taps, nothing of the
    modules' Python code runs, and a convolution that takes the tapped feature is updated instead of computed again. It
    does not prove that the recording is the network: compare `output`, and a tail's output, with whole forwards.

    Args:
        shape: (C,h,w) of the images.
        taps: what `tail` may be asked for.
        batch: how many features go through a tail at once.

    Raises:
        Untraceable: the operations cannot be written down, or a tap does not fire.
    """

    def __init__(
        self, network: Network, shape: Sequence[int], taps: Sequence[Tap], plan: ExecutionPlan, *, batch: int
    ) -> None:
        check_hooks(network.module)
        trace = recorded(network, (batch, *shape), "float32", taps)
        if isinstance(trace, Untraceable):
            raise trace
        self.network, self.plan, self.batch = network, plan, batch
        self._sources: dict[int, int] = {}
        self._operations = list(self._resolved(trace.steps))
        self._numbers = {tap: self.source(number) for tap, number in zip(taps, trace.results[1:], strict=True)}
        self.result = self.source(trace.results[0])
        weights = _laid_out(network, plan)
        self._constants = {number: weights[name] for number, name in trace.weights.items()} | trace.constants
        self._values: dict[int, torch.Tensor] = {}
        self._following = {tap: self._after(number) for tap, number in self._numbers.items()}
        self._wanted = self._shared()

    def source(self, number: int) -> int:
        """The value that this one renames or copies."""
        return self._sources.get(number, number)

    def _resolved(self, steps: Sequence[TracedOperation]) -> Iterator[_Operation]:
        writes = any(step.function._schema.is_mutable for step in steps)
        for step in steps:
            kind = step.function.overloadpacket
            same = kind in (aten.clone, aten.alias) or (kind is aten.mul and step.args[1] in (1, 1.0))
            if same and not writes and step.outputs[0] is not None and isinstance(step.args[0], Ref):
                self._sources[step.outputs[0]] = self.source(step.args[0].index)
                continue
            gives = tuple(number for number in step.outputs if number is not None)
            takes = tuple(self.source(number) for number in step.refs())
            slots = [(at, self.source(a.index)) for at, a in enumerate(step.args) if isinstance(a, Ref)]
            yield _Operation(step, takes, gives, tuple(slots) if len(slots) == len(takes) else None)

    def _after(self, tapped: int) -> list[_Operation]:
        """The operations that depend on a tap's feature and that the output depends on."""
        moving = {tapped}
        forward = []
        for operation in self._operations:
            if tapped not in operation.gives and moving.intersection(operation.takes):
                moving.update(operation.gives)
                forward.append(operation)
        needed, backward = {self.result}, []
        for operation in reversed(forward):
            if needed.intersection(operation.gives):
                needed.update(operation.takes)
                backward.append(operation)
        return backward[::-1]

    def _shared(self) -> set[int]:
        """The values of the first forward that some tail takes."""
        wanted = {self.result, *self._numbers.values()}
        for tap, operations in self._following.items():
            computed = {number for operation in operations for number in operation.gives}
            wanted.update(number for operation in operations for number in operation.takes if number not in computed)
            wanted.update(number for o in operations if self._is_updated(o, self._numbers[tap]) for number in o.gives)
        return wanted

    def _is_updated(self, operation: _Operation, tapped: int) -> bool:
        """Whether it is an ordinary convolution of the tapped feature, with weights that do not depend on that."""
        if operation.step.function is not aten.convolution.default or operation.takes.count(tapped) != 1:
            return False
        transposed, groups = operation.step.args[6], operation.step.args[8]
        return operation.takes[0] == tapped and not transposed and groups == 1

    @torch.no_grad()
    def start(self, x: torch.Tensor) -> None:
        """Run everything once for an image (1,C,h,w)."""
        self._values = dict(self._constants)
        self._values[0] = self.plan.lay_out(x.to(self.network.device).expand(self.batch, *x.shape[1:]))
        last = {number: at for at, operation in enumerate(self._operations) for number in operation.takes}
        with reduced(self.network, "float32"):
            for at, operation in enumerate(self._operations):
                _run(self, operation, self._values)
                for number in {*operation.takes, *operation.gives}:
                    if last.get(number, at) <= at and number not in self._wanted and number not in self._constants:
                        self._values.pop(number, None)
        for number in (self.result, *self._numbers.values()):
            value = self._values[number]
            self._values[number] = value[: len(value) // self.batch].clone(memory_format=torch.preserve_format)

    @property
    def output(self) -> torch.Tensor:
        """(1,C,H,W) of the image that `start` was given."""
        return self._values[self.result]

    def tail(self, tap: Tap) -> RecordedTail:
        """What follows one of the taps, for the image that `start` was given last."""
        number = self._numbers[tap]
        operations = self._following[tap]
        updated = {o.gives[0] for o in operations if self._is_updated(o, number)}
        feature = self._values[number]
        if feature.ndim != 4 or len(feature) != 1:
            updated = set()
        return RecordedTail(self, tap, number, feature, operations, updated, self._values)


class RecordedTail:
    """What follows one tap; see `RecordedTails`, which makes it.

    Attributes:
        feature: what passes the tap, (1,...) for networks that keep images apart.
    """

    def __init__(
        self,
        tails: RecordedTails,
        tap: Tap,
        number: int,
        feature: torch.Tensor,
        operations: Sequence[_Operation],
        updated: set[int],
        values: Mapping[int, torch.Tensor],
    ) -> None:
        self.tap, self.feature = tap, feature
        self._tails, self._number, self._values = tails, number, values
        self._operations, self._updated = operations, updated
        self._last = {number: at for at, operation in enumerate(operations) for number in operation.takes}
        taken = Counter(number for operation in operations for number in operation.takes)
        convolved = (o.gives[0] for o in operations if o.step.function is aten.convolution.default)
        self._overwritten = {number for number in convolved if taken[number] == 1}

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """(N,...) features, each as large as `feature`, to (N,C,H,W); not clipped, without graph.

        Raises:
            TapError: features of another shape, or more than the recording's batch.
        """
        return self._run(features, None)

    def without(self, features: torch.Tensor, channels: range) -> torch.Tensor:
        """The same for features that are copies of `feature` (1,C,h,w), in copy i channel channels[i] zero.

        What a convolution gives for such a copy is what it gave for the feature, less the convolution of one channel.
        """
        return self._run(features, channels)

    @torch.no_grad()
    def _run(self, features: torch.Tensor, channels: range | None) -> torch.Tensor:
        rows, batch = len(self.feature), self._tails.batch
        count = len(features) // rows
        if features.shape[1:] != self.feature.shape[1:] or len(features) % rows or count > batch:
            raise TapError(
                f"features of shape {tuple(features.shape)} cannot replace {batch} or fewer of what passes {self.tap}, "
                f"which is {tuple(self.feature.shape)}"
            )
        missing = batch - count
        if missing:
            features = torch.cat([features, features[:rows].repeat(missing, *[1] * (features.ndim - 1))])
        own = {self._number: self._tails.plan.lay_out(features)}
        values = _Layered(own, self._values)
        with reduced(self._tails.network, "float32"):
            for at, operation in enumerate(self._operations):
                if channels is not None and operation.gives[0] in self._updated:
                    own[operation.gives[0]] = self._update(operation, [*channels, *[channels[0]] * missing])
                else:
                    _run(self._tails, operation, values, self._overwritten)
                for number in operation.takes:
                    if self._last[number] == at:
                        own.pop(number, None)
        return own[self._tails.result][:count]

    def _update(self, operation: _Operation, channels: Sequence[int]) -> torch.Tensor:
        (number,), (_, weight_number, *_) = operation.gives, operation.takes
        before, weight = self._values[number][:1], self._values[weight_number]
        stride, padding, dilation = operation.step.args[3:6]
        out = torch.empty_like(before.expand(len(channels), -1, -1, -1), memory_format=torch.preserve_format)
        out = self._tails.plan.lay_out(out)
        for row, channel in enumerate(channels):
            part = slice(channel, channel + 1)
            removed = F.conv2d(self.feature[:, part], weight[:, part], None, stride, padding, dilation)
            torch.sub(before, removed, out=out[row : row + 1])
        return out


class _Layered:
    """A tail's own values, and below them those of the first forward."""

    def __init__(self, own: dict[int, torch.Tensor], below: Mapping[int, torch.Tensor]) -> None:
        self._own, self._below = own, below

    def __getitem__(self, number: int) -> torch.Tensor:
        value = self._own.get(number)
        return self._below[number] if value is None else value

    def __setitem__(self, number: int, value: torch.Tensor) -> None:
        self._own[number] = value


def _run(tails: RecordedTails, operation: _Operation, values: Any, overwritten: Container[int] = ()) -> None:
    """Run one operation; `overwritten` are values of their own memory that nothing else takes."""
    step = operation.step
    if operation.slots is None:
        args, kwargs = step.taking(lambda index: values[tails.source(index)])
    else:
        args, kwargs = list(step.args), step.kwargs
        for at, number in operation.slots:
            args[at] = values[number]
    function = step.function
    if operation.takes and operation.takes[0] in overwritten:
        function = _IN_PLACE.get(function, function)
    out = function(*args, **kwargs)
    for output, value in zip(step.outputs, out if step.several else [out], strict=True):
        if output is not None:
            values[output] = value


def _laid_out(network: Network, plan: ExecutionPlan) -> dict[str, torch.Tensor]:
    """The network's weights and buffers as they are now, laid out as the plan says."""
    tensors = {**dict(network.module.named_parameters()), **dict(network.module.named_buffers())}
    if plan.channels_last and not derived_weights(network.module):
        last = torch.channels_last
        tensors = {k: v.contiguous(memory_format=last) if v.ndim == 4 else v for k, v in tensors.items()}
    return {name: tensor.detach() for name, tensor in tensors.items()}
