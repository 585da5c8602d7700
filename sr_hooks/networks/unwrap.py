"""The network itself, out of what trainers wrap it in, and copies of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from sr_hooks.errors import NetworkError

__all__ = ["bare", "compiled_parts", "derived_weights", "plain_copy", "settled", "twin_of", "uncompiled"]


def bare(module: Any) -> Any:
    """The network out of DistributedDataParallel, DataParallel and torch.compile, whose weights it shares."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif isinstance(module, nn.Module) and "_orig_mod" in module._modules:
            module = module._orig_mod
        else:
            return module


def twin_of(module: nn.Module, memo: Mapping[int, Any] | None = None) -> nn.Module:
    """copy.deepcopy, also of modules that keep what they computed, such as weights that are normalised."""
    kept = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, {**kept, **(memo or {})})


def plain_copy(module: nn.Module) -> nn.Module:
    """A module of the same architecture and weights, without hooks or gradients, in evaluation mode."""
    other = twin_of(module)
    for part in other.modules():
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            hooks = getattr(part, kind)
            for key in [key for key, hook in hooks.items() if not isinstance(hook, (WeightNorm, SpectralNorm))]:
                del hooks[key]
    for parameter in other.parameters():
        parameter.grad = None
    return other.eval()


def derived_weights(module: nn.Module) -> list[str]:
    """Parts whose weights are computed from other tensors: weight and spectral normalisation, parametrisations."""
    return [name for name, part in module.named_modules() if parametrize.is_parametrized(part) or _old_norms(part)]


def settled(module: nn.Module) -> nn.Module:
    """The module itself; or, of one with derived weights, a copy that has what they come to as plain parameters."""
    if not derived_weights(module):
        return module
    other = twin_of(module).eval()
    for part in other.modules():
        if parametrize.is_parametrized(part):
            _fold(part)
        for hook in _old_norms(part):
            if isinstance(hook, WeightNorm):
                nn.utils.remove_weight_norm(part, hook.name)
            else:
                nn.utils.remove_spectral_norm(part, hook.name)
    return other


def _fold(part: nn.Module) -> None:
    """As torch's remove_parametrizations, which would take the weight from all copies: they share a class."""
    values = {name: getattr(part, name).detach().clone() for name in part.parametrizations}  # type: ignore[union-attr]
    part.__class__ = type(part).__mro__[1]
    del part.parametrizations
    for name, value in values.items():
        part.register_parameter(name, nn.Parameter(value))


def _old_norms(part: nn.Module) -> list[Any]:
    """The hooks by which torch normalised weights before there were parametrisations."""
    return [hook for hook in part._forward_pre_hooks.values() if isinstance(hook, (WeightNorm, SpectralNorm))]


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
