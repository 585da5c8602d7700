"""Small networks of BasicSR and HAT, and an input whose sides are no multiple of a window."""

from __future__ import annotations

import pytest
import torch

import sr_hooks
from sr_hooks.demo import photographs
from sr_hooks.images import downsample, read_image
from sr_hooks.networks import import_basicsr
from tests.support.architectures import ARCHITECTURES

NAMES = [*ARCHITECTURES, "HAT"]


def network_of(name: str) -> sr_hooks.Network:
    """A network with random weights; the test is skipped with a reason where its package is absent."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if name != "HAT":
        try:
            import_basicsr()
        except sr_hooks.SRHooksError as error:
            pytest.skip(str(error))
        return sr_hooks.Network.from_basicsr(name, ARCHITECTURES[name])
    pytest.importorskip("spandrel", reason="spandrel is not installed")
    from spandrel.architectures.HAT import HAT

    module = HAT(
        img_size=16, embed_dim=12, depths=[1], num_heads=[2], window_size=8, compress_ratio=3, squeeze_factor=4,
        overlap_ratio=0.5, mlp_ratio=2, upscale=2, upsampler="pixelshuffle",
    )  # fmt: skip
    return sr_hooks.Network(module.eval(), scale=2, channels=3)


def pair_for(network: sr_hooks.Network) -> tuple[torch.Tensor, torch.Tensor]:
    """Ground truth, and its input of 35x41 pixels."""
    scale = int(network.scale)
    hr = read_image(photographs()[1])[..., 40 : 40 + 35 * scale, 60 : 60 + 41 * scale]
    lr = downsample(hr, scale)
    assert lr.shape[-2:] == (35, 41)
    return hr, lr
