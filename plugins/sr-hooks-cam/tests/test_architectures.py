"""The analysis on the image networks of BasicSR and on HAT, at sizes that are no multiple of a window."""

from __future__ import annotations

import numpy as np
import pytest

import sr_hooks
from tests.support.odd_sizes import NAMES, network_of, pair_for


@pytest.mark.parametrize("name", NAMES)
def test_networks_at_odd_sizes(name):
    network = network_of(name)
    _, lr = pair_for(network)
    result = sr_hooks.run("cam", network, lr, window=(4, 4, 8))
    assert np.isfinite(result.arrays["map_0"]).all() and 0 <= result.scalars["share_in_window"] <= 1
    assert result.figure() is not None
