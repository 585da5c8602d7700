"""The cones of windows, proved on a random image before they are used, and remembered while the network is the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sr_hooks.attribution.objectives.objective import Objective
from sr_hooks.attribution.objectives.window_values import GradientMagnitude
from sr_hooks.attribution.receptive_field.cone import Cone
from sr_hooks.attribution.receptive_field.remembered import Recording, confirm, recording_of, remembered
from sr_hooks.attribution.receptive_field.trace import Trace, Untraceable
from sr_hooks.errors import SRHooksError
from sr_hooks.images.windows import Box, Window
from sr_hooks.inference.calibration import ExecutionPlan, reduced
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import derived_weights, plain_copy

__all__ = ["AGREEMENT", "WindowCone", "WindowCones", "disagreement"]

AGREEMENT = 1e-5  # relative L2 distance between the gradients of the whole network and of the cone
_ROUNDED = 1e-2  # the distance up to which rounding is asked for as the reason
_EQUAL_IN_FLOAT64 = 1e-9
_SIDES = (24, 40, 72)  # of the images that the proof is given, the first that the network takes
_WORTH = 0.9  # a cone with more than this share of the work is not worth its bookkeeping


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
        self._recordings: dict[int, Recording] = {}
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
        return self._recording(count).cone(indices)

    def _recording(self, count: int) -> Recording:
        """Looked up once: the network and the objective do not change in a call."""
        if count not in self._recordings:
            shape = (count, *self.shape)
            self._recordings[count] = recording_of(self.network, self.objective, self.windows, shape, self.precision)
        return self._recordings[count]

    def confirm(self) -> bool:
        """Record the network again at this size, and tell whether the operations are those that the cones are from.

        Where they are not, what was remembered is forgotten.
        """
        return confirm(self.network, (1, *self.shape), self.precision)

    def _grouped(self) -> list[WindowCone]:
        """A gradient costs a forward and, for each window, about as much again."""
        each = [self.cone((i,), 1) for i in range(len(self.windows))]
        together = self.cone(tuple(range(len(self.windows))), 1)
        everything = self._recording(1).work()
        alone = 2 * sum(cone.work for cone in each)
        joint = (1 + len(each)) * together.work
        if not together.inputs or min(alone, joint) > _WORTH * (1 + len(each)) * everything:
            self.reason = "the windows depend on nearly everything"
            return []
        chosen = (
            [((i,), cone) for i, cone in enumerate(each)] if alone < joint else [(tuple(range(len(each))), together)]
        )
        groups = []
        for indices, cone in chosen:
            if cone.inputs is None or cone.shown_box is None:
                raise Untraceable("the objective does not depend on the input")
            share = cone.work / everything if everything else 1.0
            groups.append(WindowCone(indices, cone.inputs, cone.shown_box, share, cone.barrier, self))
        return groups


def _tensors(network: Network) -> dict[str, torch.Tensor]:
    return {**dict(network.module.named_parameters()), **dict(network.module.named_buffers())}


def _doubts(network: Network) -> str:
    """Why the network's cones are not to be trusted, or ""; asked once for a network as it is."""
    memory = remembered(network)
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
            trace = recording_of(network, objective, [window], (1, network.channels, side, side), "float32").trace
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
