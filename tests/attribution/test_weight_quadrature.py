"""Where along the path of weights gradients are taken, and with what weights."""

from __future__ import annotations

import pytest
import torch


def test_levels_are_nested_and_their_weights_sum_up():
    from sr_hooks.attribution.weight_quadrature import levels, nodes

    plan = levels(None)
    assert [level.count for level in plan] == [5, 10, 20, 40, 80]
    seen: dict[float, float] = {}
    for level in plan:
        assert not set(dict(level.new)) & set(seen), "no node twice"
        seen |= dict(level.new)
        rule = dict(nodes(level.count))
        assert rule == seen, "one running sum serves every level"
    assert min(seen) == 0 and max(seen) < 1
    assert [level.count for level in levels(24)] == [6, 12, 24] and [level.count for level in levels(7)] == [7]
    # The integral of t^2 is 1/3.
    total = sum(seen.values())
    assert sum(w * t * t for t, w in seen.items()) / total == pytest.approx(1 / 3, rel=1e-3)


def scores(error: float, change: float, way: int) -> list[tuple[int, torch.Tensor]]:
    """Scores of one degradation, of norm 1, that change by `change` from 5 to 10 nodes and by `error` to 20."""
    truth, axis = torch.zeros(1, 12), torch.zeros(1, 12)
    truth[0, 0], axis[0, way] = 1.0, 1.0
    return [(5, truth + (error + change) * axis), (10, truth + error * axis), (20, truth)]


def test_an_image_that_changes_little_is_not_taken_for_the_better():
    """Its error is judged by what was left of other images' scores too, not by its own small change alone."""
    from sr_hooks.attribution.weight_quadrature import Settling

    settling = Settling(tolerance=1.0, images=3)
    for way in (1, 2):
        settling.take(scores(0.02, 0.1, way))
    before = settling.error
    settling.take(scores(0.02, 0.01, 3)[:2])
    of_the_third = (settling.error * 3) ** 2 - (before * 2) ** 2
    assert before > 0 and of_the_third >= 0.02**2, "its own change shows a tenth of that"
