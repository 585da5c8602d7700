"""Where along a weight path to take gradients: nested nodes, doubled until the mean scores over all images settle."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

__all__ = ["Level", "Settling", "levels", "nodes", "published_nodes", "top_of"]

WARP = 1.75
"""Nodes lie at 1 - u^1.75 for equally spread u: several times denser at the target, where the loss is at its minimum
and its gradient turns fastest, than at the baseline. Measured on MSRResNet x2, one image, relative error of 10 and of
20 nodes: 0.0097 and 0.0049; equally spread midpoints, which do not nest by doubling, 0.0196 and 0.0049; 18
Gauss-Legendre nodes 0.0082."""

START, MOST = 5, 80
TOP = 0.01
_ROUGH = 1 / math.sqrt(
    3
)  # error left over the last change, where halving the step halves the error (a rough integrand)


@dataclass(frozen=True)
class Level:
    """A doubling: the rule's number of nodes, and those of them that are new, as (t, weight)."""

    count: int
    new: tuple[tuple[float, float], ...]


def nodes(count: int) -> list[tuple[float, float]]:
    """The rule of `count` nodes as (t, weight): the trapezoid rule in u, weights to be divided by their sum.

    In u = k/count, k = 1..count, t = 1 - u^1.75. The weights du-to-dt, u^0.75 and half of it at u = 1, do not depend
    on the count, so a running sum of weighted gradients serves every level. u = 0 has weight 0: one node saved.
    """
    return [_node(k, count) for k in range(1, count + 1)]


def _node(k: int, count: int) -> tuple[float, float]:
    u = k / count
    return 1 - u**WARP, u ** (WARP - 1) * (0.5 if k == count else 1.0)


