"""Panels: nodes where they are needed, an extrapolated sum, and an error that is not understated."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from sr_hooks.attribution.secants.panels import SOON, Panels


def run(attribution, tolerance, bend, turned=0.0):
    """Panels until they are done, of which the intervals' attributions are a function of both ends."""
    panels = Panels(tolerance, bend)
    panels.take((0.0, 1.0), attribution(0.0, 1.0), turned)
    panels.nodes.add(0.5)
    while wanted := panels.request():
        for midpoint in wanted:
            start, end = midpoint.ends
            panels.take((start, midpoint.position), attribution(start, midpoint.position), turned)
            panels.take((midpoint.position, end), attribution(midpoint.position, end), turned)
        panels.settle()
    return panels


def product_of(f, g):
    """Secants of f(t) g(t), divided between the factors: each one's change times the mean of the other.

    The error is of second order: what these panels are made for.
    """

    def attribution(a, b):
        middle = (f(a) + f(b)) / 2 * (g(b) - g(a)), (g(a) + g(b)) / 2 * (f(b) - f(a))
        return torch.tensor(middle, dtype=torch.float64)

    return attribution


def exact(f, g, pieces=4096):
    total = torch.zeros(2, dtype=torch.float64)
    for i in range(pieces):
        total += product_of(f, g)(i / pieces, (i + 1) / pieces)
    return total


SMOOTH = (lambda t: math.sin(2 * t) + 2, lambda t: math.exp(t))
GENTLE = (lambda t: math.sin(t) + 2, lambda t: math.exp(t))
SHARP = (lambda t: 1 / (1 + math.exp(-60 * (t - 0.8))), lambda t: math.exp(-3 * t) + 1)


def test_a_smooth_path_takes_five_nodes():
    panels = run(product_of(*GENTLE), 0.04, bend=0.05)
    assert panels.nodes == {0.0, 0.25, 0.5, 0.75, 1.0} and panels.work == 5
    true = float((panels.total - exact(*GENTLE)).norm() / exact(*GENTLE).norm())
    assert true <= panels.error <= 0.04 and true < 1e-3


def test_where_rectifiers_turn_the_quarters_say_less():
    few, many = (run(product_of(*SMOOTH), 0.1, bend=0.05, turned=turned) for turned in (0.2, 0.6))
    assert few.work == many.work == 5 and many.error == pytest.approx(2.25 * few.error)


def test_a_path_that_bends_is_halved_at_least_to_two_panels():
    panels = run(product_of(*SMOOTH), 0.04, bend=0.5)
    assert panels.work == 6.5 and panels.error <= 0.04  # 5 nodes and one of them again, 7 backwards


@pytest.mark.parametrize("tolerance", [0.1, 0.04, 0.01, 0.001])
def test_a_sharp_turn_is_found_and_the_error_is_true(tolerance):
    panels = run(product_of(*SHARP), tolerance, bend=2.0)
    reference = exact(*SHARP)
    true = float((panels.total - reference).norm() / reference.norm())
    assert true <= panels.error <= tolerance


def test_nodes_lie_denser_where_the_turn_is():
    panels = run(product_of(*SHARP), 0.001, bend=2.0)
    gaps = {end: end - start for start, end in pairwise(sorted(panels.nodes))}
    near, far = ([gap for end, gap in gaps.items() if low < end <= high] for low, high in ((0.7, 0.9), (0.0, 0.5)))
    assert max(near) <= min(far) / 2


def test_sums_are_the_objectives_change():
    panels = run(product_of(*SHARP), 0.01, bend=2.0)
    f, g = SHARP
    assert float(panels.total.sum()) == pytest.approx(f(1) * g(1) - f(0) * g(0), abs=1e-12)


def test_of_a_straight_line_more_is_left():
    curve, line = run(product_of(*SHARP), 0.04, bend=2.0), run(product_of(*SHARP), 0.04, bend=2.0)
    line.line = True
    assert line.error > curve.error


@pytest.mark.parametrize("short", [True, False])
def test_a_jump_right_after_the_start_is_noticed(short):
    """Of an interval so short that no quarter tells of it."""
    steep = (lambda t: math.exp(-400 * t) + 2, lambda t: math.exp(t)) if short else GENTLE
    panels = run(product_of(*steep), 0.04, bend=0.05)
    assert not panels.jumps  # nobody looked
    panels.take((0.0, SOON), product_of(*steep)(0.0, SOON), 0.0)
    assert panels.jumps is short


def test_work_ends():
    generator = torch.Generator().manual_seed(0)
    panels = run(lambda a, b: torch.randn(4, generator=generator, dtype=torch.float64), 1e-6, bend=2.0)
    assert 59 < panels.work <= 65 and panels.error > 1e-6  # as `steps` promises: at most 65


def test_a_map_of_zeros_is_without_error():
    panels = run(lambda a, b: torch.zeros(4, dtype=torch.float64), 0.04, bend=math.inf)
    assert panels.error == 0 and float(panels.total.abs().sum()) == 0
