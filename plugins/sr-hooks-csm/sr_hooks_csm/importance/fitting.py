"""Fit one weight in [0, 1] for each channel of a tap: keep the output, with as few channels as a penalty allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from sr_hooks import Network, intervene
from sr_hooks.hooks import Tap
from sr_hooks.inference import ExecutionPlan
from sr_hooks_csm.saliency import channel_axis

__all__ = ["Keep", "decibels_lost", "fit_weights"]

Keep = Literal["output", "truth"]
"""What the fit keeps: the network's own output, or its PSNR against the ground truth."""

_RATE = 0.2  # first step of Adam; the steps shrink linearly to 0 within each penalty
_FLOOR = (1 / 255) ** 2 / 12  # mean squared error of rounding to 8 bits: no output is taken to be better


def fit_weights(
    network: Network,
    lr: torch.Tensor,
    gt: torch.Tensor,
    tap: Tap,
    plan: ExecutionPlan,
    *,
    penalties: Sequence[float],
    steps: int,
    keep: Keep,
    border: int,
    bar: Any = None,
) -> np.ndarray:
    """(penalties, C) weights of a tap's C channels for one image (1,C,h,w), each in [0, 1].

    For each penalty P, in order, the weights a minimise L(a) + P * mean(a), where L is `decibels_lost` with channel c
    of the tap's feature multiplied by a_c. All weights start at 1; each penalty starts where the last one ended.

    Raises:
        TapError: the feature is neither (N,C,h,w) nor (N,L,C).
    """
    with network.channels_last(plan.channels_last):
        x = plan.lay_out(lr.to(network.device))
        gt = gt.to(network.device)
        sizes: list[tuple[int, int]] = []  # axis of the channels, and how many

        def weighted(feature: torch.Tensor) -> torch.Tensor:
            axis = channel_axis(feature, tap)
            sizes.append((axis, feature.shape[axis]))
            shape = [1] * feature.ndim
            shape[axis] = feature.shape[axis]
            return feature * weights.to(feature).view(shape) if weights is not None else feature

        weights: torch.Tensor | None = None
        with torch.no_grad(), intervene(network.module, {tap: weighted}):
            own = network(x).float()
        weights = torch.ones(sizes[-1][1], device=network.device, requires_grad=True)

        def gradient(penalty: float) -> torch.Tensor:
            with torch.enable_grad(), intervene(network.module, {tap: weighted}):
                output = network(x).float()
                value = decibels_lost(output, own, gt, keep=keep, border=border) + penalty * weights.mean()
            return torch.autograd.grad(value, weights)[0]

        path = []
        for penalty in penalties:
            optimizer = torch.optim.Adam([weights], lr=_RATE)
            for step in range(steps):
                optimizer.param_groups[0]["lr"] = _RATE * (1 - step / steps)
                weights.grad = torch.nan_to_num(network.differentiate(lambda p=penalty: gradient(p)), 0.0, 0.0, 0.0)
                optimizer.step()
                with torch.no_grad():
                    weights.clamp_(0, 1)
                if bar is not None:
                    bar.update(1)
            path.append(weights.detach().cpu().numpy().copy())
    return np.stack(path)


def decibels_lost(
    output: torch.Tensor, own: torch.Tensor, gt: torch.Tensor, *, keep: Keep, border: int
) -> torch.Tensor:
    """How much PSNR an output (1,C,H,W) has lost, in dB, beside the network's own.

    keep="truth": 10 log10 of its squared error over that of `own`; below 0 if it is better. keep="output": the loss if
    the change of the output were independent of the error, 10 log10(1 + mean change² / mean error²); never below 0.
    """
    inside = (..., slice(border, -border or None), slice(border, -border or None))
    error = (own - gt)[inside].square().mean().clamp_min(_FLOOR)
    if keep == "truth":
        return 10 * torch.log10((output - gt)[inside].square().mean().clamp_min(_FLOOR) / error)
    return 10 * torch.log10(1 + (output - own)[inside].square().mean() / error)
