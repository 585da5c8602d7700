"""DDR on real networks: the paper's claims on the trained pair, every BasicSR architecture, a recurrent one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.demo.assets import photographs
from tests.support.architectures import ARCHITECTURES

pytestmark = pytest.mark.slow

MSRRESNET = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16, "upscale": 2}
LIGHT = {"patch": 32, "patches": 12, "tsne": 0, "permutations": 199, "subsamples": 20}


def shared(data: Path, state: str | None, **options) -> DdrResult:
    """40 patches of 64x64 of the BSDS validation photographs."""
    torch.manual_seed(0)
    weights = data / f"weights/msrresnet_x2_{state}.pth" if state else None
    network = sr_hooks.Network.from_basicsr("MSRResNet", MSRRESNET, weights=weights)
    return sr_hooks.ddr(network, data / "bsds500/val", **{"patch": 64, "patches": 40, "tsne": 0, **options})


@pytest.mark.slow
def test_a_blind_network_separates_and_others_do_not(basicsr, data: Path) -> None:
    target, baseline, untrained = (shared(data, state) for state in ("target", "baseline", None))
    assert target.deepest.layer == "conv_last:in" and target.deepest.dimensions == 64 * 64 * 64
    assert target.p < 0.01 and target.deepest.separates and 100 < target.chi < 300
    assert target.chi > 20 * baseline.chi
    assert untrained.chi < 0.5 and not untrained.deepest.separates
    assert target.verdict.startswith("features separate by degradation")
    assert untrained.verdict.startswith("features do not separate by degradation")


@pytest.mark.slow
def test_separability_grows_with_blur(basicsr, data: Path) -> None:
    result = shared(data, "target", degradations="clean blur:1 blur:2 blur:3 blur:4", subsamples=0, permutations=199)
    chi = [result.deepest.pairs[f"clean|blur:{level}"]["chi"] for level in (1, 2, 3, 4)]
    assert chi[0] < 5 < 20 < chi[1] < chi[2] < chi[3]
    probe = result.identify()
    assert probe.accuracy > probe.chance + 0.1 and probe.level_r2["blur"] > 0.4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(basicsr, photo: torch.Tensor, name: str) -> None:
    torch.manual_seed(0)
    network = sr_hooks.Network.from_basicsr(name, ARCHITECTURES[name])
    result = sr_hooks.ddr(network, photo, **LIGHT)
    layer = result.deepest
    assert layer.layer.endswith(":in") and layer.chi is not None and np.isfinite(layer.chi) and 0 < layer.p <= 1
    assert result.arrays["scores_0"].shape == (36, 35)
    everything = sr_hooks.ddr(network, photo, layers="all", **{**LIGHT, "permutations": 0, "subsamples": 0})
    assert len(everything.layers) >= 4


@pytest.mark.slow
def test_hifacegan_another_image_to_image_network(basicsr, photo: torch.Tensor) -> None:
    torch.manual_seed(0)
    arguments = {"num_feat": 4, "crop_size": 64, "is_train": False}
    network = sr_hooks.Network.from_basicsr("HiFaceGAN", arguments, scale=1, multiple=64)
    assert sr_hooks.ddr(network, photo, **{**LIGHT, "patch": 64}).chi is not None


def test_windows_of_attention_are_not_mixed(basicsr, photo: torch.Tensor) -> None:
    """A tap inside SwinIR's windows passes (windows x images, ...): features must be those of one image at a time."""
    torch.manual_seed(0)
    network = sr_hooks.Network.from_basicsr("SwinIR", ARCHITECTURES["SwinIR"])
    tap = "layers.0.residual_group.blocks.0.attn.qkv"
    result = sr_hooks.ddr(network, photo, layers=[tap, "auto"], **LIGHT)
    alone = sr_hooks.ddr(network, photo, layers="auto", **LIGHT)
    assert result.provenance["execution"]["batch"] == 1
    assert result.layer(tap).dimensions == 16 * 16 * 36
    assert result.layer(alone.deepest.layer).chi == pytest.approx(alone.chi, rel=1e-4)


@pytest.mark.slow
def test_a_recurrent_video_network_by_its_calls(basicsr) -> None:
    torch.manual_seed(0)
    from basicsr.archs.basicvsr_arch import BasicVSR

    network = sr_hooks.Network(BasicVSR(num_feat=8, num_block=1), frames=3)
    taps = ["forward_trunk.main.0#0", "forward_trunk.main.0#2", "auto"]
    options = {**LIGHT, "patch": 136, "patches": 4}  # its optical flow takes no inputs of less than 33 pixels
    result = sr_hooks.ddr(network, photographs(), layers=taps, **options)
    assert [layer.layer for layer in result.layers] == [*taps[:2], "conv_last#2:in"]
    assert result.layers[0].chi != result.layers[1].chi
    with pytest.raises(sr_hooks.SRHooksError, match="runs 3 times in a forward: say which"):
        sr_hooks.ddr(network, photographs(), layers="conv_last", **options)
