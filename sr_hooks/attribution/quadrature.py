"""Where along a path to take gradients, and their sum: no gradient twice, and an estimate of the error left."""

from __future__ import annotations

import copy
import math
from collections.abc import Container, Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import torch

__all__ = [
    "Bisection",
    "Evidence",
    "error_of_steps",
    "integral_of",
    "intervals",
    "lattice",
    "left_out",
    "positions_ahead",
    "terms_of",
]

START = 5
ROUND = 4
MOST = 65
_WORTH = 0.3  # an interval is bisected in a round only if its term reaches this share of the worst
_LEFT_OUT = 0.44  # the error of an integral, as a share of what leaving out each half of its nodes changes; measured
ENOUGH_TO_LEAVE_OUT = 9  # nodes; with fewer the halves say little
_HALF = 0.35  # the term of half an interval as a share of the whole one's: of a random walk sqrt(1/8)


class Evidence(Protocol):
    """The numbers by which `Bisection` decides; a strategy computes them where its tensors are."""

    def term(self, start: float, end: float) -> float:
        """||(g' - g) * (x' - x)|| of the interval between two neighbouring nodes, see `terms_of`."""
        ...

    def size(self, positions: Sequence[float]) -> float:
        """||integral|| of these nodes, see `integral_of`."""
        ...


class Scalars:
    """Evidence of which the numbers are written in: what has come from an accelerator to the host."""

    def __init__(self) -> None:
        self.terms: dict[tuple[float, float], float] = {}
        self.sizes: dict[tuple[float, ...], float] = {}

    def term(self, start: float, end: float) -> float:
        return self.terms[start, end]

    def size(self, positions: Sequence[float]) -> float:
        return self.sizes[tuple(positions)]


class Endless(Scalars):
    """The same for a rule that does not stop by its tolerance; it notes which sums' sizes the rule may ask for."""

    def __init__(self, evidence: Scalars) -> None:
        self.terms, self.sizes = evidence.terms, {}

    def size(self, positions: Sequence[float]) -> float:
        return self.sizes.setdefault(tuple(positions), 0.0)


class LatestSize(Scalars):
    """The same for a rule that goes on without a new round: the size of a sum is the latest one that is known."""

    def __init__(self, evidence: Scalars) -> None:
        self.terms, self.sizes = evidence.terms, evidence.sizes

    def size(self, positions: Sequence[float]) -> float:
        return self.sizes[max(self.sizes, key=len)]


class Bisection:
    """The positions of one integral's nodes: the interval with the largest ||(g' - g) * (x' - x)|| is bisected first.

    Starting from 5 equally spread positions, a round requests the middles of up to 4 of the worst intervals; how
    many does not depend on the batch size, so neither do the positions.

    The integrand of a rectified network is rough, so the error of one interval is taken as that of a random
    walk between its ends, its term over sqrt(12), and intervals as independent.

    Args:
        evidence: terms and sizes of the nodes that were taken.
        tolerance: stop when the estimated relative error of the sum (L2 over all elements) is below it.
        steps: take exactly so many gradients, at least 2, and let the tolerance be.
        most: with a tolerance, stop at so many gradients.

    Attributes:
        positions: those that were taken, in ascending order.
    """

    def __init__(self, evidence: Evidence, *, tolerance: float, steps: int | None = None, most: int = MOST) -> None:
        self.evidence, self.tolerance, self.steps = evidence, tolerance, steps
        self.limit = steps if steps is not None else most
        self.positions: tuple[float, ...] = ()

    def with_evidence(self, evidence: Evidence) -> Bisection:
        """A copy that has taken the same positions and goes on by other evidence."""
        other = copy.copy(self)
        other.evidence = evidence
        return other

    def request(self, among: Container[float] | None = None) -> list[float]:
        """The positions at which gradients are wanted next, only `among` these where given; empty when done."""
        if not self.positions:
            return lattice(min(START, self.limit))
        left = self.limit - len(self.positions)
        if left <= 0 or (self.steps is None and self.error <= self.tolerance):
            return []
        ranked = sorted(((term, -a, b) for (a, b), term in self._terms()), reverse=True)
        if among is not None:
            ranked = [(term, minus_a, b) for term, minus_a, b in ranked if (b - minus_a) / 2 in among]
        worst = ranked[0][0] if ranked else 0.0
        if self.steps is None and not worst > 0:
            return []
        chosen = [(-a, b) for term, a, b in ranked[: min(ROUND, left)] if term >= _WORTH * worst]
        return sorted((a + b) / 2 for a, b in chosen)

    def take(self, positions: Sequence[float]) -> None:
        """Go on from these positions too, which were requested and whose evidence is there now."""
        self.positions = tuple(sorted([*self.positions, *positions]))

    def _terms(self) -> list[tuple[tuple[float, float], float]]:
        ends = zip(self.positions, self.positions[1:], strict=False)
        return [((a, b), self.evidence.term(a, b)) for a, b in ends]

    @property
    def error(self) -> float:
        """Estimated relative L2 error of the integral; infinite for a vanishing integral with terms left."""
        spread = math.sqrt(sum(term * term for _, term in self._terms()) / 12)
        size = self.evidence.size(self.positions)
        if size > 0:
            return spread / size
        return math.inf if spread > 0 else 0.0


