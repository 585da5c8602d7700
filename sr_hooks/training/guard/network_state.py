"""Save a network and restore it to the bit: weights, buffers, gradients, modes, parts and hooks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sr_hooks.training.guard.hook_tables import (
    HOOKS,
    TENSOR_HOOKS,
    UsersHooks,
    differs,
    hooks_of,
    refill,
    restore_hooks,
)

__all__ = ["NetworkState", "equal", "restore_tensor", "saved_tensor"]

_TABLES = ("_parameters", "_buffers", "_modules")
_SAME_SIZE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class NetworkState:
    """All that a training run depends on of a network. A copy of weights and buffers is held.

    Making this object changes nothing. `hide` then takes away what an analysis must not reach, and `restore` puts
    everything back; both may be called again after they were interrupted.
    """

    def __init__(self, root: nn.Module) -> None:
        named = list(root.named_parameters())
        self._users = UsersHooks(root)
        self._gradients = [(parameter, parameter.grad, parameter.requires_grad) for _, parameter in named]
        self._parts = [
            (name, part, type(part), part.training, {table: dict(getattr(part, table)) for table in _TABLES})
            for name, part in root.named_modules()
        ]
        self._tensors = [(name, t, *saved_tensor(t)) for name, t in (*named, *root.named_buffers())]
        owners = [(name, part, (*HOOKS, "_is_full_backward_hook")) for name, part, *_ in self._parts]
        tensor_owners = [(name, parameter, TENSOR_HOOKS) for name, parameter in named]
        self._hooks = [(name, owner, hooks_of(owner, tables)) for name, owner, tables in [*owners, *tensor_owners]]
        self._removed: dict[int, dict[str, set[Any]]] = {}

    def hide(self) -> None:
        """Take away `.grad`, which is None then, and the user's own hooks."""
        for parameter, _, _ in self._gradients:
            parameter.grad = None
        for _, owner, tables in self._hooks:
            if any(tables.values()):
                self._removed[id(owner)] = self._users.remove_from(owner)

    def restore(self) -> list[str]:
        """Put everything back, and return a sentence for each change that the code in between has made."""
        changes = []
        for parameter, gradient, wanted in self._gradients:
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
            parameter.grad = gradient
        for name, part, kind, mode, tables in self._parts:
            part.training = mode
            if type(part) is not kind:
                part.__class__ = kind
                changes.append(f"exchanged the class of {name or 'the network'}")
            for table, before in tables.items():
                if differs(getattr(part, table), before):
                    refill(getattr(part, table), before)
                    changes.append(f"exchanged {table.strip('_')} of {name or 'the network'}")
        for name, owner, before in self._hooks:
            if restore_hooks(owner, before, self._removed.get(id(owner))):
                changes.append(f"left hooks on {name or 'the network'}")
        self._removed.clear()
        return [f"changed {name}" for name, tensor, *saved in self._tensors if restore_tensor(tensor, *saved)] + changes


def saved_tensor(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The tensor's memory, and a copy of its values."""
    where = tensor.detach() if not isinstance(tensor, nn.Parameter) else tensor.data
    return where, where.clone(memory_format=torch.preserve_format)


def restore_tensor(tensor: torch.Tensor, where: torch.Tensor, bits: torch.Tensor) -> bool:
    """Restore a tensor, and return whether it had changed. An unchanged tensor is not written to."""
    changed = False
    now = tensor.data
    if now.data_ptr() != where.data_ptr() or now.stride() != where.stride() or now.dtype != where.dtype:
        tensor.data = where
        changed = True
    if not equal(where, bits):
        with torch.no_grad():
            where.copy_(bits)
        changed = True
    return changed


def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """To the bit: NaN equals NaN, and 0.0 is not -0.0."""
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    size = _SAME_SIZE.get(a.element_size())
    return torch.equal(a.view(size), b.view(size)) if size is not None else torch.equal(a, b)
