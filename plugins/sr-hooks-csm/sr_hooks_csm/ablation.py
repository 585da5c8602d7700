"""What a channel is worth: PSNR of the output with it set to zero, by tails in batches, without a graph."""

from __future__ import annotations

from typing import Any, Literal

import torch

from sr_hooks.images import psnr
from sr_hooks.inference import ExecutionPlan, Tail, in_batches
from sr_hooks_csm.saliency import by_channel, channel_axis

__all__ = ["Metric", "ablated_psnr", "quality", "tail_batch", "without_channels"]

Metric = Literal["psnr", "psnr_y"]

_POSITIONS = 4 * 64 * 64  # of inputs that go through at once: fewer, and calls cost more than what they compute


def quality(output: torch.Tensor, gt: torch.Tensor, border: int, metric: Metric) -> torch.Tensor:
    """(N,) PSNR in dB of outputs clipped to [0, 1]; not rounded to 8 bits, which would hide what a channel changes."""
    return psnr(
        output.float().clamp(0, 1), gt.to(output.device), border=border, colour="y" if metric == "psnr_y" else "rgb"
    )


def tail_batch(plan: ExecutionPlan, lr: torch.Tensor) -> int:
    """How many features go through a tail at once: the plan's batch, more where the image is small."""
    return max(plan.batch, min(64, _POSITIONS // (lr.shape[-2] * lr.shape[-1])))


def without_channels(feature: torch.Tensor, channels: range, tap: Any, *, rescale: bool) -> torch.Tensor:
    """(len(channels),...) copies of one image's feature, in copy i channel channels[i] zero.

    With `rescale` the others are scaled so that the sum of |feature| stays what it was, as the published code does.
    """
    axis, rows, size = channel_axis(feature, tap), len(feature), len(channels)
    out = feature.repeat(size, *[1] * (feature.ndim - 1))
    of_image = out.view(size, rows, *feature.shape[1:])  # rows is 1 but for networks that cut images into parts
    for index, channel in enumerate(channels):
        of_image[index].select(axis, channel).zero_()
    if rescale:
        sums = by_channel(feature, tap).abs().sum(dim=(0, 2), dtype=torch.float64)
        left = sums.sum() - sums[channels.start : channels.stop]
        factors = torch.where(left > 0, sums.sum() / left.clamp(min=torch.finfo(torch.float64).tiny), 1.0)
        of_image.mul_(factors.to(out.dtype).view(size, *[1] * feature.ndim))
    return out


def ablated_psnr(
    tail: Tail,
    gt: torch.Tensor,
    plan: ExecutionPlan,
    *,
    batch: int,
    border: int,
    metric: Metric,
    rescale: bool,
    bar: Any = None,
) -> torch.Tensor:
    """(C,) PSNR with each channel of the tail's feature zeroed in turn, on the CPU."""
    count = tail.feature.shape[channel_axis(tail.feature, tail.tap)]

    def compute(part: slice) -> torch.Tensor:
        features = without_channels(tail.feature, range(part.start, part.stop), tail.tap, rescale=rescale)
        features = plan.lay_out(features) if features.ndim == 4 else features
        return quality(tail(features), gt, border, metric).cpu()

    return torch.cat([values for _, values in in_batches(count, compute, batch=batch, bar=bar)])
