"""Unwrap a network from DataParallel, DistributedDataParallel, torch.compile and averages, and copy a network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from sr_hooks.errors import NetworkError

__all__ = ["as_module", "compiled_parts", "deep_copy", "derived_weights", "fold_weights", "plain_copy", "unwrap"]


def unwrap(module: Any) -> Any:
    """Return the module inside DistributedDataParallel, DataParallel, torch.compile and averages; weights are shared.

    An average is torch's AveragedModel, which counts its updates beside the network, or an EMA of ema_pytorch, which
    holds the network in training as well.
    """
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif isinstance(module, nn.Module) and "_orig_mod" in module._modules:
            module = module._orig_mod
        elif isinstance(module, nn.Module) and {"module", "n_averaged"} <= {*module._modules, *module._buffers}:
            module = module.module
        elif isinstance(module, nn.Module) and {"ema_model", "initted"} <= {*module._modules, *module._buffers}:
            module = module.ema_model
        else:
            return module


def deep_copy(module: nn.Module, memo: Mapping[int, Any] | None = None) -> nn.Module:
    """Return a copy.deepcopy, also of modules that hold computed tensors, such as normalised weights."""
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, {**computed, **(memo or {})})


def plain_copy(module: nn.Module) -> nn.Module:
    """Return a deep copy in evaluation mode, without hooks and gradients."""
    other = deep_copy(module)
    for part in other.modules():
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            hooks = getattr(part, kind)
            for key in [key for key, hook in hooks.items() if not isinstance(hook, (WeightNorm, SpectralNorm))]:
                del hooks[key]
    for parameter in other.parameters():
        parameter.grad = None
    return other.eval()


def derived_weights(module: nn.Module) -> list[str]:
    """Names of the parts with weight norm, spectral norm or another parametrization."""
    return [name for name, part in module.named_modules() if parametrize.is_parametrized(part) or _old_norms(part)]


def fold_weights(module: nn.Module) -> nn.Module:
    """Return a copy with weight norm and parametrizations folded into plain weights, or the module if it has none."""
    if not derived_weights(module):
        return module
    other = deep_copy(module).eval()
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
    """Replace the parametrizations of a part by plain parameters.

    torch's remove_parametrizations would also change the other copies, because they share one class.
    """
    values = {name: getattr(part, name).detach().clone() for name in part.parametrizations}  # type: ignore[union-attr]
    part.__class__ = type(part).__mro__[1]
    del part.parametrizations
    for name, value in values.items():
        part.register_parameter(name, nn.Parameter(value))


def _old_norms(part: nn.Module) -> list[Any]:
    """The hooks of the older torch functions nn.utils.weight_norm and nn.utils.spectral_norm."""
    return [hook for hook in part._forward_pre_hooks.values() if isinstance(hook, (WeightNorm, SpectralNorm))]


def compiled_parts(module: nn.Module) -> list[str]:
    """Names of the parts that torch.compile has compiled; "" names the whole module."""
    return [
        name
        for name, part in module.named_modules()
        if "_orig_mod" in part._modules or getattr(part, "_compiled_call_impl", None) is not None
    ]


def as_module(module: Any) -> nn.Module:
    """Return the module inside DataParallel, DistributedDataParallel and torch.compile.

    Compiled parts stay inside it: `Network.prepared` has torch run them uncompiled, so that hooks fire.

    Raises:
        NetworkError: a class, no module, or a module with compiled parts where torch cannot run them uncompiled.
    """
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise NetworkError(f"{module.__name__} is a class; give an instance: {module.__name__}(...)")
    if not isinstance(module, nn.Module):
        raise NetworkError(f"a network is a torch.nn.Module or a sr_hooks.Network, not a {type(module).__name__}")
    module = unwrap(module)
    parts = compiled_parts(module)
    if parts and not hasattr(torch.compiler, "set_stance"):
        part = f"its part {parts[0]}" if parts[0] else type(module).__name__
        raise NetworkError(
            f"{part} is compiled by torch.compile, and in this version of torch hooks added to it do not fire: give "
            "the module as it was before (compiled._orig_mod), or use torch 2.6 or later"
        )
    return cast("nn.Module", module)
