"""The published procedures, written from their descriptions, on any device: LAM, FAIG, CSM and CEM."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional as F

SIGMA, KERNEL = 1.2, 9


def blurred(image: np.ndarray, steps: int) -> list[np.ndarray]:
    """steps + 1 images (h,w,C): a 9x9 Gaussian kernel on the host, sigma from 1.2 to 0."""
    axis = np.arange(KERNEL) - KERNEL // 2
    square = axis[:, None] ** 2 + axis[None, :] ** 2
    images = []
    for sigma in np.linspace(SIGMA, 0, steps + 1):
        kernel = np.exp(-square / (2.0 * (sigma + 1e-5) ** 2))
        images.append(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101))
    return images


def objective(output: torch.Tensor, window: Sequence[int]) -> torch.Tensor:
    """The sum over the window of the whole output's sqrt(dy^2 + dx^2)."""
    dy = output[..., :-1, :] - output[..., 1:, :]
    dx = output[..., :, :-1] - output[..., :, 1:]
    magnitude = (dy.square()[..., :, :-1] + dx.square()[..., :-1, :]).sqrt()
    top, left, size = window
    return magnitude[..., top : top + size, left : left + size].sum()


def lam(
    module: torch.nn.Module, lr: torch.Tensor, window: Sequence[int], device: torch.device, steps: int = 50
) -> np.ndarray:
    """(C,h,w): one image at a time to the device, backward to everything, the gradient back to the host."""
    points = blurred(np.ascontiguousarray(lr[0].permute(1, 2, 0).numpy()), steps)
    total = np.zeros_like(points[0])
    for before, after in pairwise(points):
        x = torch.from_numpy(np.ascontiguousarray(after.transpose(2, 0, 1)))[None].to(device).requires_grad_()
        module.zero_grad()
        objective(module(x), window).backward()
        assert x.grad is not None
        total += np.nan_to_num(x.grad[0].cpu().numpy()).transpose(1, 2, 0) * (after - before)
    return total.transpose(2, 0, 1)


def lam_reference(
    module: torch.nn.Module, lr: torch.Tensor, window: Sequence[int], device: torch.device, intervals: int
) -> np.ndarray:
    """The integral of the published objective along the published path, trapezoid, points in batches of 16."""
    points = blurred(np.ascontiguousarray(lr[0].permute(1, 2, 0).numpy()), intervals)
    gradients = []
    for first in range(0, len(points), 16):
        batch = np.stack([point.transpose(2, 0, 1) for point in points[first : first + 16]])
        x = torch.from_numpy(np.ascontiguousarray(batch)).to(device).requires_grad_()
        (gradient,) = torch.autograd.grad(objective(module(x), window), x)
        gradients += list(np.nan_to_num(gradient.double().cpu().numpy()))
    total = np.zeros(lr[0].shape)
    for i in range(intervals):
        total += (gradients[i] + gradients[i + 1]) / 2 * (points[i + 1] - points[i]).transpose(2, 0, 1)
    return total


def faig_gradients(
    build: Any, start: dict[str, torch.Tensor], end: dict[str, torch.Tensor], lr: torch.Tensor, gt: torch.Tensor,
    steps: int, run: int,
) -> np.ndarray:  # fmt: skip
    """Scores of one image, the first `run` of `steps` left-rule steps; the network is built anew in each."""
    kernels = [name for name, value in end.items() if value.ndim == 4]
    sums = {name: torch.zeros_like(end[name]) for name in kernels}
    for step in range(run):
        alpha = step / steps
        network = build().to(lr.device)
        network.load_state_dict({k: alpha * start[k] + (1 - alpha) * end[k] for k in end}, strict=True)
        network.eval()
        network.zero_grad()
        F.mse_loss(network(lr), gt, reduction="sum").backward()
        for name, parameter in network.named_parameters():
            if name in sums:
                sums[name] += parameter.grad
    scores = [(sums[k] / steps * (start[k] - end[k])).abs().sum(dim=(2, 3)).flatten() for k in kernels]
    return torch.cat(scores).double().cpu().numpy()


def psnr(output: torch.Tensor, gt: torch.Tensor) -> float:
    return -10 * float((output.clamp(0, 1) - gt).double().square().mean().log10())


def csm_of_tap(
    build: Any, weights: dict[str, torch.Tensor], tap: str, lr: torch.Tensor, gt: torch.Tensor, channels: Sequence[int]
) -> Any:
    """Saliency sums (C,) and PSNR by channel at a module: the network built anew, then one whole forward a channel."""
    network = build().to(lr.device).eval()
    network.load_state_dict(weights, strict=True)
    part, kept = network.get_submodule(tap), {}

    def keep(module: Any, args: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        kept["feature"] = output

    handle = part.register_forward_hook(keep)
    out = network(lr.clone().requires_grad_())
    handle.remove()
    dy, dx = out[..., :-1, :-1] - out[..., 1:, :-1], out[..., :-1, :-1] - out[..., :-1, 1:]
    (dy.square() + dx.square() + 1e-12).sqrt().sum().backward()
    size = kept["feature"].grad[0].abs()
    sums = (size / size.max()).sum(dim=(1, 2)).cpu().numpy()
    values = []
    for channel in channels:

        def drop(module: Any, args: Any, output: torch.Tensor, channel: int = channel) -> torch.Tensor:
            output = output.clone()
            output[:, channel] = 0
            return output

        handle = part.register_forward_hook(drop)
        values.append(psnr(network(lr).detach(), gt))
        handle.remove()
    return sums, values
