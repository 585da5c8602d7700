"""Where along the path of weights gradients are taken, and with what weights."""

from __future__ import annotations

import pytest


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
