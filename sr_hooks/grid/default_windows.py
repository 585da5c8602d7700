"""The default window of an image: the square with the most edges."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sr_hooks.images.image import blur

__all__ = ["window_with_most_edges"]

_GREY = (0.299, 0.587, 0.114)
_SIDE = 32  # pixels for every 256 of the shorter side


def window_with_most_edges(image: torch.Tensor) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of the square in (1,C,H,W) with the largest mean gradient of the grey image.

    The side is 32 pixels for every 256 of the shorter side. The corner lies on multiples of a quarter of the side.
    The square stays one side away from the border if the image is large enough, because the border cuts a map off.
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