def lattice(count: int) -> list[float]:
    """`count` equally spread positions from 0 to 1."""
    return [i / (count - 1) for i in range(count)]


class _Forecast:
    """Evidence of a rule that looks ahead: terms of intervals that are not known yet follow from the whole's."""

    def __init__(self, rule: Bisection, known: Container[float]) -> None:
        self._rule, self._known = rule, known
        self._size = rule.evidence.size(rule.positions) if rule.steps is None else math.nan
        self._predicted: dict[tuple[float, float], float] = {}

    def halve(self, start: float, middle: float, end: float) -> None:
        whole = self.term(start, end)
        for half in ((start, middle), (middle, end)):
            if half[0] not in self._known or half[1] not in self._known:
                self._predicted[half] = _HALF * whole

    def term(self, start: float, end: float) -> float:
        predicted = self._predicted.get((start, end))
        return self._rule.evidence.term(start, end) if predicted is None else predicted

    def size(self, positions: Sequence[float]) -> float:
        return self._size


def intervals(known: Container[float], start: Sequence[float]) -> Iterator[tuple[float, float]]:
    """All intervals that bisection may come to from neighbours in `start`, and whose ends are known."""
    stack = list(pairwise(start))
    while stack:
        a, b = stack.pop()
        yield a, b
        middle = (a + b) / 2
        if middle in known:
            stack += [(a, middle), (middle, b)]


def positions_ahead(rule: Bisection, known: Container[float], caution: float) -> list[float]:
    """The positions, beside the known ones, that a rule is going to request as far as the known terms tell.

    Args:
        known: positions whose terms the rule's evidence has.
        caution: how many times as many are given, or how many times as low an error is aimed at; at least 1.
    """
    forecast = _Forecast(rule, known)
    ahead = rule.with_evidence(forecast)
    ahead.tolerance = rule.tolerance / caution
    if rule.steps is not None:
        ahead.limit = len(rule.positions) + math.ceil(caution * (rule.limit - len(rule.positions)))
    wanted: list[float] = []
    while requested := ahead.request():
        ends = list(zip(ahead.positions, ahead.positions[1:], strict=False))
        for position in requested:
            start, end = next((a, b) for a, b in ends if a < position < b)
            forecast.halve(start, position, end)
        wanted += [position for position in requested if position not in known]
        ahead.take(requested)
    return wanted


def left_out(positions: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The positions without every second inner one, and without the other inner ones; the ends stay."""
    ends = (positions[0], positions[-1])
    return tuple(sorted({*positions[::2], *ends})), tuple(sorted({*positions[1::2], *ends}))


def error_of_steps(changes: Sequence[float], size: float) -> float:
    """Estimated relative L2 error of an integral of a fixed number of nodes, at least 9, where no rule has stopped it.

    The bound by which `Bisection` stops is up to eight times too large for smooth networks. What leaving out half of
    the nodes changes follows the network's own smoothness. `benchmarks/lam_calibration.py` measures how true it is.

    Args:
        changes: ||integral less the integral without half of the nodes||, for both halves; see `left_out`.
        size: ||integral||.
    """
    change = _LEFT_OUT * math.hypot(*changes)
    if size > 0:
        return change / size
    return math.inf if change > 0 else 0.0


def terms_of(gradients: Sequence[torch.Tensor], points: Sequence[torch.Tensor]) -> torch.Tensor:
    """||(g' - g) * (x' - x)|| of M intervals, (M,) in float64.

    Args:
        gradients, points: each a pair of (M,...), at the start and at the end of the intervals.
    """
    (g, g_next), (x, x_next) = gradients, points
    terms: torch.Tensor = ((g_next - g) * (x_next - x)).double().flatten(1).norm(dim=1)
    return terms


def integral_of(gradients: Sequence[torch.Tensor], points: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum over neighbouring nodes of a corrected trapezoid, elementwise, in float64 and in the path's order.

    Sum over intervals of (x_{i+1} - x_i) * ((g_i + g_{i+1})/2 + (m_i - m_{i+1})/12), where m_i = (g_{i+1} - g_{i-1})/2
    is the gradient's slope from node to node (one-sided at the ends). This integrates a cubic Hermite curve through the
    gradients, with the node's number as its parameter: bisection makes the steps from node to node alike, however
    unlike their lengths. Without m it is the plain trapezoid, whose error was a twentieth larger on average, and up to
    twice on networks that undo the path's blur.

    Args:
        gradients, points: one tensor a node, in the path's order, at least two; all of one shape. A first dimension may
            hold several integrals with equally many nodes.
    """
    last = len(points) - 1
    total = torch.zeros_like(points[0], dtype=torch.float64)
    point, here, ahead = points[0].double(), gradients[0].double(), gradients[1].double()
    slope = ahead - here
    for i in range(last):
        end = min(i + 2, last)  # of the slope at the next node
        next_point, beyond = points[i + 1].double(), gradients[end].double()
        next_slope = (beyond - here) / (end - i)
        total += ((here + ahead) / 2 + (slope - next_slope) / 12) * (next_point - point)
        point, here, ahead, slope = next_point, ahead, beyond, next_slope
    return total
