"""FSRCNN (Dong et al., ECCV 2016, arXiv 1608.00367, section 3.2): small layers at low resolution, one deconvolution."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["FSRCNN"]


class FSRCNN(nn.Module):
    """FSRCNN(d, s, m): d features, shrunk to s for m layers of mapping; one colour channel in the paper."""

    def __init__(self, upscale: int = 2, channels: int = 1, d: int = 56, s: int = 12, m: int = 4) -> None:
        super().__init__()
        self.extract = nn.Sequential(nn.Conv2d(channels, d, 5, padding=2), nn.PReLU(d))
        self.shrink = nn.Sequential(nn.Conv2d(d, s, 1), nn.PReLU(s))
        mapping = [layer for _ in range(m) for layer in (nn.Conv2d(s, s, 3, padding=1), nn.PReLU(s))]
        self.map = nn.Sequential(*mapping)
        self.expand = nn.Sequential(nn.Conv2d(s, d, 1), nn.PReLU(d))
        self.deconv = nn.ConvTranspose2d(d, channels, 9, stride=upscale, padding=4, output_padding=upscale - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w) to (N,C,h*upscale,w*upscale)."""
        return self.deconv(self.expand(self.map(self.shrink(self.extract(x)))))
