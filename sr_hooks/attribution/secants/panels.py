"""Where along a path to take nodes for secants, their extrapolated sum, and an estimate of the error left."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch

__all__ = ["SOON", "Interval", "Midpoint", "Panels"]

Interval = tuple[float, float]

_WHOLE = (0.0, 1.0)

MOST = 65  # forwards and backwards, halved
_HALVING = 3  # of which this many are needed to halve a panel: two nodes, and four intervals
_ROUND = 2  # panels that are halved at a time, as far as they are needed
_WORTH = 0.3  # a panel is halved in a round only if its error reaches this share of the largest
_ORDER = 3  # halving divides a secant's error by 4 where the path bends smoothly: a third of the change is left
_HALVED = 4  # what halving a panel is expected to divide its error by

# The error of an extrapolated panel, as a share of its change: `_STEEP` times the change over the panel's own size, but
# at least `_LEAST` and at most `_FULL`. Along a straight line many rectifiers switch at once, and more is left. With
# these and `_LEFT`, of 224 integrals of 13 networks along 9 kinds of paths 4 had an error above the stated one by more
# than the reference's own error.
_STEEP, _LEAST, _LEAST_OF_LINES, _FULL = 4.0, 0.7, 1.0, 2.0

_QUARTERS = 15  # where a path bends little, a quarter of an interval has a sixteenth of the error
_BEND = 0.1  # what counts as little
# Error of the extrapolated quarters there, as a share of the change from the whole: less where few rectifiers turn.
_FEW, _LEFT_OF_FEW, _LEFT = 0.3, 0.2, 0.45

SOON = 1 / 32  # the node with which a jump right after the start is looked for
_JUMP = 2.0  # times what a quarter differs from the next
_NO_JUMP = 0.5  # times the tolerance: what does not matter


@dataclass(frozen=True)
class Midpoint:
    """A position at which a node is wanted, and the two ends of the interval that the node halves."""

    position: float
    ends: Interval


@dataclass
class Panels:
    """The panels of one integral: intervals of which the attribution is known, and that of both halves.

    A secant's attribution of an interval is exact in its sum and off in its distribution, by an error of second order:
    where the network bends smoothly along the path, halving the interval leaves a quarter of the error. So a third of
    what halving changed is added to what the halves give (Richardson's extrapolation), panel by panel.

    Of a window whose output bends little along the path, the four quarters and the whole interval are enough: a
    fifteenth of the change is added, and a share of the change is the error. Elsewhere nothing stops before there are
    two panels. Their errors are shares of their changes, larger where the change is large for the panel's size, and
    count as independent.

    Args:
        tolerance: the estimated relative L2 error of the sum at which no more nodes are wanted.

    Attributes:
        bend: how far the output at the quarters is from the mean of the outputs beside, as a share of the output's
            change along the path; infinite until it is known.
        line: whether the path is a straight line.
        turned: the most that turned in one of the quarters, see `Notes.turned`.
        maps: the attribution of each interval, (1,C,h,w).
        nodes: positions of all nodes.
    """

    tolerance: float
    bend: float = math.inf
    line: bool = False
    turned: float = 0.0
    maps: dict[Interval, torch.Tensor] = field(default_factory=dict)
    nodes: set[float] = field(default_factory=set)
    _leaves: list[Interval] = field(default_factory=list)

    def request(self) -> list[Midpoint]:
        """The midpoints that are wanted next, all of intervals whose ends are nodes; empty when done.

        Before the first request, the interval from 0 to 1 and a node at 0.5 are there.
        """
        if not self._leaves:
            if (0.0, 0.25) not in self.maps:
                return self._halved(_WHOLE)
            return [Midpoint(0.5, _WHOLE)] if self.error > self.tolerance else []
        if self.error <= self.tolerance or self.work + _ROUND * _HALVING > MOST:
            return []
        errors = self._errors()
        ranked = sorted(errors, key=lambda panel: (-errors[panel], panel))
        aim = (self.tolerance * float(self.total.norm())) ** 2
        left, wanted = sum(error**2 for error in errors.values()), list[Midpoint]()
        for panel in ranked[:_ROUND]:
            if errors[panel] >= _WORTH * errors[ranked[0]] > 0 and (not wanted or left > aim):
                left -= errors[panel] ** 2 * (1 - 1 / _HALVED**2)
                wanted += self._halved(panel)
        return wanted

    def take(self, interval: Interval, attribution: torch.Tensor, turned: float) -> None:
        """Take in the attribution of an interval, and how much turned in the interval."""
        self.maps[interval] = attribution
        if interval != _WHOLE and not self._leaves:
            self.turned = max(self.turned, turned)
        self.nodes.update(interval)

    def settle(self) -> None:
        """After a request's intervals were taken in: halve the panels of which both halves are panels now."""
        for panel in self._leaves or [_WHOLE]:
            halves = _halves(panel)
            if all(half in self.maps and self._is_panel(half) for half in halves):
                self._leaves = [each for each in self._leaves if each != panel] + [*halves]
        self._leaves.sort()

    @property
    def jumps(self) -> bool:
        """Whether the interval up to `SOON`, if it is known, differs from the first quarter as no quarters differ.

        Such a jump is shorter than any panel, so that no panel's change tells of it.
        """
        if (0.0, SOON) not in self.maps:
            return False
        soon = self.maps[0.0, SOON].double() / SOON
        quarters = [self.maps[i / 4, (i + 1) / 4].double() for i in range(4)]
        most = max(float((one - other).norm()) for one, other in pairwise(quarters))
        size = float(self._quarters()[0].norm())
        return float((soon / 4 - quarters[0]).norm()) > max(_JUMP * most, _NO_JUMP * self.tolerance * size)

    @property
    def work(self) -> float:
        """Forwards and backwards, halved: in gradients, which are one of each."""
        again = 1 if self._leaves else 0  # the node at 0.5 is computed with and without a backward
        return (len(self.nodes) + again + len(self.maps)) / 2

    @property
    def total(self) -> torch.Tensor:
        """The integral, float64."""
        if not self._leaves:
            quarters, change = self._quarters()
            return quarters + change / _QUARTERS
        parts = [self._fine(panel) + self._change(panel) / _ORDER for panel in self._leaves]
        return torch.stack(parts).sum(dim=0)

    @property
    def error(self) -> float:
        """Estimated relative L2 error of the integral; infinite for a vanishing integral with changes left."""
        if self._leaves:
            left = math.hypot(*self._errors().values())
        elif self.bend <= _BEND:
            left = (_LEFT_OF_FEW if self.turned <= _FEW and not self.line else _LEFT) * float(
                self._quarters()[1].norm()
            )
        else:
            return math.inf
        size = float(self.total.norm())
        if size > 0:
            return left / size
        return math.inf if left > 0 else 0.0

    def _quarters(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum of the four quarters, and what it is off the whole interval."""
        quarters = torch.stack([self.maps[i / 4, (i + 1) / 4].double() for i in range(4)]).sum(dim=0)
        return quarters, quarters - self.maps[_WHOLE].double()

    def _errors(self) -> dict[Interval, float]:
        """Of each panel, absolute."""
        errors, least = {}, _LEAST_OF_LINES if self.line else _LEAST
        for panel in self._leaves:
            change, size = float(self._change(panel).norm()), float(self._fine(panel).norm())
            share = _STEEP * change / size if size > 0 else _FULL
            errors[panel] = min(max(share, least), _FULL) * change
        return errors

    def _halved(self, panel: Interval) -> list[Midpoint]:
        """The midpoints of both halves."""
        return [Midpoint((a + b) / 2, (a, b)) for a, b in _halves(panel)]

    def _is_panel(self, interval: Interval) -> bool:
        return all(half in self.maps for half in _halves(interval))

    def _fine(self, interval: Interval) -> torch.Tensor:
        one, other = _halves(interval)
        return self.maps[one].double() + self.maps[other].double()

    def _change(self, interval: Interval) -> torch.Tensor:
        """What halving an interval changed."""
        return self._fine(interval) - self.maps[interval].double()


def _halves(interval: Interval) -> tuple[Interval, Interval]:
    start, end = interval
    middle = (start + end) / 2
    return (start, middle), (middle, end)
