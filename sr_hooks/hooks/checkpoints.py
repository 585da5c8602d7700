"""Activation checkpoints: compute the activations of a network's blocks again in the backward, to save memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from sr_hooks.errors import NetworkError

__all__ = ["checkpointed", "repeated_blocks"]


def repeated_blocks(module: nn.Module) -> dict[str, nn.Module]:
    """The repeated blocks by name: where a container holds two or more modules of one class that have parts, those.

    The outermost containers count: of RCAN the groups, not the blocks in them.
    """
    blocks: dict[str, nn.Module] = {}
    for name, part in module.named_modules():
        if not isinstance(part, (nn.Sequential, nn.ModuleList, nn.ModuleDict)) or _is_inside(name, blocks):
            continue
        children = {
            f"{name}.{key}".lstrip("."): child for key, child in part.named_children() if len(list(child.children()))
        }
        kinds = [type(child) for child in children.values()]
        blocks |= {key: child for key, child in children.items() if kinds.count(type(child)) > 1}
    return blocks


def _is_inside(name: str, blocks: Mapping[str, nn.Module]) -> bool:
    return any(name == block or name.startswith(f"{block}.") for block in blocks)


@contextmanager
def checkpointed(module: nn.Module) -> Iterator[None]:
    """While the context lasts, a backward through the module's blocks computes their activations again.

    with checkpointed(module):
        loss(module(x)).backward()

    The gradients are equal; the memory is that of one block and of the blocks' inputs, for one more forward. A block is
    left as it is where a hook is attached to a part of it, and where nothing requires a gradient.

    Raises (in the backward):
        NetworkError: the network writes in place into the input of a block.
    """
    blocks = list(dict.fromkeys(repeated_blocks(module).values()))
    before = [vars(block).get("forward") for block in blocks]
    try:
        for block in blocks:
            block.forward = _Checkpointed(block, block.forward)
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            if forward is None:
                vars(block).pop("forward", None)
            else:
                block.forward = forward


class _Held(nn.Module):
    """A block under its own forward, as a separate module: functional_call needs a module, and runs its hooks."""

    def __init__(self, block: nn.Module, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.block = block
        self._own_forward = forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._own_forward(*args, **kwargs)


class _Checkpointed:
    """The forward of a block, whose activations are computed again in the backward."""

    def __init__(self, block: nn.Module, forward: Callable[..., Any]) -> None:
        self.block, self.forward = block, forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled() or _has_hooks(self.block):
            return self.forward(*args, **kwargs)
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        versions = [tensor._version for tensor in tensors]
        held = _Held(self.block, self.forward)
        # The weights of this call, which torch.func.functional_call may have put in place of the module's own.
        weights = {f"block.{name}": value for name, value in _weights(self.block)}

        def run(*args: Any, **kwargs: Any) -> Any:
            if [tensor._version for tensor in tensors] != versions:
                raise NetworkError(
                    f"a {type(self.block).__name__} gets an input that is changed in place afterwards, so its "
                    "activations cannot be computed again"
                )
            return functional_call(held, weights, args, kwargs)

        return checkpoint(run, *args, use_reentrant=False, **kwargs)


def _weights(block: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    return chain(block.named_parameters(), block.named_buffers())


def _has_hooks(block: nn.Module) -> bool:
    """Whether a hook is attached to a part of the block: it would fire twice. Those on the block itself fire once."""
    return any(part._forward_hooks or part._forward_pre_hooks for part in block.modules() if part is not block)
