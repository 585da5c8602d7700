"""The padding multiple of networks with windows and stages is the true one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks import Network

pytestmark = pytest.mark.slow

SWINIR = {"upscale": 2, "depths": [2], "embed_dim": 12, "num_heads": [2], "mlp_ratio": 2, "upsampler": "pixelshuffle"}


class Windowed(nn.Module):
    """Attention in windows that no attribute states, after stages that halve the sides."""

    def __init__(self, window: int | tuple[int, int], stages: int = 0) -> None:
        super().__init__()
        self.inside = nn.Conv2d(3, 3, 1)
        self._sides = window if isinstance(window, tuple) else (window, window)
        self._stages = stages

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for _ in range(self._stages):
            assert y.shape[-1] % 2 == 0 and y.shape[-2] % 2 == 0
            y = F.avg_pool2d(y, 2)
        n, c, h, w = y.shape
        rows, columns = self._sides
        windows = y.view(n, c, h // rows, rows, w // columns, columns)
        y = (y + windows.mean((3, 5), keepdim=True).expand_as(windows).reshape(y.shape)) / 2
        return F.interpolate(self.inside(y), size=x.shape[-2:], mode="nearest")


class Stating(Windowed):
    """A part states the window, the network does not."""

    def __init__(self, window: int) -> None:
        super().__init__(window)
        self.part = nn.Identity()
        self.part.window_size = (window, window)


@pytest.mark.parametrize("window", [5, 7, 8, 9, 10, 12])
def test_swinir_of_basicsr_with_any_window(window: int, basicsr, small_lr: torch.Tensor, tmp_path) -> None:
    arguments = {**SWINIR, "window_size": window, "img_size": 2 * window}
    network = Network.from_basicsr("SwinIR", arguments)
    assert (network.multiple, network.minimum, network.square) == (window, 1, False)
    result = sr_hooks.lam(network, small_lr, window=(10, 10, 8), steps=3)
    assert result.attribution.shape[-2:] == small_lr.shape[-2:]
    options = tmp_path / "option.yml"
    described = "\n".join(f"  {name}: {value}" for name, value in {"type": "SwinIR", **arguments}.items())
    options.write_text(f"network_g:\n{described}\n")
    assert Network.from_basicsr(options).multiple == window


@pytest.mark.parametrize("window", [3, 6, 7, 11, 13, 14, 15, 18, 20, 24, 28, 30])
def test_a_window_that_nothing_states(window: int) -> None:
    network = Network(Windowed(window))
    assert (network.multiple, network.square) == (window, False)


@pytest.mark.parametrize("window", [36, 40, 48, 96])
def test_a_large_window_that_a_part_states(window: int) -> None:
    assert Network(Stating(window)).multiple == window


@pytest.mark.parametrize(("window", "stages"), [(4, 1), (7, 2), (8, 3), (1, 3), (3, 3)])
def test_stages_between_windows(window: int, stages: int) -> None:
    assert Network(Windowed(window, stages)).multiple == window * 2**stages


@pytest.mark.parametrize("sides", [(4, 7), (2, 3), (8, 6)])
def test_windows_that_are_no_squares(sides: tuple[int, int]) -> None:
    assert Network(Windowed(sides)).multiple == math.lcm(*sides)


@pytest.mark.parametrize("window", [5, 7, 9])
def test_hat_dat_and_others_of_spandrel(window: int) -> None:
    pytest.importorskip("spandrel")
    from spandrel.architectures.DAT import DAT
    from spandrel.architectures.DRCT import DRCT
    from spandrel.architectures.HAT import HAT
    from spandrel.architectures.NAFNet import NAFNet

    swin = {"img_size": 2 * window, "embed_dim": 12, "window_size": window, "upscale": 2}
    networks = [DRCT(**{**swin, "embed_dim": 24}, depths=(2,), num_heads=(2,), upsampler="pixelshuffle", gc=8)]
    if window % 4 == 1:  # its overlapping windows need such a one
        more = {"compress_ratio": 3, "squeeze_factor": 6, "num_feat": 16, "resi_connection": "1conv", "mlp_ratio": 2}
        networks.append(HAT(**swin, **more, depths=(2,), num_heads=(2,)))
    for network in networks:
        assert Network(network).multiple == window
    split = {"split_size": [4, window], "depth": [2], "num_heads": [2], "upsampler": "pixelshuffledirect"}
    dat = Network(DAT(img_size=2 * window, embed_dim=24, expansion_factor=2.0, upscale=2, **split))
    assert dat.multiple == 4 * window, "it pads to the larger side of its windows alone"
    assert Network(NAFNet(width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])).multiple == 1
