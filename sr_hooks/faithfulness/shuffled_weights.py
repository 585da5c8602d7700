"""The control of features: a network that has the sizes of the trained weights and nothing of what was learned."""

from __future__ import annotations

import copy

import torch

from sr_hooks.core.seeds import torch_generator
from sr_hooks.networks.network import Network

__all__ = ["shuffled"]


def shuffled(network: Network, seed: int) -> Network:
    """A copy whose weight tensors hold their own entries in another order; tensors of one axis stay as they are.

        control = shuffled(network, seed=0)

    Args:
        network: stays as it is.
        seed: of the order; one seed gives one order.
    """
    module = copy.deepcopy(network.module)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                order = torch.randperm(parameter.numel(), generator=torch_generator(seed, "shuffled weights", name))
                parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))
    return network.with_module(module)
