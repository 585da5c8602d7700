"""The analysis on the image networks of BasicSR and on HAT, at sizes that are no multiple of a window."""

from __future__ import annotations

import numpy as np
import pytest

import sr_hooks
from tests.support.odd_sizes import NAMES, network_of, pair_for


@pytest.mark.parametrize("name", NAMES)
def test_networks_at_odd_sizes(name):
    network = network_of(name)
    hr, _ = pair_for(network)
    result = sr_hooks.run("spectra", network, hr, layers="all", response=7)
    assert len(result.arrays["log_power"]) >= 1 and np.isfinite(result.scalars["fsds"])
    assert all(row["high_share"] is None or 0 <= row["high_share"] <= 1 for row in result.scalars["layers"])
    assert result.figure() is not None
