"""The small network that the demo looks into."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["CompactResNet"]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a ReLU between them, added to their input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", x + self.conv2(F.relu(self.conv1(x))))


class CompactResNet(nn.Module):
    """A residual super-resolution network without normalisation, after EDSR (arXiv 1707.02921).

    Input (N,3,h,w) in [0,1], output (N,3,h*scale,w*scale). The interpolated input is added to the
    output, the "global residual" that deep degradation representations need (arXiv 2108.00406).

    Args:
        features: channels of every hidden layer.
        blocks: residual blocks in the body.
        scale: enlargement, one pixel shuffle.
    """

    def __init__(self, features: int = 32, blocks: int = 12, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.conv_first = nn.Conv2d(3, features, 3, padding=1)
        self.body = nn.Sequential(*[ResidualBlock(features) for _ in range(blocks)])
        self.conv_body = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, 3 * scale * scale, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shallow = self.conv_first(x)
        deep = self.conv_body(self.body(shallow)) + shallow
        residual = self.shuffle(self.conv_last(deep))
        base = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return cast("torch.Tensor", residual + base)

    @classmethod
    def from_shapes(cls, state: Mapping[str, torch.Tensor]) -> CompactResNet | None:
        """The network that such weights belong to, or None where they are another architecture's."""
        needed = ("conv_first.weight", "conv_body.weight", "conv_last.weight", "body.0.conv1.weight")
        if any(key not in state for key in needed) or not all(key.startswith(("conv_", "body.")) for key in state):
            return None
        blocks = {key.split(".")[1] for key in state if key.startswith("body.")}
        scale = math.isqrt(state["conv_last.weight"].shape[0] // 3)
        return cls(features=state["conv_first.weight"].shape[0], blocks=len(blocks), scale=scale)
