"""Every image super-resolution architecture of the real BasicSR gives a finite map with a small gap."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sr_hooks
from tests.support.architectures import ARCHITECTURES


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_lam(basicsr, small_lr, name):
    network = sr_hooks.Network.from_basicsr(name, ARCHITECTURES[name])
    scale = ARCHITECTURES[name].get("upscale", ARCHITECTURES[name].get("scale", 1))
    result = sr_hooks.lam(network, small_lr, window=(8, 8, 8))
    assert network.scale == scale and network.channels == 3
    assert result.attribution.shape == (3, 24, 24) and np.isfinite(result.attribution).all() and result.map.max() > 0
    assert result.completeness_gap < 0.02 and result.error <= 0.04 and result.nonfinite == 0
    assert result.verdict.startswith("sound")


@pytest.mark.parametrize("size", [(21, 27), (9, 30)])
def test_swinir_at_sizes_that_its_window_does_not_divide(basicsr, lr, size):
    network = sr_hooks.Network.from_basicsr("SwinIR", ARCHITECTURES["SwinIR"])
    result = sr_hooks.lam(network, lr[..., : size[0], : size[1]], window=(2, 2, 8), steps=5)
    assert network.multiple == 8 and result.map.shape == size and np.isfinite(result.attribution).all()


def test_real_esrgan_x2_needs_even_sizes(basicsr, lr):
    network = sr_hooks.Network.from_basicsr("RRDBNet", {**ARCHITECTURES["RRDBNet"], "scale": 2})
    result = sr_hooks.lam(network, lr[..., :21, :19], window=(2, 2, 8), steps=3)
    assert network.multiple == 2 and network.scale == 2 and result.map.shape == (21, 19)


def test_option_file(basicsr, tmp_path, small_lr):
    network = sr_hooks.Network.from_basicsr("MSRResNet", ARCHITECTURES["MSRResNet"])
    torch.save({"params": network.module.state_dict()}, tmp_path / "net.pth")
    (tmp_path / "train.yml").write_text(
        "network_g:\n  type: MSRResNet\n  num_feat: 16\n  num_block: 2\n  upscale: 4\n"
        "path:\n  pretrain_network_g: net.pth\n  param_key_g: params\n"
    )
    again = sr_hooks.Network.from_basicsr(tmp_path / "train.yml")
    assert again.sha256() == network.sha256() and again.weights.key == "params"
    (tmp_path / "bad.yml").write_text("network_d: {}")
    with pytest.raises(sr_hooks.SRHooksError, match="no network_g"):
        sr_hooks.Network.from_basicsr(tmp_path / "bad.yml")
    with pytest.raises(sr_hooks.SRHooksError, match="did you mean MSRResNet"):
        sr_hooks.Network.from_basicsr("MSRResnet")


def test_community_checkpoint_by_spandrel(data):
    pytest.importorskip("spandrel", reason="spandrel is not installed")
    network = sr_hooks.Network.from_file(data / "weights/dncnn_color_blind.pth")
    assert network.scale == 1 and network.channels == 3
    image = sr_hooks.images.read_image(data / "set5/LRbicx4/head.png")
    result = sr_hooks.lam(network, image[..., :32, :32], window=(8, 8, 8))
    assert result.verdict.startswith("sound") and "dncnn_color_blind" in network.name


def test_spandrel_reads_the_shared_msrresnet_or_says_what_to_do(data, basicsr):
    path = data / "weights/msrresnet_x2_target.pth"
    named = sr_hooks.Network.from_basicsr("MSRResNet", {"upscale": 2}, weights=path)
    assert named.weights.key == "params_ema"
    try:
        found = sr_hooks.Network.from_file(path)
    except sr_hooks.SRHooksError as error:
        assert "Name the architecture" in str(error)
    else:
        assert found.scale == 2
