"""What is computed at a node of a path: the network's values there, and the attributions to its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sr_hooks.attribution.input_gradients import Facts, Gradients
from sr_hooks.attribution.secants.slopes import Inputs, Notes, Secants
from sr_hooks.inference.calibration import to_cpu, to_device
from sr_hooks.networks.calling import tensor_float_32

__all__ = ["Neighbour", "PathNode", "Unfit", "compute"]


class Unfit(Exception):
    """Secants do not hold for this network and image; the message says why."""


@dataclass
class PathNode:
    """A point of a path that was computed.

    Attributes:
        point: (1,C,h,w), on the CPU.
        inputs: what the operations with slopes took; None once they are forgotten.
        facts: what was met, by the window's index.
        output: (1,C,H,W), as far as computed; None unless it was asked for.
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
    with_output: bool = False,
) -> tuple[PathNode, list[dict[int, torch.Tensor]]]:
    """A node, and for each neighbour the attributions (1,C,h,w) of the interval from this node to that one.

    One forward, and a backward for each neighbour and each of its windows. An attribution is the slope times the change
    of the point: what the interval adds to the window's objective, divided among the pixels.

    Raises:
        Unfit: the network ran other operations at the neighbour, or a number is not finite.
    """
    network = gradients.network
    layout = network.channels_last(gradients.plan.channels_last and gradients.window_cone is None)
    with layout, tensor_float_32(False):
        gradients.prepare(1)
        return network.differentiate(
            lambda: _compute(gradients, point, windows, neighbours, with_output=with_output)
        )


def _compute(
    gradients: Gradients,
    point: torch.Tensor,
    windows: Sequence[int],
    neighbours: Sequence[Neighbour],
    *,
    with_output: bool,
) -> tuple[PathNode, list[dict[int, torch.Tensor]]]:
    notes = Notes()
    with torch.set_grad_enabled(bool(neighbours)):
        x = gradients.plan.lay_out(to_device(point, gradients.network.device)).requires_grad_(bool(neighbours))
        with Secants(notes):
            output, values_of = gradients.forward(x)
            values = {index: values_of([0], index).sum() for index in windows}
        wanted = [(each, index) for each in neighbours for index in each.windows]
        maps: list[dict[int, torch.Tensor]] = []
        for neighbour in neighbours:
            assert neighbour.node.inputs is not None
            _face(notes, neighbour.node.inputs)
            maps.append({})
            for index in neighbour.windows:
                wanted.pop()
                (slope,) = gradients.network.gradients(values[index], [x], retain_graph=bool(wanted))
                if slope is None:
                    raise Unfit("no gradient reaches the input")
                maps[-1][index] = to_cpu(slope.detach())[0].contiguous() * (neighbour.node.point - point)
    facts = {index: _facts(float(value.detach()), output.detach()) for index, value in values.items()}
    node = PathNode(point, notes.own, facts, output.detach().float().cpu() if with_output else None)
    _check(node, neighbours, maps)
    return node, maps


def _face(notes: Notes, other: Inputs) -> None:
    try:
        notes.face(other)
    except ValueError as error:
        raise Unfit(str(error)) from error


def _facts(value: float, output: torch.Tensor) -> Facts:
    sane = torch.isfinite(output)
    low = float(output.where(sane, torch.inf).amin())
    return Facts(value, 0, low, float(output.where(sane, -torch.inf).amax()), int((~sane).sum()))


_GAP = 1e-3  # of the attributions' size, by which their sum may miss the objective's change: float32 gives 1e-6
_ROUNDED = 1e-5  # of the objective


def _check(node: PathNode, neighbours: Sequence[Neighbour], maps: Sequence[dict[int, torch.Tensor]]) -> None:
    """Refuse an interval of which the attributions do not add up to the objective's change."""
    for neighbour, attributions in zip(neighbours, maps, strict=True):
        for index, attribution in attributions.items():
            here, there = node.facts[index].value, neighbour.node.facts[index].value
            gap = abs(float(attribution.double().sum()) - (there - here))
            size = float(attribution.double().abs().sum())
            if not gap <= _GAP * size + _ROUNDED * max(abs(here), abs(there)):  # nor where a number is not finite
                raise Unfit(f"an interval's attributions miss the objective's change by {gap:.2g}")
