"""Networks over clips whose attention copies from five pixels to the left in the frame before."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

SIDE = 8


class Joint(nn.Module):
    """Attention in windows of 8 x 8 pixels over all frames at once, after a convolution over time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1)), nn.Conv2d(4, 3, 1)

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        clips, count, _, height, width = clip.shape
        x = self.first(clip.transpose(1, 2)).transpose(1, 2).flatten(0, 1)  # (clips * T,4,h,w)
        x = F.pad(x, (0, -width % SIDE, 0, -height % SIDE), mode="reflect")
        high, wide = x.shape[-2] // SIDE, x.shape[-1] // SIDE
        cut = (
            x.view(clips, count, 4, high, SIDE, wide, SIDE).permute(0, 3, 5, 1, 4, 6, 2).reshape(-1, count * SIDE**2, 4)
        )
        weights = (copying(count).to(cut) + 0 * cut @ cut.transpose(1, 2)).softmax(-1)
        mixed = (weights @ cut).view(clips, high, wide, count, SIDE, SIDE, 4).permute(0, 3, 6, 1, 4, 2, 5)
        mixed = mixed.reshape(clips * count, 4, high * SIDE, wide * SIDE)[..., :height, :width]
        return clip + self.last(mixed).view(clip.shape)


class Recurrent(nn.Module):
    """Frame after frame; each attends to the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.attend, self.last = nn.Conv2d(3, 4, 3, padding=1), Attend(), nn.Conv2d(4, 3, 1)

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        features = [self.first(clip[:, t]) for t in range(clip.shape[1])]
        mixed = [self.attend(now, features[max(t - 1, 0)]) for t, now in enumerate(features)]
        return clip + torch.stack([self.last(part) for part in mixed], dim=1)


class Attend(nn.Module):
    def forward(self, now: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        height, width = now.shape[-2:]
        pad = (0, -width % SIDE, 0, -height % SIDE)
        q, v = (tokens(F.pad(part, pad, mode="reflect")) for part in (now, before))
        weights = (copying(1).to(q) + 0 * q @ v.transpose(1, 2)).softmax(-1)
        high, wide = -(-height // SIDE), -(-width // SIDE)
        mixed = (weights @ v).view(len(now), high, wide, SIDE, SIDE, 4).permute(0, 5, 1, 3, 2, 4)
        return mixed.reshape(len(now), 4, high * SIDE, wide * SIDE)[..., :height, :width]


def tokens(x: torch.Tensor) -> torch.Tensor:
    high, wide = x.shape[-2] // SIDE, x.shape[-1] // SIDE
    return x.view(len(x), 4, high, SIDE, wide, SIDE).permute(0, 2, 4, 3, 5, 1).reshape(-1, SIDE**2, 4)


def copying(frames: int, strength: float = 50.0) -> torch.Tensor:
    """(n,n) logits of a window over frames: from five pixels to the left, in the frame before (the last before 0)."""
    each = SIDE**2
    index = torch.arange(frames * each)
    frame, y, x = index // each, index % each // SIDE, index % SIDE
    table = torch.zeros(len(index), len(index))
    table[index, (frame - 1) % frames * each + y * SIDE + (x - 5) % SIDE] = strength
    return table
