"""Small networks with known answers, importable as tests.support.networks or by path."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Tiny(nn.Module):
    """A two-layer network, enlarging by `scale`."""

    def __init__(self, scale: int = 2, channels: int = 3, features: int = 8) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.head = nn.Conv2d(channels, features, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.tail = nn.Conv2d(features, channels * scale * scale, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        base = F.interpolate(x, scale_factor=self.shuffle.upscale_factor, mode="nearest")
        return base + 0.1 * self.shuffle(self.tail(self.act(self.head(x))))


class LinearUp(nn.Module):
    """Nearest enlargement of a 3x3 convolution: linear, so its attribution is known in closed form."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(self.conv(x), scale_factor=self.scale, mode="nearest") if self.scale > 1 else self.conv(x)


class Circular(nn.Module):
    """Two circular 3x3 convolutions with a ReLU between: one output pixel depends on 5x5 input pixels, wrapping."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.first = nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular")
        self.second = nn.Conv2d(6, 3, 3, padding=1, padding_mode="circular")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(F.relu(self.first(x)))


class Answering(nn.Module):
    """An identity convolution whose answer is then spoiled by `spoil`."""

    def __init__(self, spoil) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        self.spoil = spoil

    def forward(self, x: torch.Tensor):
        return self.spoil(self.conv(x))
