"""The analysis on the image networks of BasicSR and on HAT, at sizes that are no multiple of a window."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.demo import photographs
from sr_hooks.images import downsample, read_image
from sr_hooks.networks import import_basicsr
from tests.support.architectures import ARCHITECTURES


def look(network: sr_hooks.Network) -> None:
    scale = int(network.scale)
    hr = read_image(photographs()[1])[..., 40 : 40 + 35 * scale, 60 : 60 + 41 * scale]
    lr = downsample(hr, scale)
    assert lr.shape[-2:] == (35, 41)
    result = sr_hooks.run("similarity", network, lr, layers="all", patch=8, patches=16, halves=10)
    assert np.nanmax(np.abs(np.diag(result.arrays["similarity"]) - 1)) < 1e-6
    assert result.arrays["excess"].shape == (len(result.scalars["layers"]),) * 2
    assert result.figure() is not None


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_basicsrs_networks(name):
    torch.set_num_threads(1)
    try:
        import_basicsr()
    except sr_hooks.SRHooksError as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    look(sr_hooks.Network.from_basicsr(name, ARCHITECTURES[name]))


def test_hat():
    pytest.importorskip("spandrel", reason="spandrel is not installed")
    from spandrel.architectures.HAT import HAT

    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = HAT(
        img_size=16, embed_dim=12, depths=[1], num_heads=[2], window_size=8, compress_ratio=3, squeeze_factor=4,
        overlap_ratio=0.5, mlp_ratio=2, upscale=2, upsampler="pixelshuffle",
    )  # fmt: skip
    look(sr_hooks.Network(module.eval(), scale=2, channels=3))
