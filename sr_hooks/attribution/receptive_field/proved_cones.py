"""The cones of windows, proved on a random image before they are used, and remembered while the network is the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from sr_hooks.attribution.objectives.objective import Objective
from sr_hooks.attribution.objectives.window_values import GradientMagnitude
from sr_hooks.attribution.receptive_field.cone import Cone
from sr_hooks.attribution.receptive_field.recording import recorded
from sr_hooks.attribution.receptive_field.trace import Trace, Untraceable, check_hooks, record
from sr_hooks.errors import SRHooksError
from sr_hooks.images.windows import Box, Window
from sr_hooks.inference.behaviour import observed
from sr_hooks.inference.calibration import ExecutionPlan, reduced
from sr_hooks.inference.signature import content_of
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import derived_weights, plain_copy

__all__ = ["AGREEMENT", "WindowCone", "WindowCones", "disagreement"]

AGREEMENT = 1e-5  # relative L2 distance between the gradients of the whole network and of the cone
_ROUNDED = 1e-2  # the distance up to which rounding is asked for as the reason
_EQUAL_IN_FLOAT64 = 1e-9
_SIDES = (24, 40, 72)  # of the images that the proof is given, the first that the network takes
_WORTH = 0.9  # a cone with more than this share of the work is not worth its bookkeeping
_recordings: WeakKeyDictionary[nn.Module, tuple[str, dict[Any, Any]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class WindowCone:
    """The cone of some windows of images of one size.

    Attributes:
        indices: of the windows, among those asked for.
        inputs: the part of the input that they depend on.
        output: the part of the output that is computed with them.
        share: of the whole network's multiply-accumulates, how much a forward of the cone takes.
        barrier: what keeps everything before it whole, e.g. a global pooling; "" for none.
    """

    indices: tuple[int, ...]
    inputs: Box
    output: Box
    share: float
    barrier: str
    _owner: WindowCones

    def cone(self, count: int) -> Cone:
        """For batches of `count` images."""
        return self._owner.cone(self.indices, count)

    def weights(self, plan: ExecutionPlan) -> dict[str, torch.Tensor]:
        """The network's weights and buffers as they are now, laid out as the plan says."""
        tensors = _tensors(self._owner.network)
        if plan.channels_last and not derived_weights(self._owner.network.module):
            last = torch.channels_last
            tensors = {k: v.contiguous(memory_format=last) if v.ndim == 4 else v for k, v in tensors.items()}
        return {name: tensor.detach() for name, tensor in tensors.items()}


class WindowCones:
    """What windows of a network's output depend on, for images of one size and one precision.

    Args:
        shape: (C,h,w) of the images.

    Attributes:
        groups: the windows' cones, one each or one for all, whichever takes less work; empty where there are none.
        reason: why there are none, in words; "" where there are.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        windows: Sequence[Window],
        shape: tuple[int, ...],
        precision: str = "float32",
    ) -> None:
        self.network, self.objective, self.windows = network, objective, tuple(windows)
        self.shape, self.precision = tuple(shape), precision
        self._traces: dict[int, Trace] = {}
        self._cones: dict[tuple[tuple[int, ...], int], Cone] = {}
        self.groups: list[WindowCone] = []
        self.reason = ""
        try:
            self.groups = self._grouped()
            self.reason = self.reason or _doubts(network)
        except Untraceable as error:
            self.reason = str(error)
        if self.reason:
            self.groups = []

    def cone(self, indices: tuple[int, ...], count: int) -> Cone:
        """For those windows and batches of `count` images.

        Raises:
            Untraceable: the network's operations cannot be written down.
        """
        if (indices, count) not in self._cones:
            if count not in self._traces:
                self._traces[count] = _trace(
                    self.network, self.objective, self.windows, (count, *self.shape), self.precision
                )
            self._cones[indices, count] = Cone(self._traces[count], [1 + i for i in indices], shown=0)
        return self._cones[indices, count]

    def confirm(self) -> bool:
        """Record the network again at this size, and tell whether the operations are those that the cones are from.

        Where they are not, what was remembered is forgotten.
        """
        memory, key = _memory(self.network), ((1, *self.shape), self.precision)
        remembered = memory.get(key)
        if not isinstance(remembered, Trace) or memory.get("recorded") is observed(self.network):
            return True
        del memory[key]
        if _written(_trace_of(self.network, *key)) == _written(remembered):
            return True
        _recordings.pop(self.network.module)
        return False

    def _grouped(self) -> list[WindowCone]:
        """A gradient costs a forward and, for each window, about as much again."""
        each = [self.cone((i,), 1) for i in range(len(self.windows))]
        together = self.cone(tuple(range(len(self.windows))), 1)
        everything = Cone(self._traces[1], [0])
        alone = 2 * sum(cone.work for cone in each)
        joint = (1 + len(each)) * together.work
        if not together.inputs or min(alone, joint) > _WORTH * (1 + len(each)) * everything.work:
            self.reason = "the windows depend on nearly everything"
            return []
        chosen = (
            [((i,), cone) for i, cone in enumerate(each)] if alone < joint else [(tuple(range(len(each))), together)]
        )
        groups = []
        for indices, cone in chosen:
            if cone.inputs is None or cone.shown_box is None:
                raise Untraceable("the objective does not depend on the input")
            share = cone.work / everything.work if everything.work else 1.0
            groups.append(WindowCone(indices, cone.inputs, cone.shown_box, share, cone.barrier, self))
        return groups


def _trace(
    network: Network, objective: Objective, windows: Sequence[Window], shape: Sequence[int], precision: str
) -> Trace:
    """The network's operations and the objectives': results are the output and one value a window."""
    operations = _trace_of(network, shape, precision)

    def values(output: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
        return [objective(output, x, window) for window in windows]

    (out,) = operations.results
    objectives = record(values, nn.Module(), [operations.shapes[out], operations.shapes[0]], network.device)
    return operations.followed_by(objectives, [out, 0])


def _trace_of(network: Network, shape: Sequence[int], precision: str) -> Trace:
    """The network's own operations."""
    memory, key = _memory(network), (tuple(shape), precision)
    if key not in memory:
        memory["recorded"] = observed(network)
        memory[key] = recorded(network, shape, precision)
    trace: Trace | Untraceable = memory[key]
    if isinstance(trace, Untraceable):
        raise trace
    return trace


