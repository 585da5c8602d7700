"""Where in a network gradients end: parts that detach, run without gradients or leave torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

__all__ = ["GradientBreak", "find_gradient_breaks"]


@dataclass(frozen=True)
class GradientBreak:
    """A part of a network through which no gradient passes, "" for the whole, and whether gradients are off there."""

    name: str
    off: bool

    def __str__(self) -> str:
        where = f"in its part {self.name}" if self.name else "in its own forward, outside of any part"
        return f"{where}, which {'turns gradients off' if self.off else 'detaches, or leaves torch'}"


@dataclass
class _Run:
    name: str
    enabled: bool
    given: bool
    turned_off: bool = False


def find_gradient_breaks(module: nn.Module, run: Callable[[], Any]) -> list[GradientBreak]:
    """Run run() once, with an input that requires a gradient, and tell the innermost parts that lose it.

    A part loses it when something it was given requires a gradient and nothing of floating point that it gives does.
    Of parts within each other the innermost counts, but for one that its surroundings run without gradients: then it
    is the surroundings'. In the order in which they end; the first is where it was lost first.
    """
    stack: list[_Run] = []
    found: list[GradientBreak] = []

    def enter(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            enabled = torch.is_grad_enabled()
            if stack and stack[-1].enabled and not enabled:
                stack[-1].turned_off = True
            stack.append(_Run(name, enabled, _wanting((args, kwargs))))

        return hook

    def leave(_: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        this = stack.pop()
        if not this.given or not this.enabled or _wanting(out) or not _floating(out):
            return
        inside = f"{this.name}." if this.name else ""
        if any(other.name.startswith(inside) and other.name != this.name for other in found) and not this.turned_off:
            return
        found.append(GradientBreak(this.name, this.turned_off))

    with ExitStack() as handles:
        for name, part in module.named_modules():
            handles.callback(part.register_forward_pre_hook(enter(name), with_kwargs=True).remove)
            handles.callback(part.register_forward_hook(leave, with_kwargs=True).remove)
        with torch.enable_grad():
            run()
    return list(dict.fromkeys(found))


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _wanting(value: Any) -> bool:
    return any(tensor.requires_grad for tensor in _tensors(value))


def _floating(value: Any) -> bool:
    return any(tensor.is_floating_point() or tensor.is_complex() for tensor in _tensors(value))
