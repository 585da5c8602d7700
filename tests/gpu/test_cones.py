"""Only what a window depends on is computed, on the device too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sr_hooks

ARCHITECTURES = {
    "MSRResNet": ({"upscale": 4}, {"num_feat": 16, "num_block": 3}),
    "EDSR": ({"num_in_ch": 3, "num_out_ch": 3, "upscale": 4}, {"num_feat": 16, "num_block": 3}),
    "RRDBNet": ({"num_in_ch": 3, "num_out_ch": 3, "scale": 4}, {"num_feat": 16, "num_block": 2, "num_grow_ch": 8}),
}


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_the_cone_is_proved(device, basicsr, name):
    """At LR 128x128 with the published sizes on a card; smaller networks on the CPU."""
    arguments, small = ARCHITECTURES[name]
    torch.manual_seed(0)
    network = sr_hooks.Network.from_basicsr(
        name, {**arguments, **(small if device.type == "cpu" else {})}, device=device
    )
    side = 48 if device.type == "cpu" else 128
    lr = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    window = (2 * side, 2 * side, 16)
    on = sr_hooks.lam(network, lr, window=window, steps=5)
    assert isinstance(on.scalars["cone"], dict), on.scalars["cone"]
    off = sr_hooks.lam(network, lr, window=window, steps=5, cone="off")
    assert np.linalg.norm(on.attribution - off.attribution) < 1e-3 * np.linalg.norm(off.attribution)
