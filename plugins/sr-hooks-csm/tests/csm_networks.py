"""Small networks of BasicSR, and a hook of torch's own, for the tests of csm."""

from __future__ import annotations

import torch
from torch import nn

from sr_hooks.networks import import_basicsr


def msrresnet() -> nn.Module:
    import_basicsr()
    from basicsr.archs.srresnet_arch import MSRResNet

    torch.manual_seed(0)
    return MSRResNet(num_feat=8, num_block=2, upscale=2).eval()


def swinir() -> nn.Module:
    import_basicsr()
    from basicsr.archs.swinir_arch import SwinIR

    torch.manual_seed(0)
    return SwinIR(
        img_size=24,
        window_size=8,
        depths=[2],
        embed_dim=12,
        num_heads=[2],
        mlp_ratio=2,
        upscale=2,
        upsampler="pixelshuffledirect",
    ).eval()


def handle_of(module: nn.Module, tap: str, change):
    """A plain hook of torch's, independent of sr_hooks.hooks, for the taps above."""
    name, at_input = tap.removesuffix(":in"), tap.endswith(":in")
    name, _, call = name.partition("#")
    runs = {"count": -1}
    part = module.get_submodule(name)
    if at_input:
        return part.register_forward_pre_hook(lambda _, args: (change(args[0]),))

    def hook(_, args, out):
        runs["count"] += 1
        return change(out) if runs["count"] == int(call or 0) else None

    return part.register_forward_hook(hook)


def leaf_at(module: nn.Module, tap: str):
    """Cut the graph at a tap: after a forward, the feature there as a leaf, under "feature"; and the hook's handle."""
    leaf: dict[str, torch.Tensor] = {}

    def replace(feature):
        leaf["feature"] = feature.detach().clone().requires_grad_()
        return leaf["feature"].clone()

    return leaf, handle_of(module, tap, replace)
