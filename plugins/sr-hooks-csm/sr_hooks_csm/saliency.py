"""Channel saliency: the objective's gradient at many taps from one forward and one backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sr_hooks import Network, capture
from sr_hooks.attribution import Objective
from sr_hooks.errors import NetworkError, TapError
from sr_hooks.hooks import Tap
from sr_hooks.images import Window
from sr_hooks.inference import ExecutionPlan

__all__ = ["Saliency", "by_channel", "channel_axis", "saliencies"]


@dataclass(frozen=True)
class Saliency:
    """Of one image at one tap with C channels.

    Attributes:
        total: (C,) the map's sum. The map is |gradient| over the largest |gradient| of the tap.
        activation: (C,) mean |feature|, which knows nothing of the output: a control.
        first_order: (C,) |sum of gradient times feature|, to first order the objective's change when the channel is
            zeroed: a control that costs nothing more.
        maps: (k,h,w) maps of the channels `shown`, those with the largest totals; none of a feature without positions.
        nonfinite: gradient entries that were NaN or infinite, taken as 0.
    """

    total: np.ndarray
    activation: np.ndarray
    first_order: np.ndarray
    maps: np.ndarray
    shown: np.ndarray
    nonfinite: int


def channel_axis(feature: torch.Tensor, tap: Tap | str) -> int:
    """1 for (N,C,h,w), 2 for a transformer's tokens (N,L,C).

    Raises:
        TapError: the feature is of neither kind.
    """
    if feature.ndim not in (3, 4):
        raise TapError(f"what passes {tap} has shape {tuple(feature.shape)}: give taps of (N,C,h,w) or (N,L,C)")
    return 1 if feature.ndim == 4 else 2


def by_channel(feature: torch.Tensor, tap: Tap | str) -> torch.Tensor:
    """A feature as (N,C,positions)."""
    return feature.movedim(channel_axis(feature, tap), 1).flatten(2)


def saliencies(
    network: Network, lr: torch.Tensor, taps: Sequence[Tap], objective: Objective, plan: ExecutionPlan, *, maps: int
) -> list[Saliency]:
    """At every tap for one image (1,C,h,w), from one forward and one backward; `maps` of each tap's maps are kept.

    Raises:
        NetworkError: no gradient reaches a tap.
    """

    def compute() -> list[tuple[torch.Tensor, torch.Tensor]]:
        x = plan.lay_out(lr.to(network.device)).requires_grad_()
        with torch.enable_grad(), capture(network.module, taps, keep_graph=True) as kept:
            output = network(x).float()
            whole = Window(0, 0, *output.shape[-2:])
            value = objective(output, x, whole).sum()
        features = [kept[str(tap)] for tap in taps]
        deaf = [str(tap) for tap, feature in zip(taps, features, strict=True) if not feature.requires_grad]
        if deaf or not value.requires_grad:
            raise NetworkError(f"no gradient reaches {', '.join(deaf) or 'the taps'} of {network.name}: it detaches")
        gradients = torch.autograd.grad(value, features, allow_unused=True)
        return [
            (feature.detach(), torch.zeros_like(feature) if gradient is None else gradient)
            for feature, gradient in zip(features, gradients, strict=True)
        ]

    with network.channels_last(plan.channels_last):
        pairs = network.differentiate(compute)
    measured = [_measured(*pair, tap, maps) for tap, pair in zip(taps, pairs, strict=True)]
    # An accelerator is waited for once, and not for each number of each tap.
    numbers = torch.cat([each.flatten().double() for of_tap in measured for each in of_tap]).cpu()
    parts = numbers.split([sum(each.numel() for each in of_tap) for of_tap in measured])
    return [_saliency(of_tap, part) for of_tap, part in zip(measured, parts, strict=True)]


def _measured(feature: torch.Tensor, gradient: torch.Tensor, tap: Tap, maps: int) -> list[torch.Tensor]:
    """The numbers of a `Saliency` in its order, on the device, which is not waited for."""
    nonfinite = (~torch.isfinite(gradient)).sum()
    gradient = torch.nan_to_num(gradient.float(), 0.0, 0.0, 0.0)
    size = gradient.abs()
    largest = size.max()
    largest = largest.where(largest > 0, 1.0)
    values, slopes = by_channel(feature.float(), tap), by_channel(gradient, tap)
    total = slopes.abs().sum(dim=(0, 2), dtype=torch.float64) / largest
    shown = torch.argsort(-total, stable=True)[: maps if feature.ndim == 4 else 0]
    return [
        total,
        values.abs().mean(dim=(0, 2), dtype=torch.float64),
        (values.double() * slopes.double()).sum(dim=(0, 2)).abs(),
        size[0, shown] / largest if feature.ndim == 4 else size.new_zeros(0, 1, 1),
        shown,
        nonfinite,
    ]


def _saliency(measured: list[torch.Tensor], numbers: torch.Tensor) -> Saliency:
    """From the numbers (M,) of `measured` on the CPU."""
    parts = numbers.split([each.numel() for each in measured])
    *arrays, nonfinite = (part.view(like.shape).to(like.dtype) for part, like in zip(parts, measured, strict=True))
    return Saliency(*(array.numpy() for array in arrays), int(nonfinite))
