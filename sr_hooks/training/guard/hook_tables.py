"""Hooks on modules and tensors: which tables hold them, whose they are, and the tables as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

__all__ = [
    "HOOKS",
    "TENSOR_HOOKS",
    "UsersHooks",
    "differs",
    "global_hooks",
    "hooks_of",
    "refill",
    "restore_hooks",
]

_FIRING = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
HOOKS = (
    *_FIRING,
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_GLOBAL_FIRING = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)
_GLOBAL_HOOKS = (
    *_GLOBAL_FIRING,
    "_global_forward_hooks_always_called",
    "_global_forward_hooks_with_kwargs",
)


# -- the tables as they were


def hooks_of(owner: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The tables of a module or tensor, copied; by name."""
    tables = {name: getattr(owner, name, None) for name in names}
    return {name: dict(table) if isinstance(table, Mapping) else table for name, table in tables.items()}


def restore_hooks(owner: Any, before: dict[str, Any], removed: Mapping[str, Any] | None = None) -> bool:
    """Fill the tables as they were, in the same order; whether they had changed, but for what we `removed`."""
    changed = False
    for name, value in before.items():
        now = getattr(owner, name, None)
        if hasattr(now, "items"):  # a table that was not there before counts as an empty one
            expected = {key: hook for key, hook in (value or {}).items() if key not in (removed or {}).get(name, ())}
            changed = changed or differs(now, expected)
            if differs(now, value or {}):
                refill(now, value or {})
        elif now is not value and name == "_is_full_backward_hook":
            setattr(owner, name, value)
    return changed


def differs(now: Any, before: Mapping[str, Any]) -> bool:
    """Whether a table holds other objects, or the same in another order."""
    return list(now) != list(before) or any(now[key] is not value for key, value in before.items())


def refill(table: Any, before: Mapping[str, Any]) -> None:
    """Fill the table itself, which others hold, with what it held before."""
    table.clear()
    table.update(before)


def global_hooks() -> Callable[[], list[str]]:
    """Take the user's hooks on all modules off; the function that is returned puts them back."""
    before = hooks_of(torch_module, _GLOBAL_HOOKS)
    removed = _remove(torch_module, _GLOBAL_FIRING, lambda hook: not _is_of_torch(hook))

    def undo() -> list[str]:
        return ["left hooks on all modules"] if restore_hooks(torch_module, before, removed) else []

    return undo


# -- whose they are


class UsersHooks:
    """The training code's own hooks on a network: neither torch's (weight norm, pruning, FSDP) nor the network's own.

    The network's own are methods of its parts, and functions that are written inside the class of a part.
    """

    def __init__(self, root: nn.Module) -> None:
        self._root = root
        self._parts = {id(part) for part in root.modules()}
        classes = {base for part in root.modules() for base in type(part).__mro__}
        self._written = [(base.__module__, f"{base.__qualname__}.") for base in classes if not _in_torch(base)]

    def __contains__(self, hook: Any) -> bool:
        if _is_of_torch(hook) or id(getattr(hook, "__self__", hook)) in self._parts:
            return False
        function = _function_of(hook)
        module, name = getattr(function, "__module__", None), str(getattr(function, "__qualname__", ""))
        return not any(module == where and name.startswith(prefix) for where, prefix in self._written)

    def owners(self) -> Iterator[str]:
        """The parts and parameters with such hooks, once for each hook."""
        for name, part in self._root.named_modules():
            for table in _FIRING:
                yield from (name or "the network" for hook in getattr(part, table, {}).values() if hook in self)
        for name, parameter in self._root.named_parameters():
            for table in TENSOR_HOOKS:
                hooks = (getattr(parameter, table, None) or {}).values()
                yield from (name for hook in hooks if not _is_of_torch(hook))
        for table in _GLOBAL_FIRING:
            hooks = getattr(torch_module, table, {}).values()
            yield from ("all modules" for hook in hooks if not _is_of_torch(hook))

    def remove_from(self, owner: nn.Module | torch.Tensor) -> dict[str, set[Any]]:
        """Take them off a part or a parameter; the keys of what was removed, by table."""
        if isinstance(owner, torch.Tensor):
            return _remove(owner, TENSOR_HOOKS, lambda hook: not _is_of_torch(hook))
        return _remove(owner, _FIRING, self.__contains__)


def _remove(owner: Any, tables: tuple[str, ...], is_removed: Callable[[Any], bool]) -> dict[str, set[Any]]:
    removed: dict[str, set[Any]] = {}
    for name in tables:
        table = getattr(owner, name, None)
        if not table:
            continue
        removed[name] = {key for key, hook in table.items() if is_removed(hook)}
        for key in removed[name]:
            del table[key]
    return removed


def _is_of_torch(hook: Any) -> bool:
    if _in_torch(_function_of(hook)):
        return True
    owner = getattr(hook, "__self__", hook)
    return not isinstance(owner, nn.Module) and any(map(_in_torch, type(owner).__mro__))


def _in_torch(item: Any) -> bool:
    """Whether a class, a function or a callable object is defined in torch."""
    module = getattr(item, "__module__", None) or type(item).__module__
    return str(module).partition(".")[0] == "torch"


def _function_of(hook: Any) -> Any:
    """The function of a partial or a bound method; another callable is returned as it is."""
    while isinstance(hook, partial):
        hook = hook.func
    return getattr(hook, "__func__", hook)
