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


def features(network: sr_hooks.Network, hr: torch.Tensor, lr: torch.Tensor) -> sr_hooks.Result:
    result = sr_hooks.run("features", network, lr, layers=["auto", "all"], top=4, control=False)
    rows = result.scalars["layers"]
    assert all(result.arrays[f"maps_{i}"].shape == tuple(row["stored"]) for i, row in enumerate(rows))
    assert len(rows) >= 3 and all(row["nonfinite"] == 0 for row in rows)
    health = sr_hooks.run("health", network, lr)
    assert len(health.arrays["max"]) >= 3 and np.isfinite(health.arrays["max"]).all()
    return health


WITHOUT_ATTENTION = {"MSRResNet", "EDSR", "RRDBNet", "SRVGGNetCompact", "ECBSR"}
KINDS = {"SwinIR": {"window"}, "HAT": {"window", "channel"}, "RCAN": {"channel"}, "RIDNet": {"channel"}}


def attention(network: sr_hooks.Network, hr: torch.Tensor, lr: torch.Tensor) -> sr_hooks.Result | None:
    if type(network.module).__name__ in WITHOUT_ATTENTION:
        for analysis, image in (("attention-map", lr), ("attention", hr)):
            with pytest.raises(sr_hooks.SRHooksError, match="has no attention"):
                sr_hooks.run(analysis, network, image)
        return None
    worth = sr_hooks.run("attention", network, hr, size=35)
    assert worth.scalars["sites"] == len(worth.scalars["table"]) > 0
    result = sr_hooks.run("attention-map", network, lr, query=(20, 29), layers="all", check="gradient")
    for index, row in enumerate(result.scalars["layers"]):
        if row["shows"] == "pixels":
            weights = result.arrays[f"weights_{index}"]
            assert weights.shape == lr.shape[-2:] and weights.sum() + row["outside"] == pytest.approx(1, abs=1e-4)
        else:
            assert row["shows"] == "channels" and result.arrays[f"channels_{index}"].size > 1
    assert {row["kind"] for row in result.scalars["layers"]} == KINDS[type(network.module).__name__]
    return result


ANALYSES: dict[str, Callable[[sr_hooks.Network, torch.Tensor, torch.Tensor], sr_hooks.Result | None]] = {
    function.__name__: function for function in (cam, regions, similarity, spectra, features, attention)
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
    result = ANALYSES[analysis](network, *pair_for(network))
    assert result is None or result.figure() is not None
