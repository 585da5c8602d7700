"""What an operation does beside returning values: what it writes to in place, and whether it draws random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch.utils._pytree import tree_flatten

__all__ = ["draws", "memory_of", "same_strides", "written_to"]


def memory_of(tensor: torch.Tensor) -> int:
    """What tensors that share memory have in common."""
    return cast("int", tensor.untyped_storage()._cdata)


def written_to(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> set[int]:
    """The memory of those arguments that the operation changes."""
    if not function._schema.is_mutable:
        return set()
    values = [
        args[position] if position < len(args) else kwargs.get(argument.name)
        for position, argument in enumerate(function._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return {memory_of(value) for value in tree_flatten(values)[0] if isinstance(value, torch.Tensor)}


def same_strides(value: torch.Tensor, size: Sequence[int], stride: Sequence[int], *offset: Any) -> bool:
    """Whether a value with this size and stride holds the same elements, in the same order."""
    pairs = zip(value.shape, value.stride(), stride, strict=False)
    return not offset and value.shape == tuple(size) and all(a == b for side, a, b in pairs if side > 1)


def draws(function: Any, args: Sequence[Any]) -> bool:
    """Whether the operation draws random numbers; fused attention without dropout does not."""
    if function is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default:
        return len(args) > 3 and args[3] != 0
    return torch.Tag.nondeterministic_seeded in function.tags
