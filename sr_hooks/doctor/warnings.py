"""Warnings about a network whose answers need care: not repeatable, mixed images of a batch, gradients that end."""

from __future__ import annotations

import torch

from sr_hooks.hooks.gradient_breaks import find_gradient_breaks
from sr_hooks.inference.behaviour import observe
from sr_hooks.networks.network import Network

__all__ = ["network_warnings"]


def network_warnings(network: Network, x: torch.Tensor) -> tuple[str, ...]:
    """A sentence for each warning: guessed facts, those of `inference.behaviour`, and where gradients end.

    Args:
        x: (1,C,h,w) in [0, 1].
    """
    behaviour = observe(network)
    warnings = [*network.warnings(), *behaviour.warnings()]
    if behaviour.one_at_a_time:
        warnings.append(f"the network takes one image at a time, not two: {behaviour.one_at_a_time}")
    return (*warnings, *_gradient_warnings(network, x.to(network.device)))


def _gradient_warnings(network: Network, x: torch.Tensor) -> list[str]:
    with network.prepared():
        breaks = find_gradient_breaks(network.module, lambda: network(x.clone().requires_grad_()))
    if not breaks:
        return []
    more = f" and {len(breaks) - 3} more" if len(breaks) > 3 else ""
    return ["a gradient ends " + "; ".join(str(part) for part in breaks[:3]) + more]
