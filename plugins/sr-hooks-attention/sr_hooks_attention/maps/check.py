"""The check of attention weights: do they agree with what the network used, more than another query's weights would?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

import sr_hooks
from sr_hooks.core import generator
from sr_hooks.errors import NetworkError
from sr_hooks.images import Window
from sr_hooks.statistics import attribution_map, rank_correlation, ranks

__all__ = ["Agreement", "agreement", "used_pixels"]

_LEAST = 8  # pixels in reach, and no fewer
_DRAWS = 999


@dataclass(frozen=True)
class Agreement:
    """How weights agree with the pixels used; None where fewer than 8 pixels are in reach, or all are used alike.

    Attributes:
        correlation: Spearman's of weights and use, over the pixels in reach; None too where all weights are alike.
        read_rank: mean rank, by use, of the pixels in reach, weighted by the weights: 1 if all the weight is at the
            pixel that is used most, 0.5 if weights have nothing to do with use.
        p_shuffled: (1 + number of shuffles of the weights in reach with such a read_rank) / (1 + 999).
        control: the median read_rank of other queries' weights on the same pixels; None without others.
        p: (1 + number of others with such a read_rank) / (1 + others); None without others.
        others: their number.
    """

    correlation: float | None = None
    read_rank: float | None = None
    p_shuffled: float | None = None
    control: float | None = None
    p: float | None = None
    others: int = 0


def used_pixels(network: sr_hooks.Network, lr: torch.Tensor, window: Window, how: str) -> np.ndarray:
    """(h,w), or (T,h,w) of a clip: what the sum over an output window owes to each input pixel.

    Args:
        network: over clips, at the window's frame.
        how: "lam", the LAM of the sum of intensities along the blur path, or "gradient", |gradient| summed over
            channels.
    """
    if how == "lam":
        with torch.enable_grad():
            frame: Any = network.frame if network.frames else "middle"
            lam = sr_hooks.lam(network, lr, window=window.as_tuple(), objective="intensity", frame=frame)
        return attribution_map(lam.attribution)

    def compute() -> torch.Tensor:
        x = lr.clone().requires_grad_()
        with torch.enable_grad():
            output = network(x)
            if not output.requires_grad:
                raise NetworkError(f"no gradient reaches the input of {network.name}: somewhere inside it detaches")
            return torch.autograd.grad(window.crop(output).sum(), x)[0]

    gradient: np.ndarray = network.differentiate(compute)[0].abs().sum(dim=-3).double().cpu().numpy()
    return gradient


def agreement(weights: np.ndarray, used: np.ndarray, reach: np.ndarray, others: np.ndarray, seed: int = 0) -> Agreement:
    """Whether a query's weights lie on the pixels used, beside two controls.

    Args:
        weights: (h*w,) of the query.
        used: (h*w,) from `used_pixels`.
        reach: (h*w,) bool; only these pixels are compared.
        others: (N,h*w), the weights of other queries on the same pixels; N may be 0.
        seed: of the shuffled weights.
    """
    count, own = int(reach.sum()), weights[reach]
    place = ranks(used[reach]) / max(count - 1, 1) + 0.5
    if count < _LEAST or not place.std() > 0 or not own.sum() > 0:
        return Agreement()
    correlation = float(rank_correlation(own, used[reach]))
    read = float(own @ place / own.sum())
    mixed = generator(seed, "shuffled weights").permuted(np.tile(own, (_DRAWS, 1)), axis=1)
    answer = Agreement(None if np.isnan(correlation) else correlation, read, _share(mixed @ place / own.sum(), read))
    rest = others[:, reach]
    rest = rest[rest.sum(axis=1) > 0]
    if not len(rest):
        return answer
    control = rest @ place / rest.sum(axis=1)
    return replace(answer, control=float(np.median(control)), p=_share(control, read), others=len(rest))


def _share(control: np.ndarray, own: float) -> float:
    return float((1 + (control >= own - 1e-9).sum()) / (1 + len(control)))
