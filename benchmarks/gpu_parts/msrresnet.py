"""MSRResNet under BasicSR's names, for machines without BasicSR: the same weights fit, and the outputs are equal."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two convolutions with a ReLU between them, added to their input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(features, features, 3, padding=1) for _ in range(2))
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data *= 0.1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


class MSRResNet(nn.Module):
    """A residual network that enlarges by 2 or 4 with pixel shuffles, on top of a bilinear enlargement."""

    def __init__(self, num_feat: int = 64, num_block: int = 16, upscale: int = 4) -> None:
        super().__init__()
        self.upscale = upscale
        self.conv_first = nn.Conv2d(3, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(Block(num_feat) for _ in range(num_block)))
        self.upconv1 = nn.Conv2d(num_feat, 4 * num_feat, 3, padding=1)
        if upscale == 4:
            self.upconv2 = nn.Conv2d(num_feat, 4 * num_feat, 3, padding=1)
        self.pixel_shuffle = nn.PixelShuffle(2)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, 3, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        feature = self.body(self.lrelu(self.conv_first(x)))
        feature = self.lrelu(self.pixel_shuffle(self.upconv1(feature)))
        if self.upscale == 4:
            feature = self.lrelu(self.pixel_shuffle(self.upconv2(feature)))
        out = self.conv_last(self.lrelu(self.conv_hr(feature)))
        return out + F.interpolate(x, scale_factor=self.upscale, mode="bilinear", align_corners=False)
