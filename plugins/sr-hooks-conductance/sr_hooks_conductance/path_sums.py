"""The integrals along the path: nodes go through the network in batches, and the features of a node are then freed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

import sr_hooks
from sr_hooks.attribution import ImagePath, Objective
from sr_hooks.errors import NetworkError
from sr_hooks.hooks import Tap, intervene
from sr_hooks.images import Window
from sr_hooks.inference import attempt
from sr_hooks_conductance.units import Unit, recording

__all__ = ["PathSums", "Question", "sums_along"]

INPUT, OUTPUT = ":input", ":output"


@dataclass(frozen=True)
class Question:
    """What is integrated: the objective of a window, over the path from a baseline to the image."""

    network: sr_hooks.Network
    image: torch.Tensor
    units: list[Unit]
    objective: Objective
    window: Window
    path: ImagePath

    def points(self, times: Sequence[float]) -> torch.Tensor:
        """(K,C,h,w), or (K,T,C,h,w) of a clip, whose frames follow the path each."""
        if self.image.ndim == 4:
            return self.path(self.image, times)
        return torch.stack([self.path(frame, times) for frame in self.image.unbind(1)], dim=1)

    def length(self) -> float:
        """The root mean square difference of the image to the baseline, at which the path begins; white is 1."""
        return float((self.points([0.0]).cpu() - self.image.cpu()).double().square().mean().sqrt())


@dataclass
class Node:
    """At some nodes: the objective's values, and for each tap the part that passes with its gradients."""

    values: torch.Tensor
    parts: dict[str, torch.Tensor]
    total: dict[str, torch.Tensor]
    direct: dict[str, torch.Tensor]


