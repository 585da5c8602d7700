"""FSRCNN and CARN, whose definitions are in files of their own: loaded and explained like all others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.demo import photographs
from sr_hooks.images import downsample, read_image
from tests.conftest import REPOSITORY

NETWORKS: dict[str, dict[str, Any]] = {
    "fsrcnn.py:FSRCNN": {"channels": 3, "d": 16, "s": 8, "m": 2, "upscale": 3},
    "carn.py:CARN": {"features": 16, "upscale": 4},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_explained_like_the_others(name, tmp_path):
    source = f"{REPOSITORY / 'tests/support/zoo'}/{name}"
    trained = sr_hooks.Network.from_import(source, NETWORKS[name])
    before = sr_hooks.Network.from_import(source, NETWORKS[name])
    with torch.no_grad():
        for parameter in trained.module.parameters():
            parameter.mul_(1.1)
        torch.save(trained.module.state_dict(), tmp_path / "weights.pth")
    network = sr_hooks.Network.from_import(source, NETWORKS[name], weights=tmp_path / "weights.pth")
    assert network.scale == NETWORKS[name]["upscale"] and network.channels == 3
    side = 48 * int(network.scale)
    hr = read_image(photographs()[0])[..., 40 : 40 + side, 60 : 60 + side]
    lr = downsample(hr, network.scale)
    with torch.no_grad():
        assert torch.equal(network(lr), trained(lr))

    with_cone, without = (sr_hooks.lam(network, lr, window=(60, 50, 16), cone=cone) for cone in ("auto", "off"))
    assert with_cone.scalars["cone"] != without.scalars["cone"], "else the two maps are one"
    largest = np.abs(without.attribution).max()
    np.testing.assert_allclose(with_cone.attribution, without.attribution, atol=1e-4 * largest)
    gap = abs(float(without.attribution.sum()) - without.scalars["objective_change"])
    assert gap < 0.03 * np.abs(without.attribution).sum()

    features = sr_hooks.ddr(network, hr, degradations=["clean", "blur:2"], patch=16, patches=6, permutations=19, tsne=0)
    assert all(np.isfinite(row["chi"]) for row in features.scalars["layers"])
    filters = sr_hooks.faig(before, network, images=hr, degradations=["blur:2"], steps=5)
    assert filters.scalars["completeness_gap"] < 0.1 and np.abs(filters.arrays["scores"]).max() > 0
