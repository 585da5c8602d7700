"""The network itself, out of what trainers wrap it in, and copies of it."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

__all__ = ["bare", "plain_copy"]


def bare(module: Any) -> Any:
    """The network out of DistributedDataParallel, DataParallel and torch.compile, whose weights it shares."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif isinstance(module, nn.Module) and "_orig_mod" in module._modules:
            module = module._orig_mod
        else:
            return module


def plain_copy(module: nn.Module) -> nn.Module:
    """A module of the same architecture and weights, without hooks or gradients, in evaluation mode."""
    other = copy.deepcopy(module)
    for part in other.modules():
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            getattr(part, kind).clear()
    for parameter in other.parameters():
        parameter.grad = None
    return other.eval()
