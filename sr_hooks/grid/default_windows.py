"""Where to look in an image when nobody says where: the window with the most edges."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sr_hooks.images.image import blur

__all__ = ["liveliest"]

_GREY = (0.299, 0.587, 0.114)
_SIDE = 32  # pixels for every 256 of the shorter side


def liveliest(image: torch.Tensor) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the square in (1,C,H,W) with the largest mean gradient of the grey image.

    Its side is 32 pixels for every 256 of the shorter side, its corner on multiples of a quarter of that, and it keeps
    its own width away from the border where there is room, since a map there is cut off.
    """
    height, width = image.shape[-2:]
    side = min(_SIDE * max(1, round(min(height, width) / 256)), height, width)
    grey = image if image.shape[1] == 1 else (image * image.new_tensor(_GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    smooth = blur(grey, [1.0])
    dy, dx = smooth[..., 1:, :-1] - smooth[..., :-1, :-1], smooth[..., :-1, 1:] - smooth[..., :-1, :-1]
    edges = F.pad((dx.square() + dy.square()).sqrt(), (0, 1, 0, 1))
    margin = side if min(height, width) >= 3 * side else 0
    inner = edges[..., margin : height - margin, margin : width - margin]
    step = max(side // 4, 1)
    means = F.avg_pool2d(inner, side, stride=step)[0, 0]
    top, left = divmod(int(means.argmax()), means.shape[1])
    return margin + top * step, margin + left * step, side, side