def levels(steps: int | None) -> list[Level]:
    """5, 10, 20, 40, 80 nodes; with `steps`, the halvings of it that are whole and at least 4, up to it."""
    counts = [START]
    while steps is None and counts[-1] < MOST:
        counts.append(2 * counts[-1])
    if steps is not None:
        counts = [steps]
        while counts[0] % 2 == 0 and counts[0] >= 8:
            counts.insert(0, counts[0] // 2)
    first, *later = counts
    nested = [Level(first, tuple(nodes(first)))]
    return nested + [Level(n, tuple(_node(k, n) for k in range(1, n + 1, 2))) for n in later]


def published_nodes(steps: int) -> Level:
    """The published left rule: alpha = 0, 1/N .. (N-1)/N from the target, that is t = 1 - alpha, all of one weight."""
    return Level(steps, tuple((1 - i / steps, 1.0) for i in range(steps)))


def centred(scores: torch.Tensor) -> torch.Tensor:
    """(D,F) scores to what rankings depend on: less their mean over the degradations, where there are several."""
    return scores - scores.mean(dim=0) if len(scores) > 1 else scores


def top_of(values: torch.Tensor, share: float = TOP) -> torch.Tensor:
    """(F,) to a mask of the largest share of it, at least one; ties by number."""
    count = max(1, round(share * len(values)))
    mask = torch.zeros(len(values), dtype=torch.bool)
    mask[torch.argsort(values, descending=True, stable=True)[:count]] = True
    return mask


def overlap(one: torch.Tensor, other: torch.Tensor) -> float:
    """The share that the top 1 % of two (D,F) have in common, the least over the degradations."""
    shares = []
    for a, b in zip(one, other, strict=True):
        first, second = top_of(a), top_of(b)
        shares.append(float((first & second).sum() / first.sum()))
    return min(shares)


class Settling:
    """When one image has nodes enough, so that the scores averaged over all images keep the tolerance.

    An image stops by its change since n/2, times what images that went on to 2n have shown of it, or 1/sqrt(3) before
    any has. Errors of several images average out as far as they are independent; how far they are is measured on the
    images that went on, and until two have, they are taken to be one and the same.

    The error stated at the end is more careful. An image whose change since n/2 is small stops early, and its error
    is a larger part of that change than in the images that went on. So what was left in these is also taken as a share
    of the scores; the larger error counts, with a margin for how few they are.

    Args:
        tolerance: relative L2 error of the mean scores over all filters and degradations, each less the mean over
            degradations; the top 1 % of an image must have changed by no more than twice its share of it.
        images: how many there will be.
    """

    def __init__(self, tolerance: float, images: int) -> None:
        self.tolerance, self.images = tolerance, images
        self.total: torch.Tensor | float = 0.0
        self.before: torch.Tensor | float = 0.0
        self._sizes = 0.0
        self._squares = 0.0
        self._taken = 0
        self._change: dict[int, torch.Tensor | float] = defaultdict(float)
        self._change_squares: dict[int, list[float]] = defaultdict(list)
        self._ratios: dict[int, list[float]] = defaultdict(list)
        self._shares: dict[int, list[float]] = defaultdict(list)

    def enough(self, history: list[tuple[int, torch.Tensor]]) -> bool:
        """Whether an image whose scores (D,F) at n nodes are `history` may stop."""
        if len(history) < 2:
            return False
        (_, before), (_, now) = history[-2:]
        size = float(centred(now).norm())
        room = self._room()
        return self._error(history) <= room * size and 1 - overlap(centred(before), centred(now)) <= 2 * room

    def take(self, history: list[tuple[int, torch.Tensor]]) -> None:
        """Take in a finished image."""
        sizes = {n: float(centred(scores).norm()) for n, scores in history}
        changes = [
            (n, centred(now) - centred(before)) for (n, now), (_, before) in zip(history[1:], history, strict=False)
        ]
        for (n, first), (_, second) in pairwise(changes):
            left = float(second.norm())
            self._ratios[n].append(_part(left, float(first.norm())))
            self._shares[n].append(_part(left, sizes[2 * n]))
            self._change[n] = self._change[n] + second
            self._change_squares[n].append(left**2)
        self._squares += self._error(history, stated=True) ** 2
        self._sizes += sizes[history[-1][0]]
        self.total = self.total + history[-1][1]
        self.before = self.before + history[-2 if len(history) > 1 else -1][1]
        self._taken += 1

    @property
    def error(self) -> float | None:
        """Estimated relative L2 error of the mean scores; None where no level lies below the last."""
        if math.isinf(self._squares) or not isinstance(self.total, torch.Tensor):
            return None
        size = float(centred(self.total).norm())
        left = math.sqrt(self._squares * (1 + (self._taken - 1) * self._shared()))
        return left / size if size > 0 else (math.inf if left > 0 else 0.0)

    @property
    def overlap(self) -> float | None:
        """What the top 1 % of the mean scores share with that of half the nodes."""
        if math.isinf(self._squares) or not isinstance(self.total, torch.Tensor):
            return None
        assert isinstance(self.before, torch.Tensor)
        return overlap(centred(self.total), centred(self.before))

    def _error(self, history: list[tuple[int, torch.Tensor]], *, stated: bool = False) -> float:
        """Estimated L2 error of an image's scores."""
        if len(history) < 2:
            return math.inf
        n, now = history[-1]
        change = float((centred(now) - centred(history[-2][1])).norm())
        seen = len(self._ratios.get(n, ()))
        if not seen:
            return _ROUGH * change
        left = _typical(self._ratios[n]) * change
        if stated:
            left = max(left, _typical(self._shares[n]) * float(centred(now).norm())) * math.sqrt(1 + 1 / seen)
        # Beyond 2n as much again is left as 1/4 + 1/16 + ... = 1/3 of the squared change to 2n.
        return math.sqrt(4 / 3) * left

    def _shared(self) -> float:
        """Correlation of two images' errors, from 0 to 1."""
        known = {n: s for n, s in self._change_squares.items() if len(s) > 1}
        if not known:
            return 1.0
        n = max(known, key=lambda n: len(known[n]))
        squares, summed = sum(known[n]), self._change[n]
        assert isinstance(summed, torch.Tensor)
        if not squares > 0:
            return 0.0
        return min(max((float(summed.norm()) ** 2 / squares - 1) / (len(known[n]) - 1), 0.0), 1.0)

    def _room(self) -> float:
        """The relative error that one image may keep."""
        aligned = 1.0
        if isinstance(self.total, torch.Tensor) and self._sizes > 0:
            aligned = float(centred(self.total).norm()) / self._sizes
        return self.tolerance * aligned * math.sqrt(self.images / (1 + (self.images - 1) * self._shared()))


def _part(change: float, whole: float) -> float:
    return change / whole if whole > 0 else 0.0


def _typical(values: Sequence[float]) -> float:
    """The root of the mean square."""
    return math.sqrt(sum(value * value for value in values) / len(values))
