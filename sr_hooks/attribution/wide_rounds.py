"""Integrals of gradients along image paths on an accelerator: few rounds, each one large batch and few waits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch

from sr_hooks.attribution.input_gradients import Facts, Samples
from sr_hooks.attribution.path_integrals import Integrand, Key, Node, PathIntegral, SmallRounds, answer_of, has_steps
from sr_hooks.attribution.quadrature import (
    MOST,
    START,
    Bisection,
    Endless,
    LatestSize,
    Scalars,
    error_of_steps,
    integral_of,
    intervals,
    lattice,
    left_out,
    positions_ahead,
    terms_of,
)
from sr_hooks.inference.calibration import ExecutionPlan, to_cpu, to_device
from sr_hooks.inference.memory.fallback import attempt
from sr_hooks.inference.memory.needs import samples_that_fit
from sr_hooks.networks.network import Network

__all__ = ["WideRounds"]

T = TypeVar("T")

_FIRST, _FIRST_OF_MANY = 9, 17  # nodes of the first round; with a fixed number of at least 17, nearly all are used
_CAUTION = (1.3, 2.5)  # of the second and the third round, see `positions_ahead`
_LARGEST = 128  # batch: beyond, launching kernels costs next to nothing
_FACTS = 5
_STORED = 2**27  # numbers of all gradients that are stored at once, 0.5 GiB

_CHUNK = 2**25  # numbers that a step of the sums works on


class WideRounds:
    """The strategy of an accelerator, where one large batch costs little more than a small one, and a wait costs much.

    The nodes are those that `SmallRounds` takes, by the same rule. But a round computes what the rule is going to
    request, as far as the terms that are known tell, and some more: the first round 9 equally spread nodes (17 with as
    many `steps`), the second and the third all intervals of all integrals that need more. Gradients that the rule does
    not request in the end are not used. Measured on 24 integrals of 4 networks, by the tolerance 1.9 rounds and 1.6
    times the gradients, with 21 steps 2.1 rounds and 1.3 times the gradients. If a third round is not enough, the rule
    goes on among the nodes that there are: of these 24 none did at a tolerance of 0.04, 2 at 0.02, 3 at 0.01.

    Points, gradients, terms and sums stay on the device. To the host go the lengths of the paths, once; in each round
    the terms with what was met at the nodes, and the sizes of sums where the tolerance decides; at the end the sums.

    Memory that runs out beside the gradients themselves leaves the integrals to `SmallRounds`.
    """

    def planned(self, plan: ExecutionPlan, network: Network, shape: tuple[int, ...]) -> ExecutionPlan:
        """The plan with batches as large as the device has room for; clips go through as the plan says."""
        room = samples_that_fit(network, shape) if len(shape) == 3 else None
        return replace(plan, batch=min(room, _LARGEST)) if room is not None else plan

    def images_at_once(self, plan: ExecutionPlan, shape: tuple[int, ...]) -> int:
        """As many images as fill batches, and have their gradients stored."""
        numbers = MOST * int(torch.Size(shape).numel())
        return max(plan.batch, 1) if plan.batch * numbers > _STORED else _STORED // numbers

    def integrals(self, integrand: Integrand) -> dict[Key, PathIntegral]:
        """All integrals of the integrand."""
        tried = attempt(lambda: _Board(integrand).integrals())
        return SmallRounds().integrals(integrand) if tried.ran_out else tried.result()


class _Board:
    """All integrals of one integrand: their rules, and all that is computed for them so far."""

    def __init__(self, integrand: Integrand) -> None:
        self.integrand = integrand
        self.images = to_device(integrand.images, integrand.gradients.network.device)
        self.times = integrand.times(self.images)
        self.evidence = {key: Scalars() for key in integrand.keys}
        self.rules = {key: integrand.rule(self.evidence[key]) for key in integrand.keys}
        self.store = _Store()
        self.outputs: dict[int, torch.Tensor] = {}

    def integrals(self) -> dict[Key, PathIntegral]:
        """Run the rounds, and fetch the sums."""
        requests = {key: _first_positions(rule) for key, rule in self.rules.items()}
        for caution in (*_CAUTION, None):
            self._compute(requests)
            self._fetch_sizes(requests)
            requests = {}
            for key, rule in self.rules.items():
                wanted = self._follow(rule, self.store.facts[key])
                if wanted and caution is not None:
                    requests[key] = positions_ahead(rule, self.store.facts[key], caution)
                elif wanted:
                    self._finish(key)
            if not requests:
                break
        return self._answers()

    def _follow(self, rule: Bisection, known: Mapping[float, object]) -> list[float]:
        """Let a rule go on as far as its positions are known; those that it requests then."""
        while (wanted := rule.request()) and all(position in known for position in wanted):
            rule.take(wanted)
        return wanted

    def _finish(self, key: Key) -> None:
        """Let a rule go on among the positions that are known."""
        rule, known = self.rules[key].with_evidence(LatestSize(self.evidence[key])), self.store.facts[key]
        while wanted := rule.request(known):
            rule.take(wanted)
        self.rules[key] = rule.with_evidence(self.evidence[key])

    def _compute(self, requests: Mapping[Key, Sequence[float]]) -> None:
        """A round's gradients, and what the rules need to know of them."""
        integrand = self.integrand
        by_row: dict[int, dict[float, list[int]]] = defaultdict(lambda: defaultdict(list))
        for (row, index), positions in requests.items():
            for position in positions:
                by_row[row][position].append(index)
        places = [(row, position) for row in sorted(by_row) for position in sorted(by_row[row])]
        points = torch.cat(
            [
                integrand.path(self.images[row : row + 1], [self.times[row](position) for position in sorted(each)])
                for row, each in sorted(by_row.items())
            ]
        )
        ends = [number for number, (_, position) in enumerate(places) if position == 1]
        wanted = [by_row[row][position] for row, position in places]
        samples = integrand.gradients(points, wanted, with_output=ends)
        self.store.add(places, points, samples)
        integrand.progress.update(len(places))
        fresh = [
            (key, interval)
            for key in requests
            for interval in intervals(self.store.rows[key], lattice(min(START, self.rules[key].limit)))
            if interval not in self.evidence[key].terms
        ]
        apart = [self._apart_from_image(points[number], places[number][0]) for number in ends]
        numbers = torch.cat([self.store.terms(fresh), samples.facts.flatten(), *apart])
        values = iter(to_cpu(numbers)[0].tolist())
        for key, interval in fresh:
            self.evidence[key].terms[interval] = next(values)
        for number, index in samples.pairs:
            row, position = places[number]
            self.store.facts[row, index][position] = Facts.of([next(values) for _ in range(_FACTS)])
        self.outputs |= {places[number][0]: samples.outputs[number] for number in ends if next(values) <= 0}

    def _apart_from_image(self, point: torch.Tensor, row: int) -> torch.Tensor:
        """(1,) float64: above 0 where a point is not the image itself, as `is_image` tells it."""
        image, box = self.images[row], self.integrand.box
        image = image[(..., *box.slices)] if box else image
        return ((point - image).abs() - 1e-5 - 1e-5 * image.abs()).max().double().reshape(1)

    def _fetch_sizes(self, keys: Iterable[Key]) -> None:
        """The sizes of all sums at which a rule may stop by the tolerance, before it needs another round."""
        if self.integrand.steps is not None:
            return
        wanted: list[tuple[Key, tuple[float, ...]]] = []
        for key in keys:
            trial = Endless(self.evidence[key])
            self._follow(self.rules[key].with_evidence(trial), self.store.facts[key])
            wanted += [(key, positions) for positions in trial.sizes if positions not in self.evidence[key].sizes]
        if not wanted:
            return
        sums = self.store.sums(wanted)
        sizes = torch.cat([total.double().flatten(1).norm(dim=1) for _, total in sums])
        for (key, positions), size in zip(
            [each for group, _ in sums for each in group], to_cpu(sizes)[0].tolist(), strict=True
        ):
            self.evidence[key].sizes[positions] = size

    def _answers(self) -> dict[Key, PathIntegral]:
        """All that goes to the host in the end, in one copy."""
        sums = self.store.sums([(key, rule.positions) for key, rule in self.rules.items()])
        keys = [key for group, _ in sums for key, _ in group]
        sent = [total for _, total in sums] + [self._changes(sums)] + list(self.outputs.values())
        flat = to_cpu(torch.cat([tensor.flatten() for tensor in sent]))[0]
        parts = [part.view(like.shape) for part, like in zip(flat.split([t.numel() for t in sent]), sent, strict=True)]
        at_images = dict(zip(self.outputs, parts[len(sums) + 1 :], strict=True))
        changes = parts[len(sums)].tolist() or [None] * len(keys)
        answers = {}
        for key, attribution, change in zip(keys, torch.cat(parts[: len(sums)]).split(1), changes, strict=True):
            rule, evidence = self.rules[key], self.evidence[key]
            size = evidence.sizes.setdefault(rule.positions, float(attribution.double().norm()))
            error = None if change is None else error_of_steps(change, size)
            nodes = partial(self.store.nodes, key, rule.positions)
            answers[key] = answer_of(attribution, rule, error, self.store.facts[key], at_images.get(key[0]), nodes)
        return {key: answers[key] for key in self.rules}

    def _changes(self, sums: Sequence[tuple[Sequence[tuple[Key, tuple[float, ...]]], torch.Tensor]]) -> torch.Tensor:
        """(M,2): what leaving out each half of the nodes changes of M sums; (0,2) where the rules state the errors."""
        if not all(map(has_steps, self.rules.values())):
            return torch.empty(0, 2, device=self.images.device)
        rows = []
        for group, total in sums:
            halves = [[(key, left_out(positions)[half]) for key, positions in group] for half in (0, 1)]
            without = [torch.cat([part for _, part in self.store.sums(half)]) for half in halves]
            rows.append(torch.stack([(total - part).flatten(1).norm(dim=1) for part in without], dim=1))
        return torch.cat(rows)


