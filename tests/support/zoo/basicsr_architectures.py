"""BasicSR's registered architectures, each built small with random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sr_hooks import Network

ARGUMENTS: dict[str, dict[str, Any]] = {
    "BasicVSR": {"num_feat": 8, "num_block": 1},
    "BasicVSRPlusPlus": {"mid_channels": 8, "num_blocks": 1},
    "DUF": {"scale": 4, "num_layer": 16},
    "ECBSR": {"num_in_ch": 3, "num_out_ch": 3, "num_block": 2, "num_channel": 8, "with_idt": False,
        "act_type": "prelu", "scale": 2},
    "EDSR": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 2, "upscale": 2},
    "EDVR": {"num_feat": 16, "num_frame": 3, "deformable_groups": 2, "num_extract_block": 1,
        "num_reconstruct_block": 1},
    "HiFaceGAN": {"num_feat": 8, "crop_size": 64, "is_train": False},
    "HiFaceGANDiscriminator": {"num_feat": 8, "num_d": 1, "n_layers_d": 2},
    "IconVSR": {"num_feat": 8, "num_block": 1, "keyframe_stride": 2},
    "MSRResNet": {"num_feat": 16, "num_block": 2, "upscale": 4},
    "RCAN": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_group": 2, "num_block": 2, "squeeze_factor": 4,
        "upscale": 2},
    "RIDNet": {"in_channels": 3, "mid_channels": 16, "out_channels": 3, "num_block": 1},
    "RRDBNet": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 1, "num_grow_ch": 8, "scale": 4},
    "SRVGGNetCompact": {"num_feat": 16, "num_conv": 4, "upscale": 4},
    "SpyNet": {},
    "StyleGAN2Discriminator": {"out_size": 32, "channel_multiplier": 1, "narrow": 0.0625},
    "StyleGAN2Generator": {"out_size": 32, "num_style_feat": 16, "num_mlp": 2, "channel_multiplier": 1,
        "narrow": 0.0625},
    "SwinIR": {"upscale": 2, "img_size": 24, "window_size": 8, "depths": [2], "embed_dim": 12, "num_heads": [2],
        "mlp_ratio": 2, "upsampler": "pixelshuffle"},
    "TOFlow": {},
    "UNetDiscriminatorSN": {"num_in_ch": 3, "num_feat": 8},
    "VGGFeatureExtractor": {"layer_name_list": ["relu1_1", "conv2_1"], "vgg_type": "vgg11"},
    "VGGStyleDiscriminator": {"num_in_ch": 3, "num_feat": 8},
}  # fmt: skip


def latent_of(module: nn.Module, image: torch.Tensor) -> Any:
    """StyleGAN2Generator takes a latent: here one made of an image by averaging blocks of it."""
    size = module.style_mlp[1].weight.shape[1]
    latent = nn.functional.adaptive_avg_pool1d(image.flatten(1)[:, None], size)[:, 0]
    return module([latent], randomize_noise=False)[0]


def flow_of(module: nn.Module, image: torch.Tensor) -> Any:
    """SpyNet takes two frames: here an image and the same moved by two pixels."""
    return module(image, image.roll(2, dims=-1))


def pair_of(module: nn.Module, image: torch.Tensor) -> Any:
    """HiFaceGANDiscriminator takes a pair in one: here an image and itself."""
    return module(torch.cat([image, image], 1))


FACTS: dict[str, dict[str, Any]] = {
    "HiFaceGAN": {"minimum": 64},
    "HiFaceGANDiscriminator": {"forward": pair_of, "channels": 3, "output": lambda out: None},
    "StyleGAN2Discriminator": {"minimum": 32, "multiple": 32, "square": True},
    "BasicVSR": {"frames": 2},
    "BasicVSRPlusPlus": {"frames": 2, "minimum": 64},
    "IconVSR": {"frames": 5},
    "SpyNet": {"forward": flow_of, "multiple": 32, "minimum": 64, "scale": 1, "channels": 3},
    "StyleGAN2Generator": {"forward": latent_of, "scale": 1, "multiple": 32, "channels": 3},
}

HEAVY = {"BasicVSR", "BasicVSRPlusPlus", "DUF", "EDVR", "IconVSR", "TOFlow"}
"""Networks over clips: seconds each, and with tests of their own (tests/analyses/test_video.py)."""

NOTES = {
    **dict.fromkeys(HEAVY, "over clips; here an image stands still, docs/video.md has clips"),
    "DFDNet": "needs a component dictionary, a file of its own, and where eyes, nose and mouth are; not built here",
    "HiFaceGANDiscriminator": "takes a pair of images in one tensor; run with forward= a function that makes it",
    "SpyNet": "takes two frames: run with forward= a function that makes the second, on the x component of the flow",
    "StyleGAN2Discriminator": "takes images of its own size alone",
    "StyleGAN2Generator": "latent in, so LAM has no meaning; run with forward= a function that makes a latent",
}
"""What a row has to be read with."""


def network(name: str) -> Network:
    """The small network of a row, with the same random weights each time."""
    facts = FACTS.get(name, {})
    if name == "VGGFeatureExtractor":  # its weights are a download
        import basicsr.archs.vgg_arch as room

        kept = room.vgg.vgg11
        room.vgg.vgg11 = lambda pretrained=False: kept(weights=None)
        try:
            return Network.from_basicsr(name, ARGUMENTS[name], **facts)
        finally:
            room.vgg.vgg11 = kept
    return Network.from_basicsr(name, ARGUMENTS[name], **facts)
