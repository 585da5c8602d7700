"""The parts of a network through which no gradient passes: they detach, turn gradients off or leave torch."""

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
    takes_gradient: bool
    turned_off: bool = False


def find_gradient_breaks(module: nn.Module, run: Callable[[], Any]) -> list[GradientBreak]:
    """Run run() once, with an input that requires a gradient, and return the innermost parts that lose the gradient.

    A part loses the gradient when one of its inputs requires a gradient and none of its floating-point outputs does.
    Of parts within each other the innermost counts. Where the outer part has turned gradients off for the inner part,
    the outer part counts. The parts are in the order in which they end: the first is where the gradient is lost first.
    """
    stack: list[_Run] = []
    breaks: list[GradientBreak] = []

    def enter(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            enabled = torch.is_grad_enabled()
            if stack and stack[-1].enabled and not enabled:
                stack[-1].turned_off = True
            stack.append(_Run(name, enabled, _requires_grad((args, kwargs))))

        return hook

    def leave(_: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        part_run = stack.pop()
        if not part_run.takes_gradient or not part_run.enabled or _requires_grad(out) or not _is_floating(out):
            return
        inside = f"{part_run.name}." if part_run.name else ""
        if (
            any(other.name.startswith(inside) and other.name != part_run.name for other in breaks)
            and not part_run.turned_off
        ):
            return
        breaks.append(GradientBreak(part_run.name, part_run.turned_off))

    with ExitStack() as handles:
        for name, part in module.named_modules():
            handles.callback(part.register_forward_pre_hook(enter(name), with_kwargs=True).remove)
            handles.callback(part.register_forward_hook(leave, with_kwargs=True).remove)
        with torch.enable_grad():
            run()
    return list(dict.fromkeys(breaks))


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _requires_grad(value: Any) -> bool:
    return any(tensor.requires_grad for tensor in _tensors(value))


def _is_floating(value: Any) -> bool:
    return any(tensor.is_floating_point() or tensor.is_complex() for tensor in _tensors(value))