def _written(trace: Trace) -> str:
    """The operations of a trace as text, constants by their values."""
    steps = [f"{step.function} {step.args} {step.kwargs} {step.outputs}" for step in trace.steps]
    constants = [(number, content_of(value)) for number, value in trace.constants.items()]
    return f"{steps} {trace.shapes} {trace.weights} {constants} {trace.results}"


def _memory(network: Network) -> dict[Any, Any]:
    """Recordings and proofs of a module; emptied when the module computes something else than before.

    Raises:
        Untraceable: a hook is attached to the module, or autograd follows a function of its own.
    """
    check_hooks(network.module)
    network.scale  # noqa: B018  inferred before the network is observed
    behaviour = observed(network)
    if behaviour.custom:
        raise Untraceable("a custom_function or a hook on a tensor has a gradient of its own")
    signature = f"{behaviour.signature} {_way_of_running(network)}"
    known = _recordings.get(network.module)
    if known is None or known[0] != signature or not behaviour.signature:
        known = _recordings[network.module] = (signature, {})
    return known[1]


def _way_of_running(network: Network) -> str:
    """What a network does around its module."""
    objects = [
        f"{type(value).__name__} {id(value)}" for value in (network.forward, network.output) if value is not None
    ]
    return f"{network.facts} {network.pixels} {objects} {network.frame} {network.frozen_seed}"


def _tensors(network: Network) -> dict[str, torch.Tensor]:
    return {**dict(network.module.named_parameters()), **dict(network.module.named_buffers())}


def _doubts(network: Network) -> str:
    """Why the network's cones are not to be trusted, or ""; asked once for a network as it is."""
    memory = _memory(network)
    if "doubts" not in memory:
        memory["doubts"] = _prove(network)
    return str(memory["doubts"])


def _prove(network: Network) -> str:
    """Compare a cone's gradient with the whole network's on a small random image; "" where they agree.

    The image is the smallest of which the cone leaves something out; what computes everything proves nothing.
    """
    objective, error, case = GradientMagnitude(), None, None
    for side in _SIDES:
        side += -side % network.multiple
        height, width = network.output_size(side, side)
        if min(height, width) < 10:
            continue
        window = Window(height // 3, width // 2, 8, 8)
        try:
            trace = _trace(network, objective, [window], (1, network.channels, side, side), "float32")
        except Untraceable as refusal:
            error = refusal
            continue
        case = window, trace
        if Cone(trace, [1]).work <= _WORTH * Cone(trace, [0]).work:
            break
    if case is None:
        raise error or Untraceable("it takes no small images to prove a cone on")
    return _difference_in_words(network, objective, *case)


def _difference_in_words(network: Network, objective: Objective, window: Window, trace: Trace) -> str:
    off = disagreement(network, objective, window, trace)
    if off <= AGREEMENT or (off <= _ROUNDED and _agree_in_float64(network, objective, window, trace)):
        return ""
    return f"on random images its gradient and the whole network's differ by {off:.1e}, more than {AGREEMENT:.0e}"


def _agree_in_float64(network: Network, objective: Objective, window: Window, trace: Trace) -> bool:
    """Whether the two gradients differ by the rounding of float32 alone: in float64 they are equal."""
    try:
        twin = network.with_module(plain_copy(network.module).double().requires_grad_(False))
        return disagreement(twin, objective, window, trace) <= _EQUAL_IN_FLOAT64
    except (RuntimeError, TypeError, Untraceable, SRHooksError):
        return False  # its code asks for float32


def disagreement(network: Network, objective: Objective, window: Window, trace: Trace) -> float:
    """Relative L2 distance between d objective / d input of the whole network and of the window's cone.

    On a seeded random image of the trace's size, in the network's number format; infinite where one has a gradient that
    the other has not.
    """
    shape = trace.shapes[0]
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(network.device, network.dtype).requires_grad_()

    def gradient() -> torch.Tensor:
        with torch.enable_grad():
            output = network(x)
            output = output.float() if output.dtype is not torch.float64 else output
            (whole,) = network.gradients(objective(output, x, window).sum(), [x])
            return torch.zeros_like(x) if whole is None else whole

    cone = Cone(trace, [1], shown=0)
    if cone.inputs is None:
        return float("inf")
    box = cone.inputs
    part = x.detach()[..., box.top : box.bottom, box.left : box.right].clone().requires_grad_()
    of_cone = torch.zeros_like(x)
    try:
        with reduced(network, "float32"):
            of_network = network.differentiate(gradient)
            with torch.enable_grad():
                _, (value,) = cone(part, cone.prepare({k: v.detach() for k, v in _tensors(network).items()}))
                inside = torch.autograd.grad(value.sum(), part)[0]
        of_cone[..., box.top : box.bottom, box.left : box.right] = inside
    except RuntimeError as error:
        raise Untraceable(f"it cannot be proved: {str(error).splitlines()[0]}") from error
    return float((of_cone - of_network).double().norm() / of_network.double().norm())
