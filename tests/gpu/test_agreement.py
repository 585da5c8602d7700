"""The device's answers are the CPU's, and those of the published procedures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.demo.assets import demo_network

WINDOW = (84, 64, 32)
DEGRADATIONS = ("blur:4", "noise:25.5")


def relative(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.fixture(scope="module")
def on_cpu() -> tuple[sr_hooks.Network, sr_hooks.Network]:
    return demo_network("baseline"), demo_network("target")


@pytest.mark.parametrize("cone", ["auto", "off"])
def test_lam_agrees_with_the_cpu(pair, on_cpu, lr, cone):
    """A fixed number of gradients; the network that does not undo the blur, whose map rounding does not move."""
    here = sr_hooks.lam(pair[0], lr, window=WINDOW, steps=17, cone=cone)
    there = sr_hooks.lam(on_cpu[0], lr, window=WINDOW, steps=17, cone=cone)
    assert relative(here.attribution, there.attribution) < 1e-3
    assert abs(here.diffusion_index - there.diffusion_index) < 0.02
    assert here.verdict.split(":")[0] == there.verdict.split(":")[0]
    assert here.provenance["device"] == str(pair[0].device)


def test_lam_of_several_images_and_windows_agrees_with_one_by_one(pair, lr):
    images = torch.cat([lr, lr.flip(-1), lr.flip(-2)])
    windows = [WINDOW, (20, 120, 16)]
    together = sr_hooks.lam(pair[0], images, window=windows, steps=9)
    alone = [sr_hooks.lam(pair[0], image, window=window, steps=9) for image in images.split(1) for window in windows]
    for one, other in zip(together, alone, strict=True):
        assert relative(one.attribution, other.attribution) < 1e-3


def test_faig_and_its_proof_agree_with_the_cpu(pair, on_cpu, photo):
    options = {"images": photo[..., :128, :128], "degradations": DEGRADATIONS, "steps": 8}
    here, there = sr_hooks.faig(*pair, **options), sr_hooks.faig(*on_cpu, **options)
    assert relative(here.arrays["scores"], there.arrays["scores"]) < 1e-3
    proof = {"tops": (0.05,), "random_seeds": 2, "input_points": 0}
    proofs = [sr_hooks.verify(result, [photo[..., 128:, 128:]], **proof) for result in (here, there)]
    for key in ("psnr", "target_psnr"):
        assert np.allclose(proofs[0].arrays[key], proofs[1].arrays[key], atol=1e-2), "dB"


def test_ddr_agrees_with_the_cpu(pair, on_cpu, photo):
    options = {"patch": 32, "patches": 12, "tsne": 0, "layers": "conv_last:in"}
    here, there = sr_hooks.ddr(pair[1], photo, **options), sr_hooks.ddr(on_cpu[1], photo, **options)
    spread = [np.linalg.norm(result.arrays["scores_0"][:, :8], axis=0) for result in (here, there)]
    assert relative(spread[0], spread[1]) < 1e-3 and abs(here.chi - there.chi) < 0.01 * there.chi


def test_check_and_compare_run_on_the_device(pair, lr):
    small = lr[..., :32, :32].contiguous()
    result = sr_hooks.lam(pair[0], small, window=(40, 40, 16), steps=9)
    card = sr_hooks.check(result, draws=3, orders=3)
    assert len(card.verdicts) == 4 and card.verdicts[0].word == "passes"
    change = sr_hooks.compare(*pair, image=small, window=(40, 40, 16))
    assert change.scalars["compared"] == ["lam"]


ON_A_CARD = pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)
"""The CPU's parity is in tests/analyses/lam/test_lam.py and tests/analyses/faig/test_faig.py."""


@ON_A_CARD
@pytest.mark.parametrize("state", ["baseline", "target"])
def test_lam_is_the_published_one(device, data, basicsr, state):
    """The golden maps are of the target, which undoes blur: two CPUs' rounding moves them by up to 1.5e-3."""
    weights = data / f"weights/msrresnet_x2_{state}.pth"
    network = sr_hooks.Network.from_basicsr("MSRResNet", {"upscale": 2}, weights=weights, device=device)
    golden = np.load(data / "golden/lam_msrresnet_x2.npz")
    case = json.loads((data / "golden/lam_msrresnet_x2.json").read_text())[0]
    lr = torch.from_numpy(golden[f"lr_{case['image']}"])
    options = {"window": (case["top"], case["left"], case["window"]), "compat": "lam_demo"}
    result = sr_hooks.lam(network, lr, **options)
    if state == "target":
        assert relative(result.attribution, golden[f"grad_{case['key']}"]) < 2e-3
        assert abs(result.diffusion_index - case["di"]) < 0.02
    else:
        plain = sr_hooks.Network.from_basicsr("MSRResNet", {"upscale": 2}, weights=weights)
        assert relative(result.attribution, sr_hooks.lam(plain, lr, **options).attribution) < 1e-4


@ON_A_CARD
def test_faig_is_the_published_one(device, data, basicsr):
    stored = np.load(data / "golden/faig_msrresnet_x2.npz")
    networks = [
        sr_hooks.Network.from_basicsr(
            "MSRResNet", {"upscale": 2}, weights=data / f"weights/msrresnet_x2_{state}.pth", device=device
        )
        for state in ("baseline", "target")
    ]
    degraded = {name: torch.from_numpy(stored[name]) for name in ("blur", "noise")}
    result = sr_hooks.faig(*networks, degraded=degraded, gt=torch.from_numpy(stored["gt"]), compat="faig")
    assert relative(result.contrast("blur", "noise"), stored["faig_blur_minus_noise"]) < 1e-3
