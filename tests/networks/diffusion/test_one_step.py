"""One-step diffusion of diffusers' own classes, in tiny random configurations, as a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import sr_hooks
from sr_hooks import Network
from sr_hooks.errors import NetworkError
from sr_hooks.networks import OneStepDiffusion
from tests.support.diffusion import KINDS, network_of, unet_of, vae_of


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers", reason="diffusers is not installed here: pip install 'sr_hooks[diffusion]'")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_deterministic_map_with_a_lam_and_a_ddr(kind: str, diffusers, small_lr: torch.Tensor) -> None:
    network = Network(network_of(diffusers, kind))
    state = torch.get_rng_state()
    with torch.no_grad():
        first, second = network(small_lr), network(small_lr)
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)
    assert (network.scale, network.channels) == (2, 3)
    results = [sr_hooks.lam(network, small_lr, window=(10, 10, 8), steps=3) for _ in range(2)]
    np.testing.assert_array_equal(results[0].attribution, results[1].attribution)
    assert np.abs(results[0].attribution).max() > 0 and "not repeatable" not in results[0].verdict
    odd = small_lr[..., :19, :21]
    assert network(odd).shape[-2:] == (38, 42)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SD-Turbo", "ResShift"])
def test_a_ddr(kind: str, diffusers) -> None:
    images = [torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    result = sr_hooks.ddr(
        Network(network_of(diffusers, kind)), images, layers=["denoiser.conv_in"], patch=32, patches=4,
        permutations=19, subsamples=0, tsne=0,
    )  # fmt: skip
    assert result.scalars["layers"][0]["layer"].startswith("denoiser.conv_in") and result.verdict


@pytest.mark.slow
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_step_is_the_schedulers_own(prediction: str, diffusers, small_lr: torch.Tensor) -> None:
    """z_0 is what diffusers' scheduler calls pred_original_sample."""
    scheduler = diffusers.DDIMScheduler(prediction_type=prediction, clip_sample=False)
    torch.manual_seed(0)
    module = OneStepDiffusion(
        vae_of(diffusers), unet_of(diffusers), scheduler, timestep=400, prompt_embedding=torch.randn(1, 5, 8), scale=2
    ).eval()
    scheduler.set_timesteps(10)
    with torch.no_grad():
        image = 2 * F.interpolate(small_lr, scale_factor=2, mode="bicubic") - 1
        latent = module.vae.encode(image).latent_dist.mean * 0.18215
        predicted = module.denoiser(latent, 400, encoder_hidden_states=module.prompt_embedding).sample
        clean = scheduler.step(predicted, 400, latent).pred_original_sample
        expected = (module.vae.decode(clean / 0.18215).sample + 1) / 2
        assert torch.allclose(module(small_lr), expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SD-Turbo", "ResShift"])
def test_checkpoints_of_activations_change_nothing(kind: str, diffusers, small_lr: torch.Tensor) -> None:
    results, calls = [], []
    for checkpointing in (False, True):
        module = network_of(diffusers, kind, checkpointing=checkpointing)
        count = [0]
        resnet = module.denoiser.down_blocks[0].resnets[0]
        original = resnet.forward

        def counted(*inputs, original=original, count=count, **more):
            count[0] += 1
            return original(*inputs, **more)

        resnet.forward = counted
        x = small_lr.clone().requires_grad_()
        module(x).sum().backward()
        calls.append(count[0])
        results.append(sr_hooks.lam(module, small_lr, window=(10, 10, 8), steps=3).attribution)
    assert calls[1] > calls[0] == 1, "computed again in the backward"
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-6 * np.abs(results[0]).max())


def test_what_does_not_fit_is_named(diffusers) -> None:
    vae, unet = vae_of(diffusers), unet_of(diffusers)
    prompt, scheduler = torch.randn(1, 5, 8), diffusers.DDPMScheduler()
    with pytest.raises(NetworkError, match="takes a prompt: give prompt_embedding"):
        OneStepDiffusion(vae, unet, scheduler)
    with pytest.raises(NetworkError, match="has no alphas_cumprod"):
        OneStepDiffusion(vae, unet, diffusers.FlowMatchEulerDiscreteScheduler(), prompt_embedding=prompt)
    with pytest.raises(NetworkError, match="the scheduler has 0 to 999"):
        OneStepDiffusion(vae, unet, scheduler, timestep=1000, prompt_embedding=prompt)
    with pytest.raises(NetworkError, match="needs a scheduler"):
        OneStepDiffusion(vae, unet, prediction="epsilon", prompt_embedding=prompt)
    with pytest.raises(NetworkError, match="prediction is 'x0'"):
        OneStepDiffusion(vae, unet, prediction="x0", prompt_embedding=prompt)
