"""Look at video networks with analyses of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sr_hooks.errors import OptionError

__all__ = ["StillClip"]


class StillClip(nn.Module):
    """An image network made of a video network: the image stands still for some frames, and the middle one is kept.

    Layers are named as in the video network, under `network.`; one that runs for each frame, as recurrent networks'
    do, is tapped at one of its runs, `network.upconv1#2`, or at all of them through a pattern, `network.upconv?`.

    Not for: what a network makes of motion, of which a still clip has none.

    Args:
        network: maps (N,T,C,h,w) to (N,T,C,H,W) or, of the middle frame alone, (N,C,H,W).
        frames: T, at least 1.
    """

    def __init__(self, network: nn.Module, frames: int = 5) -> None:
        super().__init__()
        if frames < 1:
            raise OptionError(f"frames is {frames}: a clip has at least 1")
        self.network, self.frames = network, frames

    def forward(self, x: torch.Tensor) -> Any:
        """(N,C,h,w) to (N,C,H,W)."""
        out = self.network(x[:, None].repeat(1, self.frames, 1, 1, 1))
        return out[:, out.shape[1] // 2] if out.ndim == 5 else out
