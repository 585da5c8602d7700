"""Cones of a network's windows: found, proved on random inputs before they are trusted, and remembered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn

from sr_hooks.attribution.objectives import GradientMagnitude, Objective
from sr_hooks.attribution.receptive_field.cone import Cone
from sr_hooks.attribution.receptive_field.trace import Trace, Untraceable, check_hooks, record, sharing_copy
from sr_hooks.core.disk_cache import recall, remember
from sr_hooks.images.windows import Box, Window
from sr_hooks.inference.calibration import ExecutionPlan, reduced
from sr_hooks.networks.backward import Backward
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import derived_weights

__all__ = ["AGREEMENT", "WindowCone", "WindowCones", "disagreement"]

AGREEMENT = 1e-5  # relative L2 distance between the gradients of the whole network and of the cone
_SIDES = (40, 72)  # of the images that the proof is given, the first that the network takes
_WORTH = 0.9  # a cone with more than this share of the work is not worth its bookkeeping
_proved: dict[str, str] = {}
_traced: WeakKeyDictionary[nn.Module, tuple[str, dict[Any, Any]]] = WeakKeyDictionary()


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
        try:
            self.reason = _doubts(network)
            if not self.reason:
                self.groups = self._grouped()
        except Untraceable as error:
            self.reason = str(error)

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
    run = _trace_of(network, shape, precision)

    def values(output: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
        return [objective(output, x, window) for window in windows]

    (out,) = run.results
    asked = record(values, nn.Module(), [run.shapes[out], run.shapes[0]], network.device)
    return run.followed_by(asked, [out, 0])


def _trace_of(network: Network, shape: Sequence[int], precision: str) -> Trace:
    """The network's own operations."""
    kept, key = _kept(network), (tuple(shape), precision)
    if key not in kept:
        twin = network.with_module(sharing_copy(network.module))
        twin.backward = Backward()  # a recording writes nothing in place

        def compute(x: torch.Tensor) -> list[torch.Tensor]:
            with reduced(twin, precision):
                return [twin(x).float()]

        try:
            kept[key] = record(compute, twin.module, [shape], network.device)
        except Untraceable as error:
            kept[key] = error
    found = kept[key]
    if isinstance(found, Untraceable):
        raise found
    return cast("Trace", found)


def _kept(network: Network) -> dict[Any, Any]:
    """Recordings and doubts, for as long as the module lives, is built as it was and carries no hooks.

    Raises:
        Untraceable: it carries some.
    """
    check_hooks(network.module)
    signature = _signature(network)
    kept = _traced.get(network.module)
    if kept is None or kept[0] != signature:
        kept = _traced[network.module] = (signature, {})
    return kept[1]


def _signature(network: Network) -> str:
    """Whatever of a network may change what it computes, but for its weights' values."""
    plain = (bool, int, float, str, type(None))

    def settled(values: Mapping[str, object]) -> list[tuple[str, object]]:
        return [
            (name, value if isinstance(value, plain) else (type(value).__name__, id(value)))
            for name, value in values.items()
            if isinstance(value, (*plain, nn.Module)) or callable(value)
        ]

    run = settled({"forward": network.forward, "output": network.output})
    parts = [
        (
            name,
            id(part),
            settled(vars(part)),
            [(n, p.dtype, tuple(p.shape)) for n, p in part._parameters.items() if p is not None],
        )
        for name, part in network.module.named_modules()
    ]
    return f"{run} {network.facts} {network.pixels} {network.frame} {network.dtype} {network.device} {parts}"


def _tensors(network: Network) -> dict[str, torch.Tensor]:
    return {**dict(network.module.named_parameters()), **dict(network.module.named_buffers())}


def _doubts(network: Network) -> str:
    """Why the network's cones are not to be trusted, or ""; asked once for a network as it is built."""
    kept = _kept(network)
    if "doubts" not in kept:
        kept["doubts"] = _asked(network)
    return cast("str", kept["doubts"])


def _asked(network: Network) -> str:
    """The same; proved once for one sequence of operations, whichever network it is recorded of."""
    objective, error = GradientMagnitude(), None
    for side in _SIDES:
        side += -side % network.multiple
        height, width = network.output_size(side, side)
        if min(height, width) < 10:
            continue
        window = Window(height // 3, width // 2, 8, 8)
        shape = (network.channels, side, side)
        try:
            trace = _trace(network, objective, [window], (1, *shape), "float32")
        except Untraceable as found:
            error = found
            continue
        key = _key(network, trace)
        if key not in _proved:
            _proved[key] = (recall(key) or {}).get("answer") or _prove(network, objective, window, trace)
            remember(key, {"answer": _proved[key]})
        return "" if _proved[key] == "proved" else _proved[key]
    raise error or Untraceable("it takes no small images to prove a cone on")


def _prove(network: Network, objective: Objective, window: Window, trace: Trace) -> str:
    off = disagreement(network, objective, window, trace)
    if off <= AGREEMENT:
        return "proved"
    return f"on random images its gradient and the whole network's differ by {off:.1e}, more than {AGREEMENT:.0e}"


def disagreement(network: Network, objective: Objective, window: Window, trace: Trace) -> float:
    """Relative L2 distance between d objective / d input of the whole network and of the window's cone.

    On a seeded random image of the trace's size; infinite where one has a gradient that the other has not.
    """
    shape = trace.shapes[0]
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(network.device).requires_grad_()

    def gradient() -> torch.Tensor:
        with torch.enable_grad():
            (found,) = network.gradients(objective(network(x).float(), x, window).sum(), [x])
            return torch.zeros_like(x) if found is None else found

    cone = Cone(trace, [1], shown=0)
    if cone.inputs is None:
        return float("inf")
    found = torch.zeros(shape, device=network.device)
    box = cone.inputs
    part = x.detach()[..., box.top : box.bottom, box.left : box.right].clone().requires_grad_()
    try:
        with reduced(network, "float32"):
            whole = network.differentiate(gradient)
        with torch.enable_grad():
            _, (value,) = cone(part, cone.prepare({k: v.detach() for k, v in _tensors(network).items()}))
            found[..., box.top : box.bottom, box.left : box.right] = torch.autograd.grad(value.sum(), part)[0]
    except RuntimeError as error:
        raise Untraceable(f"it cannot be proved: {str(error).splitlines()[0]}") from error
    return float((found - whole).double().norm() / whole.double().norm())


def _key(network: Network, trace: Trace) -> str:
    facts: Mapping[str, object] = {
        "classes": [f"{type(m).__module__}.{type(m).__qualname__}" for m in network.module.modules()],
        "steps": [f"{step.function} {step.args} {step.kwargs} {step.outputs} {step.module}" for step in trace.steps],
        "shapes": trace.shapes,
        "weights": trace.weights,
        "torch": torch.__version__,
        "device": network.device.type,
        "rules": 1,
    }
    return "cone-" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
