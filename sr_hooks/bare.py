"""The network itself, out of what trainers wrap it in, and copies of it."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from sr_hooks.errors import NetworkError

__all__ = ["bare", "plain_copy", "uncompiled"]


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


def uncompiled(module: Any) -> nn.Module:
    """The network out of DataParallel, or a refusal of what hooks cannot be added to.

    Raises:
        NetworkError: a class, no module, or compiled as a whole or in part.
    """
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise NetworkError(f"{module.__name__} is a class; give an instance: {module.__name__}(...)")
    if not isinstance(module, nn.Module):
        raise NetworkError(f"a network is a torch.nn.Module or a sr_hooks.Network, not a {type(module).__name__}")
    for name, part in module.named_modules():
        if hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None:
            where = f"its part {name}" if name else type(module).__name__
            raise NetworkError(
                f"{where} is compiled by torch.compile, and hooks added to it do not fire: give the original module "
                "(compiled._orig_mod), it shares the same weights"
            )
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return module.module
    return module
