"""Warnings about a network whose maps need care: random numbers, mixed images of a batch, parts without gradients."""

from __future__ import annotations

import torch

from sr_hooks.hooks.gradient_breaks import find_gradient_breaks
from sr_hooks.networks.network import Network

__all__ = ["network_warnings"]

_SAME = 1e-3  # of the output's spread; the rounding of other layouts and batches stays far below


def network_warnings(network: Network, x: torch.Tensor) -> tuple[str, ...]:
    """Run the network a few times and return a sentence for each warning.

    Args:
        x: (1,C,h,w) in [0, 1].
    """
    x = x.to(network.device)
    warnings = []
    with network.prepared(), torch.no_grad():
        first, second = network(x).float(), network(x).float()
        if _far(second, first):
            warnings.append("two runs on one image differ: it draws random numbers, and so maps of it differ too")
        else:
            try:
                in_batch = network(torch.cat([x, x.flip(-1)])).float()[:1]
            except RuntimeError as error:
                warnings.append(f"it takes one image at a time, not two: {str(error).splitlines()[0]}")
            else:
                if _far(in_batch, first):
                    warnings.append("images of one batch change each other's output: maps of several nodes are mixed")
    return (*warnings, *_gradient_warnings(network, x))


def _far(one: torch.Tensor, other: torch.Tensor) -> bool:
    spread = float(other.std()) if other.numel() > 1 else 1.0
    return float((one - other).abs().max()) > _SAME * max(spread, 1e-6)


def _gradient_warnings(network: Network, x: torch.Tensor) -> list[str]:
    with network.prepared():
        breaks = find_gradient_breaks(network.module, lambda: network(x.clone().requires_grad_()))
    if not breaks:
        return []
    more = f" and {len(breaks) - 3} more" if len(breaks) > 3 else ""
    return ["a gradient ends " + "; ".join(str(part) for part in breaks[:3]) + more]
