"""What of a network bears on a map of it, and is seen by running it a few times."""

from __future__ import annotations

import torch

from sr_hooks.hooks.gradient_breaks import find_gradient_breaks
from sr_hooks.networks.network import Network

__all__ = ["cautions_of"]

_SAME = 1e-3  # of the output's spread: what layouts and batches change by rounding stays far below


def cautions_of(network: Network, x: torch.Tensor) -> tuple[str, ...]:
    """Sentences on randomness, images of a batch that are mixed, and parts that gradients do not pass.

    Args:
        x: (1,C,h,w) in [0, 1].
    """
    x = x.to(network.device)
    found = []
    with network.prepared(), torch.no_grad():
        once, again = network(x).float(), network(x).float()
        if _far(again, once):
            found.append("two runs on one image differ: it draws random numbers, and so maps of it differ too")
        else:
            try:
                among = network(torch.cat([x, x.flip(-1)])).float()[:1]
            except RuntimeError as error:
                found.append(f"it takes one image at a time, not two: {str(error).splitlines()[0]}")
            else:
                if _far(among, once):
                    found.append("images of one batch change each other's output: maps of several nodes are mixed")
    return (*found, *_severed(network, x))


def _far(one: torch.Tensor, other: torch.Tensor) -> bool:
    spread = float(other.std()) if other.numel() > 1 else 1.0
    return float((one - other).abs().max()) > _SAME * max(spread, 1e-6)


def _severed(network: Network, x: torch.Tensor) -> list[str]:
    with network.prepared():
        lost = find_gradient_breaks(network.module, lambda: network(x.clone().requires_grad_()))
    if not lost:
        return []
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    return ["a gradient ends " + "; ".join(str(part) for part in lost[:3]) + more]
