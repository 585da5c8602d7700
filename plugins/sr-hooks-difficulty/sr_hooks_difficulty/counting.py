"""Multiply-accumulates of one forward pass, layer by layer, as the operations that really run add up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

import sr_hooks

__all__ = ["Counted", "multiply_accumulates"]


@dataclass(frozen=True)
class Counted:
    """What one forward took.

    Attributes:
        total: multiply-accumulates of convolutions, linear layers and all matrix products, attention's too.
            Sums, activations, norms and interpolation are not counted.
        layers: module to those that it ran itself, not by a part of it; they add up to the total.
    """

    total: int
    layers: dict[str, int]


def multiply_accumulates(network: sr_hooks.Network, x: torch.Tensor) -> tuple[torch.Tensor, Counted]:
    """The output for (N,C,h,w), without a graph, and what it took.

    A network that decides from the image which of its layers run is counted as it decided: run images one by one.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = network(x)
    whole = {name: sum(operations.values()) // 2 for name, operations in counter.get_flop_counts().items()}
    total = whole.pop("Global", 0)
    return output, Counted(total, _own(whole, total))


def _own(whole: dict[str, int], total: int) -> dict[str, int]:
    """Module's counts without those of its parts; names without the root's class."""
    counts = {name.partition(".")[2]: value for name, value in whole.items()}
    counts[""] = max(counts.get("", 0), total)
    own = dict(counts)
    for name, value in counts.items():
        if name:
            parent = name.rpartition(".")[0]
            while parent not in own:
                parent = parent.rpartition(".")[0]
            own[parent] -= value
    return {name or "(network)": value for name, value in own.items() if value > 0}
