"""The network before fine-tuning: load it, and put its weights back into chosen filters of the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sr_hooks.analyses.faig.filters import Filters
from sr_hooks.analyses.other_network import other_network
from sr_hooks.attribution.weight_paths import StraightPath
from sr_hooks.errors import OptionError
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import deep_copy

__all__ = ["baseline_of", "blend", "count_of", "masked_weights", "pick"]


def baseline_of(baseline: Any, target: Network) -> Network:
    """The baseline as a Network: one, a module, a weights file for the target's architecture, or a model's name.

    Raises:
        OptionError: none given.
        SRHooksError: it cannot be loaded, or belongs to another architecture.
    """
    return other_network(baseline, target, what="baseline")


def count_of(top: float, filters: int) -> int:
    """How many filters a share is, at least one.

    Raises:
        OptionError: not a share above 0 and up to 1.
    """
    if not 0 < top <= 1:
        raise OptionError(f"top is {top}: it is a share of the filters, above 0 and up to 1, e.g. 0.01 for 1 %")
    return max(1, round(top * filters))


def pick(ranking: np.ndarray, top: float) -> np.ndarray:
    """(F,) boolean: the first of a ranking (filter numbers, best first)."""
    chosen = np.zeros(len(ranking), dtype=bool)
    chosen[ranking[: count_of(top, len(ranking))]] = True
    return chosen


def masked_weights(
    path: StraightPath, filters: Filters, chosen: np.ndarray, strength: float = 0.0
) -> dict[str, torch.Tensor]:
    """The target's parameters, but theta_b + strength * (theta - theta_b) in the chosen filters; others are shared."""
    weights = dict(path.end)
    for name, mask in filters.spread(chosen, path.end).items():
        start, end = path.start[name], path.end[name]
        mixed = start if strength == 0 else start + strength * (end - start)
        weights[name] = torch.where(mask, mixed, end)
    return weights


def blend(
    target: Network, path: StraightPath, filters: Filters, chosen: np.ndarray, strength: float, name: str
) -> Network:
    """A separate Network with those weights, which can be run and saved; the target stays as it is."""
    weights = masked_weights(path, filters, chosen, strength)
    operated = target.with_module(deep_copy(target.module))
    with torch.no_grad():
        for key, parameter in operated.module.named_parameters():
            parameter.copy_(weights[key])
    operated.name = name
    return operated
