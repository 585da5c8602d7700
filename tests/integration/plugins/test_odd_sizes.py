"""Installed plugins on the image networks of BasicSR and on HAT, at sizes that are no multiple of a window."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
import torch

import sr_hooks
from tests.support.odd_sizes import NAMES, network_of, pair_for

pytestmark = pytest.mark.slow


def cam(network: sr_hooks.Network, hr: torch.Tensor, lr: torch.Tensor) -> sr_hooks.Result:
    result = sr_hooks.run("cam", network, lr, window=(4, 4, 8))
    assert np.isfinite(result.arrays["map_0"]).all() and 0 <= result.scalars["share_in_window"] <= 1
    return result


def regions(network: sr_hooks.Network, hr: torch.Tensor, lr: torch.Tensor) -> sr_hooks.Result:
    result = sr_hooks.run("regions", network, hr, draws=9)
    rows = result.scalars["regions"].values()
    total = sum(row["area"] * row["squared_error"] for row in rows)
    assert total == pytest.approx(result.scalars["squared_error"], rel=1e-6)
    return result


def similarity(network: sr_hooks.Network, hr: torch.Tensor, lr: torch.Tensor) -> sr_hooks.Result:
    result = sr_hooks.run("similarity", network, lr, layers="all", patch=8, patches=16, halves=10)
    assert np.nanmax(np.abs(np.diag(result.arrays["similarity"]) - 1)) < 1e-6
    assert result.arrays["excess"].shape == (len(result.scalars["layers"]),) * 2
    return result


def spectra(network: sr_hooks.Network, hr: torch.Tensor, lr: torch.Tensor) -> sr_hooks.Result:
    result = sr_hooks.run("spectra", network, hr, layers="all", response=7)
    assert len(result.arrays["log_power"]) >= 1 and np.isfinite(result.scalars["fsds"])
    assert all(row["high_share"] is None or 0 <= row["high_share"] <= 1 for row in result.scalars["layers"])
    return result


ANALYSES: dict[str, Callable[[sr_hooks.Network, torch.Tensor, torch.Tensor], sr_hooks.Result]] = {
    function.__name__: function for function in (cam, regions, similarity, spectra)
}


@pytest.mark.parametrize("analysis", ANALYSES)
@pytest.mark.parametrize("name", NAMES)
def test_networks_at_odd_sizes(name: str, analysis: str) -> None:
    package = f"sr-hooks-{analysis}"
    try:
        distribution(package)
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed: pip install ./plugins/{package}")
    network = network_of(name)
    assert ANALYSES[analysis](network, *pair_for(network)).figure() is not None
