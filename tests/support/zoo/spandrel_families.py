"""spandrel's families, each built small with random weights, saved and loaded again as a bare checkpoint file.

A family's key is its id in spandrel's registry; further rows of one family have a word after it.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

SWIN = {"img_size": 16, "embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 8, "mlp_ratio": 2}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ATD": ("ATD", {**SWIN, "depths": (2,), "num_heads": (2,), "category_size": 32, "num_tokens": 8, "reducted_dim": 3,
        "upscale": 2, "upsampler": "pixelshuffledirect"}),
    "CRAFT": ("CRAFT", {"embed_dim": 24, "depths": [2], "num_heads": [6], "upscale": 2}),
    "Compact": ("Compact", {"num_feat": 16, "num_conv": 3, "upscale": 4}),
    "Compact grey": ("Compact", {"num_in_ch": 1, "num_out_ch": 1, "num_feat": 16, "num_conv": 3, "upscale": 1}),
    "DAT": ("DAT", {"img_size": 16, "embed_dim": 24, "split_size": [4, 8], "depth": [2], "num_heads": [2],
        "expansion_factor": 2.0, "upscale": 2, "upsampler": "pixelshuffledirect"}),
    "DCTLSA": ("DCTLSA", {"nf": 20, "num_modules": 6, "upscale": 2, "num_head": 5}),
    "DITN": ("DITN", {"dim": 16, "ITL_blocks": 1, "SAL_blocks": 1, "upscale": 2}),
    "DRCT": ("DRCT", {"img_size": 16, "embed_dim": 24, "depths": (2,), "num_heads": (2,), "window_size": 8,
        "upscale": 2, "upsampler": "pixelshuffle", "gc": 8}),
    "DRUNet": ("DRUNet", {"in_nc": 4, "out_nc": 3, "nc": [8, 12, 16, 20], "nb": 2}),
    "DnCNN": ("DnCNN", {"in_nc": 3, "out_nc": 3, "nc": 16, "nb": 4}),
    "DnCNN grey": ("DnCNN", {"in_nc": 1, "out_nc": 1, "nc": 16, "nb": 4}),
    "ESRGAN": ("ESRGAN", {"num_filters": 16, "num_blocks": 1, "scale": 4}),
    "ESRGAN plus": ("ESRGAN", {"num_filters": 16, "num_blocks": 1, "scale": 4, "plus": True}),
    "ESRGAN x2": ("ESRGAN", {"in_nc": 12, "num_filters": 16, "num_blocks": 1, "scale": 4, "shuffle_factor": 2}),
    "FBCNN": ("FBCNN", {"nc": [8, 12, 16, 512], "nb": 2}),
    "FDAT": ("FDAT", {"scale": 2, "embed_dim": 24, "num_groups": 1, "depth_per_group": 2, "num_heads": 3,
        "ffn_expansion_ratio": 1.5, "mid_dim": 16, "upsampler_type": "pixelshuffle"}),
    "FFTformer": ("FFTformer", {"dim": 16, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1}),
    "GRL": ("GRL", {"img_size": 16, "embed_dim": 16, "upscale": 2, "upsampler": "pixelshuffledirect", "depths": [1],
        "num_heads_window": [2], "num_heads_stripe": [2], "window_size": 8, "stripe_size": [8, 8], "mlp_ratio": 2}),
    "HAT": ("HAT", {**SWIN, "depths": (2,), "num_heads": (2,), "upscale": 2, "compress_ratio": 3, "squeeze_factor": 6,
        "num_feat": 16, "resi_connection": "1conv"}),
    "HVICIDNet": ("HVICIDNet", {"channels": [12, 12, 24, 48], "heads": [1, 2, 4, 8]}),
    "IPT": ("IPT", {"patch_size": 24, "n_feats": 4, "num_heads": 12, "num_layers": 1, "rgb_range": 1, "scale": [2]}),
    "KBNet": ("KBNet_s", {"width": 16, "middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]}),
    "LaMa": ("LaMa", {"in_nc": 4}),
    "MMRealSR": ("MMRealSR", {"num_in_ch": 3, "num_out_ch": 3, "num_block": 1, "num_feat": 16, "num_grow_ch": 8,
        "num_feats": [16, 16, 16, 32], "num_blocks": [1, 1, 1, 1]}),
    "MixDehazeNet": ("MixDehazeNet", {"embed_dims": [12, 24, 48, 24, 12]}),
    "MoESR": ("MoESR", {"scale": 2, "dim": 16, "n_blocks": 1, "n_block": 1, "upsample_dim": 16}),
    "MoSR": ("MoSR", {"upscale": 2, "n_block": 2, "dim": 16}),
    "NAFNet": ("NAFNet", {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}),
    "OmniSR": ("OmniSR", {"num_feat": 16, "up_scale": 2}),
    "PLKSR": ("PLKSR", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "PLKSR real": ("RealPLKSR", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "RCAN": ("RCAN", {"scale": 2, "n_resgroups": 1, "n_resblocks": 2, "n_feats": 16, "reduction": 4}),
    "RGT": ("RGT", {"img_size": 16, "embed_dim": 24, "depth": [2], "num_heads": [2], "mlp_ratio": 2.0, "upscale": 2}),
    "RealCUGAN": ("UpCunet2x", {}),
    "RestoreFormer": ("RestoreFormer", {"n_embed": 16, "embed_dim": 16, "ch": 32, "ch_mult": (1, 2),
        "num_res_blocks": 1, "z_channels": 16}),
    "RetinexFormer": ("RetinexFormer", {"n_feat": 16, "stage": 1}),
    "SAFMN": ("SAFMN", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "SAFMNBCIE": ("SAFMNBCIE", {"dim": 16, "n_blocks": 1, "num_layers": 1}),
    "SCUNet": ("SCUNet", {"config": [1, 1, 1, 1, 1, 1, 1]}),
    "SPAN": ("SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16, "upscale": 2}),
    "SeemoRe": ("SeemoRe", {"scale": 2, "num_experts": 3, "num_layers": 1, "embedding_dim": 12}),
    "SwiftSRGAN": ("SwiftSRGAN", {"num_channels": 16, "num_blocks": 2, "upscale_factor": 2}),
    "Swin2SR": ("Swin2SR", {**SWIN, "upscale": 2, "upsampler": "pixelshuffledirect"}),
    "SwinIR": ("SwinIR", {**SWIN, "upscale": 2, "upsampler": "pixelshuffledirect"}),
    "SwinIR grey": ("SwinIR", {**SWIN, "in_chans": 1}),
    "Uformer": ("Uformer", {"embed_dim": 4, "depths": [1, 1, 1, 1, 1, 1, 1, 1, 1]}),
    "AuraSR": ("AuraSR", {"dim": 8, "image_size": 64, "input_image_size": 16, "style_network":
        {"dim_in": 16, "dim_out": 64, "depth": 2}, "attn_depths": (1, 1, 1, 1, 1), "mid_attn_depth": 1,
        "self_attn_dim_head": 8, "self_attn_heads": 8, "num_conv_kernels": 2, "skip_connect_scale": 0.4,
        "init_dim": 8}),
    "GFPGAN": ("GFPGAN", {}),
}  # fmt: skip


HEAVY = {"LaMa"}
"""A family that cannot be built small: 15 million weights."""

NOTES = {
    "GFPGAN": "takes 512x512 alone and has 90 million weights, so the tests do not build it",
    "LaMa": "fills what a mask hides; run with a mask that hides nothing",
    "SPAN": "its forward overwrites weights of its own (eval_conv), so FAIG scores those",
    "AuraSR": "draws random numbers in its forward: two maps of it differ",
}
"""What a row has to be read with."""


def build(row: str) -> nn.Module:
    """The small network of a row, with the same random weights each time."""
    family = row.split()[0]
    name, arguments = FAMILIES[row]
    module = importlib.import_module(f"spandrel.architectures.{family}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return getattr(module, name)(**arguments).eval()


def save(row: str, folder: Path) -> Path:
    """Its weights as a checkpoint file."""
    path = folder / f"{row.replace(' ', '_')}.pth"
    torch.save({"params": build(row).state_dict()}, path)
    return path
