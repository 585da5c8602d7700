"""What must hold for hooks to fire: the module itself and not its wrapper, run uncompiled, and not TorchScript."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from sr_hooks.errors import TapError
from sr_hooks.hooks.taps import Tap

__all__ = ["check_reachable", "compiled_parts", "firing", "root_of"]

_REASON = "which runs no hooks: give the network as it was before torch.jit.script or trace"


def compiled_parts(module: nn.Module) -> list[str]:
    """Names of the parts that torch.compile has compiled; "" names the whole module."""
    return [
        name
        for name, part in module.named_modules()
        if "_orig_mod" in part._modules or getattr(part, "_compiled_call_impl", None) is not None
    ]


def root_of(network: Any) -> nn.Module:
    """The module whose layers taps name: that of a `Network`, and the one inside of torch.compile.

    Raises:
        TapError: neither a module nor a Network, or TorchScript.
    """
    module = network if isinstance(network, nn.Module) else getattr(network, "module", None)
    if not isinstance(module, nn.Module):
        raise TapError(f"taps are in a torch.nn.Module or a sr_hooks.Network, not in a {type(network).__name__}")
    while "_orig_mod" in module._modules:
        module = getattr(module, "_orig_mod")  # noqa: B009  torch's stubs do not know it
    if isinstance(module, torch.jit.ScriptModule):
        raise TapError(f"{type(module).__name__} is TorchScript, {_REASON}")
    return module


@contextmanager
def firing(root: nn.Module) -> Iterator[None]:
    """Have torch run compiled code uncompiled meanwhile: compiled code does not see hooks that are added later.

    Raises:
        TapError: a compiled module in a version of torch that cannot do so.
    """
    compiled = compiled_parts(root)
    if not hasattr(torch.compiler, "set_stance"):
        if compiled:
            name = compiled[0] or type(root).__name__
            raise TapError(f"{name} is compiled, and hooks on it do not fire: give the module as it was before")
        yield
        return
    # A function that was compiled around the module hides it as well, so the mere presence of the compiler counts.
    with torch.compiler.set_stance("force_eager") if compiled or "torch._dynamo" in sys.modules else nullcontext():
        yield


def check_reachable(root: nn.Module, taps: Iterable[Tap]) -> None:
    """Refuse taps at and inside TorchScript.

    Raises:
        TapError: a part in the tap's name is TorchScript, which runs no hooks.
    """
    scripts = [name for name, part in root.named_modules() if isinstance(part, torch.jit.ScriptModule)]
    for tap in taps:
        for name in scripts:
            if f"{tap.name}.".startswith(f"{name}."):
                raise TapError(f"nothing fires at {tap}: {name} is TorchScript, {_REASON}")
