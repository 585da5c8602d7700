"""The network itself, out of what trainers wrap it in, and copies of it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from sr_hooks.errors import NetworkError

__all__ = ["bare", "compiled_parts", "plain_copy", "uncompiled"]


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


def compiled_parts(module: nn.Module) -> list[str]:
    """Names of the parts that torch.compile runs in their stead; "" is the whole."""
    return [
        name
        for name, part in module.named_modules()
        if "_orig_mod" in part._modules or getattr(part, "_compiled_call_impl", None) is not None
    ]


def uncompiled(module: Any) -> nn.Module:
    """The network itself, out of DataParallel, DistributedDataParallel and torch.compile.

    Parts that are compiled stay: `Network.prepared` has torch run them as they were written, so that hooks fire.

    Raises:
        NetworkError: a class, no module, or compiled in part where torch cannot be told to leave that off.
    """
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise NetworkError(f"{module.__name__} is a class; give an instance: {module.__name__}(...)")
    if not isinstance(module, nn.Module):
        raise NetworkError(f"a network is a torch.nn.Module or a sr_hooks.Network, not a {type(module).__name__}")
    module = bare(module)
    parts = compiled_parts(module)
    if parts and not hasattr(torch.compiler, "set_stance"):
        where = f"its part {parts[0]}" if parts[0] else type(module).__name__
        raise NetworkError(
            f"{where} is compiled by torch.compile, and in this version of torch hooks added to it do not fire: give "
            "the module as it was before (compiled._orig_mod), or use torch 2.6 or later"
        )
    return module
