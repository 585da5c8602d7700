"""What is computed at a node of a path: the network's values there, and the attributions to its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from sr_hooks.attribution.input_gradients import Facts, Gradients, extremes
from sr_hooks.attribution.secants.slopes import Inputs, Notes, Secants
from sr_hooks.inference.calibration import to_cpu, to_device
from sr_hooks.networks.calling import tensor_float_32

__all__ = ["Neighbour", "Part", "PathNode", "Unfit", "compute"]

_GAP = 1e-3  # of the attribution's size, by which the sum may miss the objective's change: float32 gives 1e-6
_ROUNDED = 1e-5  # the same, of the objective


class Unfit(Exception):
    """Secants do not hold for this network and image; the message says why."""


@dataclass
class PathNode:
    """A point of a path that was computed.

    Attributes:
        point: (1,C,h,w), on the CPU.
        inputs: what the operations with slopes took; None once they are forgotten.
        facts: what was met, by the window's index.
        output: (1,C,H,W), as far as computed; None once it is forgotten.
    """

    point: torch.Tensor
    inputs: Inputs | None
    facts: dict[int, Facts]
    output: torch.Tensor | None

    @property
    def size(self) -> int:
        """Bytes of the inputs."""
        return sum(each.nbytes for taken in self.inputs or () for each in taken)


@dataclass(frozen=True)
class Part:
    """The attribution (1,C,h,w) of an interval, and how much turned in the interval; see `Notes.turned`."""

    attribution: torch.Tensor
    turned: float


@dataclass(frozen=True)
class Neighbour:
    """Another node, and the windows for which the attribution of the interval to that node is wanted."""

    node: PathNode
    windows: Sequence[int]


def compute(
    gradients: Gradients,
    point: torch.Tensor,
    windows: Sequence[int],
    neighbours: Sequence[Neighbour] = (),
    *,
    weighs: bool = False,
) -> tuple[PathNode, list[dict[int, Part | None]]]:
    """A node, and for each neighbour and window the attribution of the interval from this node to that one.

    One forward, and a backward for each neighbour and each of its windows. An attribution is the slope times the change
    of the point: what the interval adds to the window's objective, divided among the pixels. It is None where the sum
    over the pixels is not the objective's change, so that secants do not hold for this window.

    Args:
        windows: the indices of all windows that share the path; the same at every node.
        weighs: whether each part says how much turned in the interval.

    Raises:
        Unfit: the network ran other operations at the neighbour, it wrote into what an operation took, or no gradient
            reaches the input.
    """
    network = gradients.network
    layout = network.channels_last(gradients.plan.channels_last and gradients.window_cone is None)
    with layout, tensor_float_32(False):
        gradients.prepare(1)
        return network.differentiate(lambda: _compute(gradients, point, windows, neighbours, Notes(weighs=weighs)))


def _compute(
    gradients: Gradients, point: torch.Tensor, windows: Sequence[int], neighbours: Sequence[Neighbour], notes: Notes
) -> tuple[PathNode, list[dict[int, Part | None]]]:
    with torch.set_grad_enabled(bool(neighbours)):
        x = gradients.plan.lay_out(to_device(point, gradients.network.device)).detach()
        x.requires_grad_(bool(neighbours))
        with Secants(notes):
            output, values_of = gradients.forward(x)
            values = {index: values_of([0], index).sum() for index in windows}
        _hold(notes.check)
        output = output.detach()
        met = extremes(output)[0].tolist()
        facts = {index: Facts.of([float(value.detach()), 0, *met]) for index, value in values.items()}
        node = PathNode(point, notes.own, facts, output.float().cpu())
        left = sum(len(each.windows) for each in neighbours)
        maps: list[dict[int, Part | None]] = []
        for neighbour in neighbours:
            assert neighbour.node.inputs is not None
            _hold(partial(notes.face, neighbour.node.inputs))
            maps.append({})
            for index in neighbour.windows:
                left -= 1
                (slope,) = gradients.network.gradients(values[index], [x], retain_graph=left > 0)
                if slope is None:
                    raise Unfit("no gradient reaches the input")
                attribution = to_cpu(slope.detach())[0].contiguous() * (neighbour.node.point - point)
                adds_up = _adds_up(attribution, index, node, neighbour.node)
                maps[-1][index] = Part(attribution, notes.turned) if adds_up else None
    return node, maps


def _hold(check: Callable[[], None]) -> None:
    try:
        check()
    except ValueError as error:
        raise Unfit(str(error)) from error


def _adds_up(attribution: torch.Tensor, index: int, node: PathNode, other: PathNode) -> bool:
    """Whether the sum over the pixels is the objective's change; it is not where a number is not finite."""
    here, there = node.facts[index].value, other.facts[index].value
    gap = abs(float(attribution.double().sum()) - (there - here))
    size = float(attribution.double().abs().sum())
    return gap <= _GAP * size + _ROUNDED * max(abs(here), abs(there))
