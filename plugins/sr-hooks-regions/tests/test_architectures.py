"""The analysis on the image networks of BasicSR and on HAT, at sizes that are no multiple of a window."""

from __future__ import annotations

import pytest

import sr_hooks
from tests.support.odd_sizes import NAMES, network_of, pair_for


@pytest.mark.parametrize("name", NAMES)
def test_networks_at_odd_sizes(name):
    network = network_of(name)
    hr, _ = pair_for(network)
    result = sr_hooks.run("regions", network, hr, draws=9)
    rows = result.scalars["regions"].values()
    total = sum(row["area"] * row["squared_error"] for row in rows)
    assert total == pytest.approx(result.scalars["squared_error"], rel=1e-6)
    assert result.figure() is not None
