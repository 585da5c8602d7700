"""Unwrap a network from DataParallel, DistributedDataParallel, torch.compile and averages, and copy a network."""

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
from sr_hooks.hooks.firing import compiled_parts

__all__ = ["as_module", "deep_copy", "derived_weights", "fold_weights", "plain_copy", "unwrap"]


def unwrap(module: Any, *, like: nn.Module | None = None) -> Any:
    """Return the module inside DistributedDataParallel, DataParallel, torch.compile and averages; weights are shared.

    Averages are recognised by what they have, not by their class: torch's AveragedModel, timm's ModelEma, ema_pytorch's
    EMA, and diffusers' EMAModel, which holds a list of parameters.

    Args:
        like: the network whose average holds parameters alone; a copy of the network shares the average's tensors.
    """
    while True:
        inner = _inside(module, like)
        if inner is None:
            return module
        module = inner


def _inside(module: Any, like: nn.Module | None) -> Any:
    """The module that a wrapper or an average holds; None where it is neither."""
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return module.module
    if isinstance(module, nn.Module):
        parts = module._modules
        if "_orig_mod" in parts:
            return module._orig_mod
        if "ema_model" in parts and hasattr(module, "update_every"):  # ema_pytorch
            return parts["ema_model"] or module.online_model
        if set(parts) == {"module"} and (
            "n_averaged" in module._buffers  # torch's AveragedModel
            or (hasattr(module, "decay") and callable(getattr(module, "update", None)))  # timm's ModelEmaV2 and V3
        ):
            return parts["module"]
        return None
    if isinstance(module, type):
        return None
    if hasattr(module, "decay") and isinstance(getattr(module, "ema", None), nn.Module):  # timm's first ModelEma
        return module.ema
    if isinstance(getattr(module, "shadow_params", None), (list, tuple)):  # diffusers' EMAModel
        return _with_parameters(module, like)
    return None


def _with_parameters(average: Any, like: nn.Module | None) -> nn.Module | None:
    """A network with the parameters of an average; a copy of `like`, or what the average says that it is of."""
    kind, config = getattr(average, "model_cls", None), getattr(average, "model_config", None)
    if like is not None:
        module = deep_copy(like)
    elif kind is not None and config is not None and hasattr(kind, "from_config"):
        module = kind.from_config(config)
    else:
        return None
    parameters, values = list(module.named_parameters()), list(average.shadow_params)
    shapes = [value.shape for value in values]
    if shapes != [parameter.shape for _, parameter in parameters]:
        raise NetworkError(
            f"the {type(average).__name__} holds {len(values)} parameters that are not those of {type(module).__name__}"
        )
    for (name, _), value in zip(parameters, values, strict=True):
        part, _, last = name.rpartition(".")
        setattr(module.get_submodule(part), last, nn.Parameter(value, requires_grad=False))
    return module.eval()


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


def as_module(module: Any) -> nn.Module:
    """Return the module inside DataParallel, DistributedDataParallel, torch.compile and averages.

    Compiled parts stay inside it: `Network.prepared` has torch run them uncompiled, so that hooks fire.

    Raises:
        NetworkError: a class, no module, or a module with compiled parts where torch cannot run them uncompiled.
    """
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise NetworkError(f"{module.__name__} is a class; give an instance: {module.__name__}(...)")
    module = unwrap(module)
    if hasattr(module, "shadow_params") or hasattr(module, "m_name2s_name"):
        raise NetworkError(
            f"{type(module).__name__} holds the average of parameters without a network: copy them into a network "
            "(average.copy_to(network.parameters())) and give the network"
        )
    if not isinstance(module, nn.Module):
        raise NetworkError(f"a network is a torch.nn.Module or a sr_hooks.Network, not a {type(module).__name__}")
    parts = compiled_parts(module)
    if parts and not hasattr(torch.compiler, "set_stance"):
        part = f"its part {parts[0]}" if parts[0] else type(module).__name__
        raise NetworkError(
            f"{part} is compiled by torch.compile, and in this version of torch hooks added to it do not fire: give "
            "the module as it was before (compiled._orig_mod), or use torch 2.6 or later"
        )
    return module
