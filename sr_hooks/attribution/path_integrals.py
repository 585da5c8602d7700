"""Integrals of gradients along image paths: what is integrated, the answer, and the strategy of a CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from sr_hooks.attribution.image_paths import ImagePath
from sr_hooks.attribution.input_gradients import Facts, Gradients, Tally
from sr_hooks.attribution.path_length import path_lengths, time_at
from sr_hooks.attribution.quadrature import (
    ENOUGH_TO_LEAVE_OUT,
    Bisection,
    Evidence,
    error_of_steps,
    integral_of,
    left_out,
    terms_of,
)
from sr_hooks.images.windows import Box
from sr_hooks.inference.calibration import ExecutionPlan, to_cpu
from sr_hooks.networks.network import Network

__all__ = ["Integrand", "Key", "Node", "PathIntegral", "SmallRounds", "Strategy", "is_image", "mean_of"]

Key = tuple[int, int]
"""The number of an image, and the index of a window."""


@dataclass(frozen=True)
class Node:
    """One evaluated point of a path, on the CPU: its position in [0, 1], the point and the gradient, both (1,C,h,w)."""

    position: float
    point: torch.Tensor
    gradient: torch.Tensor


@dataclass(frozen=True)
class Integrand:
    """What is integrated: gradients of some windows along the paths of images of one size.

    Attributes:
        gradients: computes them.
        path: of the inputs that `gradients` takes: of whole images, or of the box that a cone needs.
        length_path: the path whose length spreads the nodes.
        images: (N,C,h,w), or clips (N,T,C,h,w), on the CPU.
        windows: the indices of the windows.
        tolerance, steps: where the nodes end; see `Bisection`.
        progress: counts gradients.
    """

    gradients: Gradients
    path: ImagePath
    length_path: ImagePath
    images: torch.Tensor
    windows: Sequence[int]
    tolerance: float
    steps: int | None
    progress: Any

    @property
    def keys(self) -> list[Key]:
        """Of all integrals, image by image."""
        return [(row, index) for row in range(len(self.images)) for index in self.windows]

    @property
    def box(self) -> Box | None:
        """The part of the image that `gradients` takes; None for all of it."""
        cone = self.gradients.window_cone
        return cone.inputs if cone else None

    def rule(self, evidence: Evidence) -> Bisection:
        """Of the nodes of one integral."""
        return Bisection(evidence, tolerance=self.tolerance, steps=self.steps)

    def times(self, images: torch.Tensor) -> list[Callable[[float], float]]:
        """Of each image the map from a share of the path's length to the path's time; an accelerator is waited for."""
        lengths = torch.stack([path_lengths(self.length_path, image) for image in images.split(1)])
        return [time_at(row) for row in to_cpu(lengths)[0].tolist()]


@dataclass(frozen=True)
class PathIntegral:
    """One integral, on the CPU.

    Attributes:
        attribution: (1,C,h,w) float32.
        positions: of the nodes, ascending.
        change: the objective at the path's end, less that at its start.
        error: estimated relative L2 error, see `Bisection` and `error_of_steps`; None without an estimate.
        tally: what was met at the nodes.
        at_image: the output (1,C,H,W) for the image itself, as far as it was computed; None if the path ends elsewhere.
        nodes: gives the nodes with their points and gradients; none where the integral is of secants.
        secants: the work of an integral of secants, in gradients: a forward and a backward each; None elsewhere.
    """

    attribution: torch.Tensor
    positions: Sequence[float]
    change: float
    error: float | None
    tally: Tally
    at_image: torch.Tensor | None
    nodes: Callable[[], list[Node]]
    secants: int | None = None

    @property
    def gradients(self) -> int:
        """How many gradients were taken, or what secants took in their place."""
        return len(self.positions) if self.secants is None else self.secants


def mean_of(integrals: Sequence[PathIntegral]) -> PathIntegral:
    """The mean of integrals along several curves to one image; its error is no smaller than theirs together."""
    if len(integrals) == 1:
        return integrals[0]
    first, count = integrals[0], len(integrals)
    attribution = torch.stack([each.attribution.double() for each in integrals]).mean(dim=0).float()
    errors = [
        None if each.error is None else each.error * float(each.attribution.double().norm()) for each in integrals
    ]
    size = float(attribution.double().norm())
    total = None if size == 0 or None in errors else sum(filter(None, errors)) / count / size
    tally = Tally(
        sum(each.tally.nonfinite for each in integrals),
        min(each.tally.low for each in integrals),
        max(each.tally.high for each in integrals),
        sum(each.tally.broken for each in integrals),
    )
    positions = [position for each in integrals for position in each.positions]
    change = sum(each.change for each in integrals) / count
    work = None if all(each.secants is None for each in integrals) else sum(each.gradients for each in integrals)
    return PathIntegral(attribution, positions, change, total, tally, first.at_image, first.nodes, work)


class Strategy(Protocol):
    """How the nodes of many integrals are placed and computed. Which one is used changes the time, not the answer."""

    def planned(self, plan: ExecutionPlan, network: Network, shape: tuple[int, ...]) -> ExecutionPlan:
        """A calibrated plan, with the batches of this strategy for images of this shape."""
        ...

    def images_at_once(self, plan: ExecutionPlan, shape: tuple[int, ...]) -> int:
        """How many images of this shape are explained together."""
        ...

    def integrals(self, integrand: Integrand) -> dict[Key, PathIntegral]:
        """All integrals of the integrand."""
        ...


class SmallRounds:
    """The strategy of a CPU: rounds of at most 4 nodes an integral, and no gradient that is not used."""

    def planned(self, plan: ExecutionPlan, network: Network, shape: tuple[int, ...]) -> ExecutionPlan:
        """The plan as it is."""
        return plan

    def images_at_once(self, plan: ExecutionPlan, shape: tuple[int, ...]) -> int:
        """One image: on a CPU larger batches gain nothing."""
        return 1

    def integrals(self, integrand: Integrand) -> dict[Key, PathIntegral]:
        """All integrals of the integrand."""
        images = integrand.images.split(1)
        times = integrand.times(integrand.images)
        taken = {key: _Taken() for key in integrand.keys}
        rules = {key: integrand.rule(taken[key]) for key in integrand.keys}
        at_images: dict[int, torch.Tensor] = {}
        while requests := {key: positions for key, rule in rules.items() if (positions := rule.request())}:
            rows = sorted({(row, position) for (row, _), positions in requests.items() for position in positions})
            points = torch.cat(
                [
                    integrand.path(image, [times[number](position) for row, position in rows if row == number])
                    for number, image in enumerate(images)
                    if any(row == number for row, _ in rows)
                ]
            )
            wanted = [[i for (r, i), each in requests.items() if r == row and at in each] for row, at in rows]
            ends = [
                n for n, (row, at) in enumerate(rows) if at == 1 and is_image(points[n], images[row], integrand.box)
            ]
            samples = integrand.gradients(points, wanted, with_output=ends)
            at_images |= {rows[number][0]: output.cpu() for number, output in samples.outputs.items()}
            for number, each in enumerate(samples.on_cpu()):
                row, position = rows[number]
                for index, sample in each.items():
                    node = Node(position, points[number : number + 1], sample.gradient)
                    taken[row, index].add(node, sample.facts)
            for key, positions in requests.items():
                rules[key].take(positions)
            integrand.progress.update(len(rows))
        return {key: taken[key].answer(rule, at_images.get(key[0])) for key, rule in rules.items()}


class _Taken:
    """The nodes of one integral, on the CPU, and the evidence that they give."""

    def __init__(self) -> None:
        self._nodes: dict[float, Node] = {}
        self._facts: dict[float, Facts] = {}
        self._terms: dict[tuple[float, float], float] = {}
        self._integral: tuple[int, torch.Tensor] | None = None

    def add(self, node: Node, facts: Facts) -> None:
        self._nodes[node.position], self._facts[node.position] = node, facts

    def term(self, start: float, end: float) -> float:
        if (start, end) not in self._terms:
            a, b = self._nodes[start], self._nodes[end]
            self._terms[start, end] = float(terms_of((a.gradient, b.gradient), (a.point, b.point)))
        return self._terms[start, end]

    def size(self, positions: Sequence[float]) -> float:
        return float(self._sum().double().norm())

    def _sum(self) -> torch.Tensor:
        """The integral of all nodes."""
        if self._integral is None or self._integral[0] != len(self._nodes):
            nodes = self._sorted()
            total = integral_of([node.gradient for node in nodes], [node.point for node in nodes]).float()
            self._integral = len(nodes), total
        return self._integral[1]

    def _sorted(self) -> list[Node]:
        return [self._nodes[position] for position in sorted(self._nodes)]

    def answer(self, rule: Bisection, at_image: torch.Tensor | None) -> PathIntegral:
        total, error = self._sum(), None
        if has_steps(rule):
            error = error_of_steps(
                [float((total - self._without(half)).norm()) for half in left_out(rule.positions)], float(total.norm())
            )
        return answer_of(total, rule, error, self._facts, at_image, self._sorted)

    def _without(self, positions: Sequence[float]) -> torch.Tensor:
        """The integral of some of the nodes."""
        nodes = [self._nodes[position] for position in positions]
        return integral_of([node.gradient for node in nodes], [node.point for node in nodes]).float()


def answer_of(
    attribution: torch.Tensor,
    rule: Bisection,
    error: float | None,
    facts: Mapping[float, Facts],
    at_image: torch.Tensor | None,
    nodes: Callable[[], list[Node]],
) -> PathIntegral:
    """The answer of a rule that is done, from what was met at its positions; `error` is the rule's own where None."""
    tally = Tally()
    for position in rule.positions:
        tally.add(facts[position])
    change = facts[rule.positions[-1]].value - facts[rule.positions[0]].value
    stated = rule.error if error is None else error
    return PathIntegral(attribution, rule.positions, change, stated, tally, at_image, nodes)


def has_steps(rule: Bisection) -> bool:
    """Whether the error of a rule's integral is that of a fixed number of nodes, see `error_of_steps`."""
    return rule.steps is not None and len(rule.positions) >= ENOUGH_TO_LEAVE_OUT


def is_image(point: torch.Tensor, image: torch.Tensor, box: Box | None) -> bool:
    """Whether a point of the path is the image itself; a path of a plugin may end elsewhere."""
    return torch.allclose(point, image[0][(..., *box.slices)] if box else image[0], atol=1e-5)
