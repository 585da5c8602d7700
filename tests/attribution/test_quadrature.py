"""The rule that places nodes, what it looks ahead at, and the stated error of a fixed number of steps."""

from __future__ import annotations

import math

import numpy as np
import pytest

import sr_hooks
from sr_hooks.attribution.quadrature import Bisection, error_of_steps, intervals, lattice, left_out, positions_ahead


class Curve:
    """Evidence of which a term is the length of an interval times a weight that grows towards the end."""

    def term(self, start: float, end: float) -> float:
        return (end - start) ** 1.5 * (1 + 8 * ((start + end) / 2) ** 4)

    def size(self, positions) -> float:
        return 1.0


def sequence(rule: Bisection) -> list[list[float]]:
    rounds = []
    while requested := rule.request():
        rule.take(requested)
        rounds.append(requested)
    return rounds


@pytest.mark.parametrize("given", [{"steps": 2}, {"steps": 4}, {"steps": 21}, {"steps": None}], ids=str)
def test_a_rule_that_looks_ahead_finds_its_own_positions(given):
    """The terms of halves are here what the forecast takes them for, so that one look is enough."""
    rule, other = (Bisection(Curve(), tolerance=0.05, **given) for _ in range(2))
    sequence(other)
    first = lattice(min(5, rule.limit))
    rule.take(first)
    ahead = positions_ahead(rule, set(first), 1.0)
    assert len(ahead) == len(set(ahead)) and not set(ahead) & set(first)
    missed = set(other.positions) - set(first) - set(ahead)
    assert len(missed) <= len(other.positions) // 5
    more = positions_ahead(rule, set(first), 2.0)
    assert set(more) >= set(ahead) and (len(more) > len(ahead) or rule.limit <= 5)


def test_a_rule_among_known_positions_takes_no_others():
    known = set(lattice(9))
    rule = Bisection(Curve(), tolerance=1e-9)
    rule.take(lattice(5))
    while requested := rule.request(known):
        assert set(requested) <= known
        rule.take(requested)
    assert set(rule.positions) == known


def test_intervals_are_those_of_the_bisection():
    found = set(intervals({0, 0.25, 0.5, 0.75, 1, 0.125}, lattice(5)))
    assert found == {(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1), (0, 0.125), (0.125, 0.25)}


def test_each_half_keeps_the_ends():
    positions = tuple(i / 8 for i in range(9))
    one, other = left_out(positions)
    assert one == (0, 0.25, 0.5, 0.75, 1) and other == (0, 0.125, 0.375, 0.625, 0.875, 1)
    assert set(one) | set(other) == set(positions)


def test_an_integral_that_vanishes_has_no_error_or_an_infinite_one():
    assert error_of_steps((0.0, 0.0), 0.0) == 0 and math.isinf(error_of_steps((1.0, 0.0), 0.0))
    assert error_of_steps((3.0, 4.0), 10.0) == pytest.approx(0.22)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["baseline", "target"])
def test_a_fixed_number_of_steps_states_a_true_error(request, lr, name):
    """Against 257 gradients; `benchmarks/lam_calibration.py` has more cases."""
    network, image = request.getfixturevalue(name), lr[..., 8:56, 8:56]
    for window in ((88, 88, 16), (32, 128, 16)):
        exact = sr_hooks.lam(network, image, window=window, steps=257).attribution
        result = sr_hooks.lam(network, image, window=window, steps=21)
        true = np.linalg.norm(result.attribution - exact) / np.linalg.norm(exact)
        assert 0.4 < true / result.error < 1.6
        assert ("not converged" in result.verdict) == (result.error > 0.04)
