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
    result = sr_hooks.run("similarity", network, lr, layers="all", patch=8, patches=16, halves=10)
    assert np.nanmax(np.abs(np.diag(result.arrays["similarity"]) - 1)) < 1e-6
    assert result.arrays["excess"].shape == (len(result.scalars["layers"]),) * 2
    assert result.figure() is not None
