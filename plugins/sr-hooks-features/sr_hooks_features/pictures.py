"""Pictures of one layer's channels: which, in which order, and the composite of their principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from sr_hooks import Network, capture
from sr_hooks.attribution import make_objective
from sr_hooks.errors import NetworkError
from sr_hooks.images import Window
from sr_hooks_features.layout import maps_of

__all__ = ["composite_of", "saliency_of"]

_ENDS = (0.01, 0.99)  # quantiles of a component that become 0 and 1


def composite_of(maps: torch.Tensor) -> tuple[torch.Tensor, float]:
    """(3,h,w) in [0, 1], the first three principal components over channels of (C,h,w), and their share of variance.

    The largest weight of each component is positive, so that one feature gives one picture. A missing component is 0.5.
    """
    channels, height, width = maps.shape
    x = torch.nan_to_num(maps.double(), 0.0, 0.0, 0.0).flatten(1)
    x = x - x.mean(dim=1, keepdim=True)
    values, vectors = torch.linalg.eigh(x @ x.T)
    picture = torch.full((3, height * width), 0.5, dtype=torch.float64, device=maps.device)
    total = float(values.clamp(min=0).sum())
    for number in range(min(3, channels)):
        axis = vectors[:, -1 - number]
        if total <= 0 or float(values[-1 - number]) <= 1e-12 * total:
            continue
        component = axis @ x * torch.sign(axis[axis.abs().argmax()])
        low, high = torch.quantile(component, torch.tensor(_ENDS, dtype=component.dtype, device=component.device))
        picture[number] = ((component - low) / (high - low).clamp(min=1e-300)).clamp(0, 1)
    share = float(values[-3:].clamp(min=0).sum()) / total if total > 0 else 0.0
    return picture.view(3, height, width).float(), share


def saliency_of(
    network: Network, lr: torch.Tensor, taps: Sequence[str], objective: str
) -> Mapping[tuple[str, int], np.ndarray]:
    """For each tap and frame (C,) the sum over positions of |gradient| of the objective on the whole output (CSM).

    Raises:
        NetworkError: no gradient reaches a tap.
    """
    judge = make_objective(objective)

    def compute() -> list[torch.Tensor | None]:
        x = lr.to(network.device).clone().requires_grad_()
        with torch.enable_grad(), capture(network.module, taps, keep_graph=True) as captured:
            output = network(x).float()
            value = judge(output, x, Window(0, 0, *output.shape[-2:])).sum()
        unreached = [tap for tap in taps if not captured[tap].requires_grad]
        if unreached or not value.requires_grad:
            raise NetworkError(f"no gradient reaches {', '.join(unreached) or 'the layers'} of {network.name}")
        return list(torch.autograd.grad(value, [captured[tap] for tap in taps], allow_unused=True))

    scores: dict[tuple[str, int], np.ndarray] = {}
    for tap, gradient in zip(taps, network.differentiate(compute), strict=True):
        if gradient is None:
            continue
        for frame, maps in enumerate(maps_of(gradient.detach(), tap, lr.shape)):
            scores[tap, frame] = torch.nan_to_num(maps, 0.0, 0.0, 0.0).abs().double().sum(dim=(1, 2)).cpu().numpy()
    return scores
