"""CARN (Ahn et al., ECCV 2018, arXiv 1803.08664, section 3): blocks that cascade, inside of blocks and between them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["CARN"]


class Residual(nn.Module):
    """Two convolutions and a skip, then ReLU."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(features, features, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class Cascade(nn.Module):
    """Parts in a row; behind each a 1x1 convolution sees the input and the outputs of all parts so far."""

    def __init__(self, parts: list[nn.Module], features: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.merge = nn.ModuleList(nn.Conv2d((count + 2) * features, features, 1) for count in range(len(parts)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen, y = x, x
        for part, merge in zip(self.parts, self.merge, strict=True):
            seen = torch.cat([seen, part(y)], dim=1)
            y = F.relu(merge(seen))
        return y


class CARN(nn.Module):
    """Cascading blocks of cascading residual blocks, and sub-pixel convolutions for a scale of 2, 3 or 4.

    Inside, the mean of DIV2K is subtracted from RGB images in [0, 1], and added at the end.
    """

    def __init__(self, upscale: int = 2, features: int = 64, blocks: int = 3) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4488, 0.4371, 0.4040]).view(3, 1, 1), persistent=False)
        self.entry, self.exit = nn.Conv2d(3, features, 3, padding=1), nn.Conv2d(features, 3, 3, padding=1)
        inner = [Cascade([Residual(features) for _ in range(blocks)], features) for _ in range(blocks)]
        self.body = Cascade(list(inner), features)
        steps = [2, 2] if upscale == 4 else [upscale]
        self.upsample = nn.Sequential(
            *(
                layer
                for step in steps
                for layer in (
                    nn.Conv2d(features, features * step**2, 3, padding=1),
                    nn.ReLU(inplace=True),
                    nn.PixelShuffle(step),
                )
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,3,h,w) to (N,3,h*upscale,w*upscale)."""
        return self.exit(self.upsample(self.body(self.entry(x - self.mean)))) + self.mean
