"""The control: the same network with the entries of every weight shuffled, which has learned nothing."""

from __future__ import annotations

import copy

import torch

import sr_hooks
from sr_hooks.core import torch_generator

__all__ = ["shuffled"]


def shuffled(network: sr_hooks.Network, seed: int) -> sr_hooks.Network:
    """A copy whose weight tensors hold their own entries in another order; tensors of one axis stay as they are."""
    module = copy.deepcopy(network.module)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                order = torch.randperm(parameter.numel(), generator=torch_generator(seed, "shuffled weights", name))
                parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))
    return network.with_module(module)
