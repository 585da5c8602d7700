"""Networks of the tests: small real ones, and attention and gates written out."""

from __future__ import annotations

import importlib

import torch
from torch import nn
from torch.nn import functional as F

SMALL = {
    "RCAN": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_group": 2, "num_block": 2, "squeeze_factor": 4},
    "SwinIR": {"img_size": 16, "window_size": 8, "depths": [2, 2], "embed_dim": 12, "num_heads": [2, 2], "mlp_ratio": 2,
               "upsampler": "pixelshuffledirect"},
    "RIDNet": {"in_channels": 3, "mid_channels": 16, "out_channels": 3, "num_block": 2},
    "MSRResNet": {"num_feat": 8, "num_block": 1},
    "RRDBNet": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "num_grow_ch": 4},
    "EDSR": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1},
    "SRVGGNetCompact": {"num_feat": 8, "num_conv": 1},
}  # fmt: skip


def small(name: str) -> nn.Module:
    from basicsr.utils.registry import ARCH_REGISTRY

    for module in ("rcan", "swinir", "ridnet", "srresnet", "rrdbnet", "edsr", "srvgg"):
        importlib.import_module(f"basicsr.archs.{module}_arch")
    scale = {"scale": 2} if name == "RRDBNet" else {} if name == "RIDNet" else {"upscale": 2}
    return ARCH_REGISTRY.get(name)(**SMALL[name], **scale)


class Attending(nn.Module):
    """Self-attention over all positions, written out or fused."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(3))
        self.out, self.fused = nn.Conv2d(4, 3, 1), fused

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = torch.bmm((q @ k.transpose(1, 2) / 2).softmax(-1), v)
        return x + self.out(mixed.transpose(1, 2).unflatten(2, x.shape[-2:]))


class Gated(nn.Module):
    """A convolution whose output is gated by `gate`(feature, module)."""

    def __init__(self, gate) -> None:
        super().__init__()
        self.conv, self.more, self.gate = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1), gate
        self.weight = nn.Parameter(torch.randn(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        feature = self.conv(x)
        return x + feature * self.gate(feature, self)


GATES = {
    "channel": lambda f, m: m.more(f.mean((2, 3), keepdim=True)),
    "spatial": lambda f, m: torch.sigmoid(m.more(f).mean(1, keepdim=True)),
    "pixel": lambda f, m: torch.sigmoid(m.more(f)) * 2 - 0.5,
}
NO_GATES = {
    "activation": lambda f, m: torch.sigmoid(1.702 * f),
    "parameter": lambda f, m: torch.sigmoid(m.weight),
    "normalisation": lambda f, m: torch.rsqrt(f.square().mean(1, keepdim=True) + 1e-6),
    "product": lambda f, m: m.more(f),
    "number": lambda f, m: 0.1,
}


class Windows(nn.Module):
    """Attention in windows of `side` pixels, shifted, with a logit matrix for each head; padded by reflection.

    `logits` of the tokens (N,side**2,C) of N windows: (N,heads,side**2,side**2). Values are the feature's channels.
    """

    def __init__(self, logits, *, shift: int = 0, side: int = 8, heads: int = 2, layers: int = 1) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 2 * heads, 1), nn.Conv2d(2 * heads, 3, 1)
        self.logits, self.shift, self.side, self.heads, self.layers = logits, shift, side, heads, layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.side, 0, -height % self.side), mode="reflect")
        feature = self.first(x).permute(0, 2, 3, 1)
        for _ in range(self.layers):
            feature = self.attend(feature)
        return self.last(feature.permute(0, 3, 1, 2))[..., :height, :width]

    def attend(self, feature: torch.Tensor) -> torch.Tensor:
        feature = torch.roll(feature, (-self.shift, -self.shift), (1, 2))
        _, h, w, c = feature.shape
        side = self.side
        cut = feature.view(1, h // side, side, w // side, side, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, side**2, c)
        values = cut.view(len(cut), side**2, self.heads, -1).transpose(1, 2)
        weights = (self.logits(cut) + 0 * values @ values.transpose(-2, -1)).softmax(-1)
        mixed = (weights @ values).transpose(1, 2).reshape(1, h // side, w // side, side, side, c)
        return torch.roll(mixed.permute(0, 1, 3, 2, 4, 5).reshape(1, h, w, c), (self.shift, self.shift), (1, 2))


def copying(*offsets: tuple[int, int], side: int = 8, strength: float = 50.0):
    """Logits with which each head copies from an offset (dy, dx), around the borders of the window."""
    y, x = torch.arange(side**2) // side, torch.arange(side**2) % side
    table = torch.zeros(len(offsets), side**2, side**2)
    for head, (dy, dx) in enumerate(offsets):
        table[head, torch.arange(side**2), (y + dy) % side * side + (x + dx) % side] = strength
    return lambda tokens: table.to(tokens).expand(len(tokens), -1, -1, -1)


class Copying(Windows):
    """Two heads, which copy five pixels from the left and three from above."""

    def __init__(self) -> None:
        super().__init__(copying((0, -5), (-3, 0)))
