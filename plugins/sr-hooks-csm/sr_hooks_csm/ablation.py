"""What a channel is worth: PSNR of the output with it set to zero, by tails in batches, without a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from sr_hooks import Network
from sr_hooks.attribution import RecordedTail, RecordedTails, Untraceable
from sr_hooks.hooks import Tap, intervene, replace
from sr_hooks.images import psnr
from sr_hooks.inference import ExecutionPlan, Tail, in_batches
from sr_hooks_csm.published import truncated
from sr_hooks_csm.saliency import channel_axis

__all__ = ["Measure", "Metric", "Tails", "ablated_psnr", "quality", "tail_batch", "without_channels"]

Metric = Literal["psnr", "psnr_y"]
Measure = Literal["psnr", "psnr_y", "rdsr"]
"""rdsr: psnr of 8-bit images that are cut down, not rounded, as the public code has it."""

_POSITIONS = 4 * 64 * 64  # of inputs that go through at once: fewer, and calls cost more than what they compute
_CACHED = 4 * 32 * 32  # the same on a CPU: 1, 2, 4 and 8 images of 32x32 cost 10.5, 9.2, 8.7 and 9.6 ms each
_TOLERANCE = 200  # roundings of float32, relative to the output's largest value, as of sr_hooks.inference.Tail


def quality(output: torch.Tensor, gt: torch.Tensor, border: int, metric: Measure) -> torch.Tensor:
    """(N,) PSNR in dB of outputs clipped to [0, 1]; not rounded to 8 bits, which would hide what a channel changes."""
    if metric == "rdsr":
        return psnr(truncated(output), truncated(gt).to(output.device), border=border)
    return psnr(
        output.float().clamp(0, 1), gt.to(output.device), border=border, colour="y" if metric == "psnr_y" else "rgb"
    )


def tail_batch(plan: ExecutionPlan, lr: torch.Tensor, device: torch.device) -> int:
    """How many features go through a tail at once: the plan's batch, more where the image is small."""
    positions = _CACHED if device.type == "cpu" else _POSITIONS
    return max(plan.batch, min(64, positions // (lr.shape[-2] * lr.shape[-1])))


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
        magnitude = feature.abs()
        whole = magnitude.sum()
        parts = torch.stack([magnitude.select(axis, channel).sum() for channel in channels])
        shares = (whole - parts) / whole  # in the feature's precision: the published code's very bits
        of_image.div_(torch.where(shares > 0, shares, 1.0).view(size, *[1] * feature.ndim))
    return out


class Tails:
    """The tails of one image at every tap: of the network's recorded operations where these are proved to be its own.

    A recording is proved once for a size of images, a tap at a time: the output of the image as it is, and with one
    channel set to zero, must be those of whole forwards. Where there is no such recording a tail is a `Tail`.
    """

    def __init__(self, network: Network, taps: Sequence[Tap], plan: ExecutionPlan) -> None:
        self.network, self.taps, self.plan = network, list(taps), plan
        self.proved: dict[tuple[str, tuple[int, ...]], bool] = {}
        self._recordings: dict[tuple[int, ...], RecordedTails | None] = {}
        self._agrees: dict[tuple[str, tuple[int, ...]], bool] = {}

    def start(self, x: torch.Tensor, own: torch.Tensor, batch: int) -> None:
        """Begin with the image x (1,C,h,w), laid out, whose output is `own`."""
        self._x, self._recorded = x, self._recording(tuple(x.shape), batch)
        if self._recorded is None:
            return
        try:
            self._recorded.start(x)
        except RuntimeError:  # memory, or an operation that takes its arguments in a module's own way only
            self._recorded = None
        else:
            self._recorded = self._recorded if _equal(self._recorded.output, own) else None

    def _recording(self, shape: tuple[int, ...], batch: int) -> RecordedTails | None:
        if shape not in self._recordings:
            try:
                tails = RecordedTails(self.network, shape[1:], self.taps, self.plan, batch=batch)
            except Untraceable:
                self._recordings[shape] = None
            else:
                self._recordings[shape] = tails
        return self._recordings[shape]

    def tail(self, tap: Tap, *, rescale: bool) -> Tail | RecordedTail:
        """What follows a tap, for the image that `start` was given last."""
        key = (str(tap), tuple(self._x.shape))
        if self._recorded is not None:
            recorded = self._recorded.tail(tap)
            if key not in self._agrees:
                self._agrees[key] = self._prove(recorded, rescale=rescale)
            if self._agrees[key]:
                self.proved[key] = True
                return recorded
        tail = Tail(self.network, self._x, tap, probe=key not in self.proved)
        if key in self.proved:
            tail.replays = self.proved[key]
        self.proved[key] = tail.replays
        return tail

    @torch.no_grad()
    def _prove(self, tail: RecordedTail, *, rescale: bool) -> bool:
        """Whether the output without the feature's first channel is that of a whole forward."""
        changed = without_channels(tail.feature, range(1), tail.tap, rescale=rescale)
        with intervene(self.network.module, {tail.tap: replace(changed)}):
            expected = self.network(self._x)
        return _equal(_without(tail, changed, range(1), rescale=rescale), expected)


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    largest = max(float(other.abs().max()), torch.finfo(torch.float32).tiny)
    return float((one - other).abs().max()) <= _TOLERANCE * torch.finfo(torch.float32).eps * largest


def _without(tail: Tail | RecordedTail, features: torch.Tensor, channels: range, *, rescale: bool) -> torch.Tensor:
    if isinstance(tail, RecordedTail) and not rescale:
        return tail.without(features, channels)
    return tail(features)


def ablated_psnr(
    tail: Tail | RecordedTail,
    gt: torch.Tensor,
    plan: ExecutionPlan,
    *,
    batch: int,
    border: int,
    metric: Measure,
    rescale: bool,
    bar: Any = None,
) -> torch.Tensor:
    """(C,) PSNR with each channel of the tail's feature zeroed in turn, on the CPU."""
    count = tail.feature.shape[channel_axis(tail.feature, tail.tap)]

    def compute(part: slice) -> torch.Tensor:
        channels = range(part.start, part.stop)
        features = without_channels(tail.feature, channels, tail.tap, rescale=rescale)
        features = plan.lay_out(features) if features.ndim == 4 else features
        return quality(_without(tail, features, channels, rescale=rescale), gt, border, metric)

    return torch.cat([values for _, values in in_batches(count, compute, batch=batch, bar=bar)]).cpu()
