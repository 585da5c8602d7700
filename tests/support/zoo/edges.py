"""Two objectives behind a super-resolution network: what an edge detector sees, and its loss against the truth."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["EdgeLoss", "Edges"]


class Edges(nn.Module):
    """Strength of edges, (N,1,H,W), of an RGB image (N,3,H,W)."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        grey = F.pad(image.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        down, right = grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1], grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]
        return (down.square() + right.square() + 1e-6).sqrt()


class EdgeLoss(Edges):
    """Mean absolute difference of the edges of the output and of the ground truth."""

    def forward(self, output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        edges = super().forward
        return (edges(output) - edges(truth)).abs().mean()
