"""One-step diffusion networks of diffusers' own classes, in tiny random configurations."""

from __future__ import annotations

import torch
from torch import nn

from sr_hooks.networks import OneStepDiffusion

__all__ = ["KINDS", "network_of", "unet_of", "vae_of"]

KINDS = ("SD-Turbo", "v prediction", "ResShift", "noise of the schedule", "transformer")


def vae_of(diffusers) -> nn.Module:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.18215,
    )


def unet_of(diffusers, channels: int = 4, *, prompt: bool = True) -> nn.Module:
    common = {"in_channels": channels, "out_channels": 4, "block_out_channels": (8, 16), "layers_per_block": 1}
    if not prompt:
        blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
        return diffusers.UNet2DModel(**common, **blocks, norm_num_groups=4, add_attention=False)
    blocks = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    return diffusers.UNet2DConditionModel(
        **common, **blocks, cross_attention_dim=8, attention_head_dim=4, norm_num_groups=4
    )


def network_of(diffusers, kind: str, **more) -> OneStepDiffusion:
    torch.manual_seed(0)
    vae, prompt = vae_of(diffusers), torch.randn(1, 5, 8)
    if kind == "ResShift":
        more = {"noise": 0.4, "conditioned": True, "prediction": "sample", "timestep": 14, **more}
        return OneStepDiffusion(vae, unet_of(diffusers, 8, prompt=False), scale=2, **more).eval()
    if kind == "transformer":
        denoiser = diffusers.PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=4,
            in_channels=4,
            out_channels=8,
            num_layers=1,
            cross_attention_dim=8,
            caption_channels=8,
            sample_size=16,
            norm_num_groups=4,
            use_additional_conditions=False,
        )
        scheduler = diffusers.DDPMScheduler()
        more = {"arguments": {"added_cond_kwargs": {"resolution": None, "aspect_ratio": None}}, **more}
        return OneStepDiffusion(vae, denoiser, scheduler, prompt_embedding=prompt, scale=2, **more).eval()
    scheduler = {
        "SD-Turbo": lambda: diffusers.EulerDiscreteScheduler(timestep_spacing="trailing"),
        "v prediction": lambda: diffusers.DDIMScheduler(prediction_type="v_prediction"),
        "noise of the schedule": lambda: diffusers.DDPMScheduler(),
    }[kind]()
    more = {"noise": "schedule", "timestep": 200, **more} if kind == "noise of the schedule" else more
    return OneStepDiffusion(vae, unet_of(diffusers), scheduler, prompt_embedding=prompt, scale=2, **more).eval()