class _Store:
    """Points and gradients of all nodes on the device.

    Attributes:
        rows: of each integral, position to the rows of its gradient and of its point.
        facts: of each integral, position to what was met there, once it has come to the host.
    """

    def __init__(self) -> None:
        self.rows: dict[Key, dict[float, tuple[int, int]]] = defaultdict(dict)
        self.facts: dict[Key, dict[float, Facts]] = defaultdict(dict)
        self._gradients = self._points = torch.empty(0)

    def add(self, places: Sequence[tuple[int, float]], points: torch.Tensor, samples: Samples) -> None:
        """Take in points at `places`, each the number of an image and a position, and their samples."""
        first_gradient, first_point = len(self._gradients), len(self._points)
        for number, (point, index) in enumerate(samples.pairs):
            row, position = places[point]
            self.rows[row, index][position] = first_gradient + number, first_point + point
        empty = not first_point
        self._points = points if empty else torch.cat([self._points, points])
        self._gradients = samples.gradients if empty else torch.cat([self._gradients, samples.gradients])

    def terms(self, intervals: Sequence[tuple[Key, tuple[float, float]]]) -> torch.Tensor:
        """(M,) float64 of M intervals, see `terms_of`."""
        parts = [
            terms_of(gradients, points)
            for part in self._chunks(intervals, 2)
            for gradients, points in [self._nodes([(key, ends) for key, ends in part])]
        ]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64, device=self._points.device)

    def sums(
        self, wanted: Sequence[tuple[Key, tuple[float, ...]]]
    ) -> list[tuple[list[tuple[Key, tuple[float, ...]]], torch.Tensor]]:
        """Integrals and nodes to their sums (M,C,h,w), float32, in groups of equally many nodes."""
        groups: dict[int, list[tuple[Key, tuple[float, ...]]]] = defaultdict(list)
        for key, positions in wanted:
            groups[len(positions)].append((key, positions))
        return [
            (part, integral_of(*self._nodes(part)).float())
            for count, group in groups.items()
            for part in self._chunks(group, count)
        ]

    def nodes(self, key: Key, positions: Sequence[float]) -> list[Node]:
        """Nodes of an integral on the CPU."""
        (gradients, points) = self._nodes([(key, positions)])
        on_cpu = to_cpu(torch.cat(points), torch.cat(gradients))
        return [Node(at, *both) for at, *both in zip(positions, *(each.split(1) for each in on_cpu), strict=True)]

    def _nodes(self, wanted: Sequence[tuple[Key, Sequence[float]]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Of M integrals with equally many nodes each, node by node: the gradients (M,C,h,w) and the points."""
        rows = torch.tensor([[self.rows[key][position] for key, each in wanted for position in each]])
        rows = rows.view(len(wanted), -1, 2).permute(2, 1, 0).contiguous()
        gradients, points = to_device(rows, self._points.device)
        return [self._gradients.index_select(0, row) for row in gradients], [
            self._points.index_select(0, row) for row in points
        ]

    def _chunks(self, wanted: Sequence[T], count: int) -> Iterator[list[T]]:
        """Parts with so many nodes each, of which the tensors are not too large together."""
        at_once = max(_CHUNK // max(count * self._points[0].numel(), 1), 1)
        for start in range(0, len(wanted), at_once):
            yield list(wanted[start : start + at_once])


def _first_positions(rule: Bisection) -> list[float]:
    """The first round's: those that the rule starts from, and between them as many as it is sure to need."""
    if rule.steps is not None and rule.limit >= _FIRST_OF_MANY:
        return lattice(_FIRST_OF_MANY)
    return lattice(_FIRST if rule.limit >= _FIRST else min(START, rule.limit))
