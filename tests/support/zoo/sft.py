"""A small network with spatial feature transforms (SFT-GAN, Wang et al., CVPR 2018, arXiv 1804.02815, equation 5)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["SFT"]


class Transform(nn.Module):
    """feature * (gamma + 1) + beta; gamma and beta are computed from the condition, pixel by pixel."""

    def __init__(self, condition: int, features: int) -> None:
        super().__init__()
        self.gamma = nn.Sequential(nn.Conv2d(condition, 8, 1), nn.LeakyReLU(0.1), nn.Conv2d(8, features, 1))
        self.beta = nn.Sequential(nn.Conv2d(condition, 8, 1), nn.LeakyReLU(0.1), nn.Conv2d(8, features, 1))

    def forward(self, feature: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return feature * (self.gamma(condition) + 1) + self.beta(condition)


class SFT(nn.Module):
    """The condition comes from the input; it modulates the feature of each residual block. Scale 2."""

    def __init__(self, features: int = 16, blocks: int = 2) -> None:
        super().__init__()
        self.condition = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(8, 8, 1))
        self.head, self.tail = nn.Conv2d(3, features, 3, padding=1), nn.Conv2d(features, 12, 3, padding=1)
        self.transforms = nn.ModuleList(Transform(8, features) for _ in range(blocks))
        self.convolutions = nn.ModuleList(nn.Conv2d(features, features, 3, padding=1) for _ in range(blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,3,h,w) to (N,3,2h,2w)."""
        condition, feature = self.condition(x), self.head(x)
        for transform, convolution in zip(self.transforms, self.convolutions, strict=True):
            feature = feature + convolution(F.relu(transform(feature, condition)))
        base = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return base + 0.1 * F.pixel_shuffle(self.tail(feature), 2)