@dataclass
class Integral:
    """The integral of gradient . d(part), summed over channels: by trapezoids on all nodes and on every second."""

    channel: int
    fine: Any = 0.0
    coarse: Any = 0.0
    _held: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def add(self, part: torch.Tensor, gradient: torch.Tensor) -> None:
        """The parts and gradients (K,...) of the next K nodes."""
        new = list(zip(part.split(1), gradient.split(1), strict=True))
        first, rows = len(self._held) - 1, [*self._held, *new]
        for i in range(max(first, 0), len(rows) - 1):
            self.fine = self.fine + self._between(rows[i], rows[i + 1])
        even = (len(rows) - 1) // 2 * 2
        for i in range(0, even, 2):
            self.coarse = self.coarse + self._between(rows[i], rows[i + 2])
        self._held = [(part.clone(), gradient.clone()) for part, gradient in rows[even:]]  # not the whole batch

    def _between(self, one: tuple[torch.Tensor, torch.Tensor], two: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        mean, step = (one[1] + two[1]) / 2, two[0] - one[0]
        return (mean * step)[0].sum(dim=self.channel - 1, dtype=torch.float64)

    def free(self) -> None:
        self._held = []


@dataclass
class PathSums:
    """What a path gave.

    Attributes:
        change: of the objective, from the baseline to the image.
        total: for each tap the integral of the objective's gradient, through all that follows, times the part's change.
        direct: the same with the other units' parts held: over all units, and the input with all held, a cut.
        last: at the image, for each tap: mean |part|, and mean |sum over channels of gradient times part|.
        nodes: how many.
    """

    change: float
    total: dict[str, Integral]
    direct: dict[str, Integral]
    last: dict[str, tuple[float, float]]
    nodes: int

    def completeness(self, *, coarse: bool = False) -> float:
        """The sum over the cut of all units and what reaches the output around them; it should be `change`."""
        rule = "coarse" if coarse else "fine"
        return sum(float(torch.as_tensor(getattr(part, rule)).sum()) for part in self.direct.values())


def sums_along(question: Question, steps: int, batch: int, bar: Any) -> PathSums:
    """The integrals by trapezoids over `steps` (even) equal steps of the path's time.

    Raises:
        NetworkError: values that are not finite, or no gradient.
    """
    times = [i / steps for i in range(steps + 1)]
    total: dict[str, Integral] = {}
    direct: dict[str, Integral] = {}
    values: list[torch.Tensor] = []
    last: dict[str, tuple[float, float]] = {}
    first = 0
    while first < len(times):
        part = times[first : first + batch]
        tried = attempt(lambda part=part: question.network.differentiate(lambda: _node(question, part)))  # type: ignore[misc]
        if tried.ran_out and batch > 1:
            batch //= 2
            continue
        node = tried.result()
        first += len(part)
        values.append(node.values)
        for key, passing in node.parts.items():
            rows = _by_node(passing, len(part))
            channel = channel_axis(rows, question.image)
            for integrals, gradients in ((total, node.total), (direct, node.direct)):
                if key in gradients:
                    integral = integrals.setdefault(key, Integral(channel))
                    integral.add(rows, _by_node(gradients[key], len(part)))
            if first == len(times):
                product = (rows[-1:] * _by_node(node.total[key], len(part))[-1:]).double().sum(dim=channel)
                last[key] = (float(passing[-1:].abs().double().mean()), float(product.abs().mean()))
        bar.update(len(part))
    for integral in (*total.values(), *direct.values()):
        integral.free()
    together = torch.cat(values)
    if not bool(torch.isfinite(together).all()):
        raise NetworkError(f"the objective of {question.network.name} is NaN or infinite on the path")
    return PathSums(float(together[-1] - together[0]), total, direct, last, len(times))


def _node(question: Question, times: Sequence[float]) -> Node:
    """One forward, and one backward in stages: from the objective to the output, then from each unit to earlier ones.

    Every unit's part is a leaf, so what reaches a leaf in the stage of the output went through no other unit: this is
    the direct gradient. The stages of later units add what went through them.
    """
    network, units = question.network, question.units
    x = question.points(times).detach().to(network.device).requires_grad_()
    parts: dict[str, torch.Tensor] = {}
    leaves: dict[str, torch.Tensor] = {INPUT: x}

    def note(unit: Unit, tap: Tap, part: torch.Tensor) -> torch.Tensor:
        parts[str(tap)] = part
        leaves[str(tap)] = part.detach().clone().requires_grad_()
        return leaves[str(tap)].clone()

    with torch.enable_grad():
        with intervene(network.module, dict(recording(units, note))):
            output = network(x).float()
        shown = output.detach().clone().requires_grad_()
        image = x if x.ndim == 4 else x[:, x.shape[1] // 2]
        values = question.objective(shown, image, question.window)
        start = network.gradients(values.sum(), [shown, x])
        if start[0] is None:
            raise NetworkError(f"the objective does not depend on the output of {network.name}")
        total = {OUTPUT: start[0], INPUT: _zero_if(start[1], x)}
        direct = _reached(network, output, total[OUTPUT], leaves)
        direct[INPUT] = direct[INPUT] + total.pop(INPUT)
        total |= {key: value for key, value in direct.items() if key != INPUT}
        names = list(parts)
        for number in range(len(names) - 1, 0, -1):
            earlier = {key: leaves[key] for key in names[:number]}
            through = _reached(network, parts[names[number]], total[names[number]], earlier)
            for key, value in through.items():
                total[key] = total[key] + value
    passing = {INPUT: x, **leaves, OUTPUT: shown}
    total[INPUT] = direct[INPUT]
    return Node(values.detach().double().cpu(), {key: value.detach() for key, value in passing.items()}, total, direct)


def _reached(
    network: sr_hooks.Network, value: torch.Tensor, gradient: torch.Tensor, leaves: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The gradients of (value . gradient) at the leaves, zero where there is none."""
    if not value.requires_grad:
        return {key: torch.zeros_like(leaf) for key, leaf in leaves.items()}
    product = (value * gradient.detach()).sum()
    gradients = network.gradients(product, list(leaves.values()), retain_graph=True)
    return {key: _zero_if(each, leaf) for (key, leaf), each in zip(leaves.items(), gradients, strict=True)}


def _zero_if(gradient: torch.Tensor | None, leaf: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(leaf) if gradient is None else gradient.detach()


def _by_node(value: torch.Tensor, count: int) -> torch.Tensor:
    """(K,...) with one row a node: networks that cut images into windows have several rows an image."""
    if len(value) == count:
        return value
    if len(value) % count:
        raise NetworkError(f"a layer passes {len(value)} rows for {count} images: give batch=1")
    return (
        value.view(count, len(value) // count, *value.shape[1:]).transpose(1, 2).flatten(2, 3).contiguous()
        if (value.ndim == 4)
        else value.reshape(count, -1, value.shape[-1])
    )


def channel_axis(rows: torch.Tensor, image: torch.Tensor) -> int:
    """The axis of the channels: 1 of (N,C,h,w), the last of tokens (N,L,C) and of (N,h,w,C), 2 of clips (N,T,C,h,w)."""
    if rows.ndim <= 3:
        return rows.ndim - 1
    if rows.ndim == 5:
        return 2
    ratio = image.shape[-1] / image.shape[-2]
    first, last = (abs(rows.shape[i + 1] / rows.shape[i] - ratio) for i in (2, 1))
    return 3 if last < 0.02 < first else 1
