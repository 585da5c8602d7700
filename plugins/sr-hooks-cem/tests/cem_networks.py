"""Networks of a known reach, and small ones of BasicSR, for the tests of cem."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from sr_hooks.networks import import_basicsr


class Linear(nn.Module):
    """A 3x3 convolution, enlarged by 2: an output pixel sees 3x3 input pixels."""

    def __init__(self, padding_mode: str = "zeros") -> None:
        super().__init__()
        torch.manual_seed(5)
        self.conv = nn.Conv2d(3, 3, 3, padding=1, padding_mode=padding_mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x + 0.1 * self.conv(x), scale_factor=2, mode="nearest")


class Global(Linear):
    """The whole image's mean is taken off: everything moves everything."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - 0.1 * x.mean(dim=(2, 3), keepdim=True))


class Swallowing(Linear):
    """The same, but NaN does not get through, and neither does a gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - 0.1 * torch.nan_to_num(x.detach()).mean(dim=(2, 3), keepdim=True))


def msrresnet() -> nn.Module:
    import_basicsr()
    from basicsr.archs.srresnet_arch import MSRResNet

    torch.manual_seed(0)
    return MSRResNet(num_feat=8, num_block=1, upscale=2).eval()


def swinir() -> nn.Module:
    import_basicsr()
    from basicsr.archs.swinir_arch import SwinIR

    torch.manual_seed(0)
    return SwinIR(
        img_size=32, window_size=4, depths=[1], embed_dim=12, num_heads=[2], mlp_ratio=2, upscale=2,
        upsampler="pixelshuffledirect",
    ).eval()  # fmt: skip


NETWORKS = {
    "Linear": Linear,
    "circular": lambda: Linear("circular"),
    "Global": Global,
    "Swallowing": Swallowing,
    "MSRResNet": msrresnet,
    "SwinIR": swinir,
}
