"""The padding multiple of networks with windows and stages is the true one."""

from __future__ import annotations

import argparse
import importlib
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks import Network
from sr_hooks.cli.networks import add_network_flags, load_network

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


def _padded_by_hand(network: Network, x: torch.Tensor, multiple: int, window: tuple[int, int, int]) -> torch.Tensor:
    """The gradient's integral of a LAM on an image that is mirrored to a multiple outside of the network."""
    rows, columns = -x.shape[-2] % multiple, -x.shape[-1] % multiple

    class Padding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = network.module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            height, width = network.output_size(*x.shape[-2:])
            return self.inside(F.pad(x, (0, columns, 0, rows), mode="reflect"))[..., :height, :width]

    by_hand = Network(Padding(), scale=network.scale, multiple=1, channels=network.channels)
    return sr_hooks.lam(by_hand, x, window=window, steps=3, cone="off").attribution


def _spandrel(name: str, **arguments) -> nn.Module:
    """A class of spandrel, or of its extra architectures."""
    for package in ("spandrel", "spandrel_extra_arches"):
        pytest.importorskip(package, reason=f"{package} is not installed here")
        try:
            file = importlib.import_module(f"{package}.architectures.{name}")
        except ModuleNotFoundError:
            continue
        torch.manual_seed(3)
        return getattr(file, name)(**arguments)
    raise AssertionError(name)


def _windowed(name: str, window: int) -> nn.Module:
    swin = {"img_size": 2 * window, "embed_dim": 12, "window_size": window, "upscale": 2, "depths": [1]}
    swin |= {"num_heads": [2]}
    split = {"img_size": 2 * window, "embed_dim": 24, "upscale": 2, "depth": [2], "num_heads": [2]}
    if name == "HAT":
        overlap = {7: 4 / 7, 10: 0.4}.get(window, 0.5)  # its overlapping windows need one that fits
        more = {"compress_ratio": 3, "squeeze_factor": 6, "num_feat": 16, "resi_connection": "1conv", "mlp_ratio": 2}
        return _spandrel(name, **swin, **more, overlap_ratio=overlap)
    if name == "ATD":
        tokens = {"category_size": 32, "num_tokens": 8, "reducted_dim": 4, "convffn_kernel_size": 5}
        return _spandrel(name, **swin, **tokens, upsampler="pixelshuffledirect")
    if name == "DAT":
        more = {"split_size": [4, window], "upsampler": "pixelshuffledirect"}
        return _spandrel(name, **split, **more, expansion_factor=2.0)
    if name == "RGT":
        return _spandrel(name, **split, split_size=[4, window], mlp_ratio=2)
    if name == "OmniSR":
        return _spandrel(name, num_feat=16, window_size=window, up_scale=2, res_num=1, block_num=1)
    return _spandrel(name, **swin, mlp_ratio=2, upsampler="pixelshuffle")


HANDED = [("SwinIR", 7), ("SwinIR", 10), ("HAT", 5), ("HAT", 7), ("HAT", 9), ("HAT", 10), ("HAT", 12)]
HANDED += [("DAT", 5), ("DAT", 7), ("DAT", 9), ("DAT", 10), ("DAT", 12), ("SRFormer", 10), ("SRFormer", 12)]
HANDED += [("ATD", 7), ("ATD", 10), ("OmniSR", 8), ("OmniSR", 9), ("RGT", 8)]


@pytest.mark.parametrize(("name", "window"), HANDED)
def test_odd_sizes_are_padded_as_by_hand_or_not_at_all(name: str, window: int) -> None:
    """The network answers for an odd size as it does itself; where it takes no such size, as mirrored by hand."""
    network = Network(_windowed(name, window).eval())
    x = torch.rand(1, 3, 43, 37, generator=torch.Generator().manual_seed(0))
    takes_any = name != "DAT" or window % 4 == 0
    assert network.multiple in ((1, window) if takes_any else (math.lcm(4, window),))
    for height, width in ((43, 37), (33, 29), (31, 35), (23, 36)):
        part = x[..., :height, :width]
        with torch.no_grad():
            ours = network(part)
            assert ours.shape[-2:] == (2 * height, 2 * width)
            assert not takes_any or torch.equal(ours, network.module(part)), "what the network does by itself"
    hand = _padded_by_hand(network, x, network.multiple, (30, 30, 8))
    result = sr_hooks.lam(network, x, window=(30, 30, 8), steps=3, cone="off")
    assert np.abs(result.attribution - hand).max() <= 1e-5 * np.abs(hand).max()


def test_stages_of_restormer_and_nafnet(small_lr: torch.Tensor) -> None:
    restormer = Network(_spandrel("Restormer", dim=8, num_blocks=[1] * 4, num_refinement_blocks=1, heads=[1] * 4))
    assert (restormer.multiple, restormer.scale) == (8, 1)
    odd = small_lr[..., :21, :19]
    hand = _padded_by_hand(restormer, odd, 8, (4, 4, 8))
    result = sr_hooks.lam(restormer, odd, window=(4, 4, 8), steps=3, cone="off")
    assert np.abs(result.attribution - hand).max() <= 1e-5 * np.abs(hand).max()
    for stages in (1, 2, 3, 4):
        nafnet = _spandrel("NAFNet", width=4, middle_blk_num=1, enc_blk_nums=[1] * stages, dec_blk_nums=[1] * stages)
        assert Network(nafnet).multiple == 1, "it pads by itself"
        nafnet.check_image_size = lambda x: x  # as copies of it do that leave the padding to the caller
        assert Network(nafnet).multiple == 2**stages


class Unstated(Windowed):
    """Takes a window by keyword and states it nowhere."""

    def __init__(self, window_size: int = 8, config: dict | None = None) -> None:
        super().__init__((config or {}).get("window_size", window_size))


@pytest.mark.parametrize("window", [40, 56, 72])
def test_arguments_state_the_window(window: int, tmp_path) -> None:
    target = f"{__file__}:Unstated"
    for arguments in ({"window_size": window}, {"config": {"window_size": window}}):
        network = Network.from_import(target, arguments)
        assert (network.multiple, network.minimum, network.square) == (window, 1, False)
    parser = argparse.ArgumentParser()
    add_network_flags(parser, positional=True)
    flags = parser.parse_args([target, "--arguments", f"{{window_size: {window}}}", "--device", "cpu"])
    assert load_network(flags).multiple == window


def test_an_option_file_states_the_window(basicsr, tmp_path) -> None:
    from basicsr.utils.registry import ARCH_REGISTRY

    if "UnstatedWindow" not in ARCH_REGISTRY:
        ARCH_REGISTRY._do_register("UnstatedWindow", Unstated)
    (tmp_path / "option.yml").write_text("network_g: {type: UnstatedWindow, window_size: 44}\n")
    network = Network.from_basicsr(tmp_path / "option.yml")
    assert (network.multiple, network.square) == (44, False)


def test_a_checkpoint_file_of_two_windows(tmp_path) -> None:
    """spandrel says that DAT takes any size; with windows of 4 and 10 it does not."""
    module = _windowed("DAT", 10)
    torch.save(module.state_dict(), tmp_path / "dat.pth")
    network = Network.from_file(tmp_path / "dat.pth")
    assert network.multiple == 20
    with torch.no_grad():
        assert network(torch.rand(1, 3, 23, 27)).shape[-2:] == (46, 54)
