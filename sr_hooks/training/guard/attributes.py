"""The state that a network keeps beside weights and buffers: counters, generators, lists, caches in its attributes."""

from __future__ import annotations

import copy
import pickle
import random
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence, MutableSet
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from sr_hooks.training.guard.network_state import equal, restore_tensor, saved_tensor

__all__ = ["Attributes"]

_PLAIN = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, range, slice)
_FOREIGN = (threading.Thread, torch.optim.Optimizer, torch.utils.data.DataLoader, types.ModuleType, type)
_OF_MODULES = {*vars(nn.Module())}  # tables and hooks, which have a place of their own
_MOST = 2_000  # objects that one attribute may lead to; more are a trainer or a data set, and no state of a network
_DEEPEST = 40  # containers within containers
_LIBRARIES = ("torch", "builtins", "numpy", "typing", "abc", "collections", "functools", "enum", "sr_hooks")

Put = Callable[[Any], None]


class Attributes:
    """The state in the attributes of a network's parts, of their classes, and in what their methods name.

    `restore` puts back what has changed, and names the change. State of a kind that cannot be copied is only named.
    """

    def __init__(self, root: nn.Module) -> None:
        self._seen = {id(part) for part in root.modules()} | {id(random._inst), id(torch.default_generator)}
        self._seen |= {id(tensor) for tensor in (*root.parameters(), *root.buffers())}
        self._seen.add(id(np.random.mtrand._rand))
        self._undo: list[Callable[[], Iterator[str]]] = []
        self._depth = 0
        for name, part in root.named_modules():
            self._holder(vars(part), f"{name}." if name else "", skipped=_OF_MODULES)
        for kind in {base for part in root.modules() for base in type(part).__mro__}:
            self._class(kind)

    def restore(self) -> list[str]:
        """Put back what has changed, and return a sentence for each change."""
        changes: list[str] = []
        for undo in reversed(self._undo):
            with suppress(Exception):
                changes += undo()
        return list(dict.fromkeys(changes))

    # -- what holds values by name

    def _holder(
        self, table: MutableMapping[Any, Any], prefix: str, *, skipped: set[str] | frozenset[str] = frozenset()
    ) -> None:
        """A mapping from names to values, of which the values in `skipped` are left alone."""
        before = {key: value for key, value in table.items() if key not in skipped}
        put = dict(before)

        def undo() -> Iterator[str]:
            for key in [key for key in table if key not in before and key not in skipped]:
                del table[key]
                yield f"{prefix}{key} is new"
            for key, value in put.items():
                now = table.get(key, before)
                if now is not value:
                    table[key] = value
                    if not _alike(now, before[key]):
                        yield f"{prefix}{key} changes"

        self._undo.append(undo)
        for key, value in before.items():
            self._value(value, f"{prefix}{key}", partial(put.__setitem__, key))

    def _class(self, kind: type) -> None:
        """Plain values in the attributes of a class, and what its methods refer to."""
        if kind.__module__.partition(".")[0] in _LIBRARIES or self._is_seen(kind):
            return
        for name, value in list(vars(kind).items()):
            if isinstance(value, (staticmethod, classmethod)):
                value = value.__func__
            if isinstance(value, types.FunctionType):
                self._function(value)
            elif not name.startswith("__") and not hasattr(value, "__get__"):
                self._variable(
                    value, f"{kind.__name__}.{name}", partial(getattr, kind, name), partial(setattr, kind, name)
                )

    def _function(self, function: types.FunctionType) -> None:
        """The variables that a function closes over, its attributes, and the globals that it names."""
        if str(function.__module__).partition(".")[0] in _LIBRARIES or self._is_seen(function):
            return
        self._holder(vars(function), f"{function.__name__}.")
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # an empty cell
                value = cell.cell_contents
                get, put = partial(getattr, cell, "cell_contents"), partial(setattr, cell, "cell_contents")
                self._variable(value, f"{name} of {function.__name__}", get, put)
        namespace = function.__globals__
        for name in _names(function.__code__):
            if name in namespace:
                get, put = partial(namespace.get, name), partial(namespace.__setitem__, name)
                self._variable(namespace[name], name, get, put)

    def _variable(self, value: Any, path: str, get: Callable[[], Any], put: Put) -> None:
        """One variable with its value."""
        saved = [value]

        def undo() -> Iterator[str]:
            now = get()
            if now is not saved[0]:
                put(saved[0])
                if not _alike(now, value):
                    yield f"{path} changes"

        if not isinstance(value, (nn.Module, types.ModuleType, type)):
            self._undo.append(undo)
        self._value(value, path, partial(saved.__setitem__, 0))

    # -- values

    def _is_seen(self, value: Any) -> bool:
        seen = id(value) in self._seen
        self._seen.add(id(value))
        return seen

    def _value(self, value: Any, path: str, put: Put) -> None:
        """Save a value that can be changed without a new one being assigned; `put` says what to assign instead."""
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif not isinstance(value, (*_PLAIN, type, types.ModuleType)) and not self._is_seen(value):
            self._depth += 1
            if self._depth <= _DEEPEST:
                self._object(value, path, put)
            self._depth -= 1

    def _object(self, value: Any, path: str, put: Put) -> None:
        state = _state_of(value)
        if state is not None:
            self._undo.append(partial(_restore_state, value, state, path))
        elif isinstance(value, MutableMapping):
            self._holder(value, f"{path}.")
        elif isinstance(value, (MutableSequence, MutableSet, tuple)):
            self._sequence(value, path)
        elif isinstance(value, types.MethodType):
            self._value(value.__self__, path, lambda _: None)
            self._value(value.__func__, path, lambda _: None)
        elif isinstance(value, partial):
            for item in (value.func, *value.args, *value.keywords.values()):
                self._value(item, path, lambda _: None)
        elif isinstance(value, Iterator):
            self._iterator(value, path, put)
        elif hasattr(value, "__dict__") and not _is_foreign(value):
            self._holder(vars(value), f"{path}.", skipped=_OF_MODULES - {"_parameters", "_buffers", "_modules"})
            self._class(type(value))

    def _sequence(self, value: Any, path: str) -> None:
        before = list(value)

        def undo() -> Iterator[str]:
            now = list(value)
            if len(now) != len(before) or any(a is not b for a, b in zip(now, before, strict=True)):
                value.clear()
                getattr(value, "update" if isinstance(value, MutableSet) else "extend")(before)
                yield f"{path} changes"

        if not isinstance(value, tuple):
            self._undo.append(undo)
        if not isinstance(value, (bytearray, MutableSet)) and len(before) <= _MOST:
            for index, item in enumerate(before):
                self._value(item, f"{path}[{index}]", partial(before.__setitem__, index))

    def _iterator(self, value: Any, path: str, put: Put) -> None:
        """An iterator is replaced by a copy of what it was, if it has gone on; a generator cannot be copied."""
        if isinstance(value, types.GeneratorType):
            position = value.gi_frame.f_lasti if value.gi_frame is not None else -1
            variables = repr(value.gi_frame.f_locals) if value.gi_frame is not None else ""

            def name() -> Iterator[str]:
                frame = value.gi_frame
                if (frame.f_lasti if frame else -1, repr(frame.f_locals) if frame else "") != (position, variables):
                    yield f"{path} goes on and cannot be restored"

            self._undo.append(name)
            return
        with suppress(Exception):
            twin, before = copy.copy(value), pickle.dumps(copy.copy(value))

            def replace() -> Iterator[str]:
                if pickle.dumps(copy.copy(value)) != before:
                    put(twin)
                    yield f"{path} goes on"

            self._undo.append(replace)


def _state_of(value: Any) -> Any:
    """A copy of the state of a tensor, an array or a generator of random numbers; None for anything else."""
    if isinstance(value, torch.Tensor):
        return saved_tensor(value) if value.layout is torch.strided and not value.is_meta else None
    if isinstance(value, np.ndarray):
        return value.copy() if value.dtype != object else None
    for read in ("get_state", "getstate"):  # of torch, of NumPy before 1.17, and of Python
        if isinstance(value, (torch.Generator, np.random.RandomState, random.Random)) and hasattr(value, read):
            return getattr(value, read)()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return value.state if isinstance(value, np.random.BitGenerator) else None


def _restore_state(value: Any, state: Any, path: str) -> Iterator[str]:
    if isinstance(value, torch.Tensor):
        if restore_tensor(value, *state):
            yield f"{path} changes"
        return
    now = _state_of(value)
    if _alike(now, state):
        return
    if isinstance(value, np.ndarray):
        value[...] = state
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = state
    elif isinstance(value, np.random.BitGenerator):
        value.state = state
    else:
        (value.setstate if isinstance(value, random.Random) else value.set_state)(state)
    yield f"{path} changes"


def _alike(now: Any, before: Any) -> bool:
    """Whether two values are the same to the bit; in doubt they are not."""
    try:
        if isinstance(now, torch.Tensor) and isinstance(before, torch.Tensor):
            return now.shape == before.shape and now.dtype == before.dtype and equal(now.detach(), before.detach())
        return type(now) is type(before) and pickle.dumps(now) == pickle.dumps(before)
    except Exception:
        return False


def _names(code: types.CodeType) -> Iterator[str]:
    """The global names that a function and the functions inside it use."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _is_foreign(value: Any) -> bool:
    """Whether an object is more than a network's state: it leads to threads, optimizers, data, or to very much."""
    module = type(value).__module__.partition(".")[0]
    if module in _LIBRARIES or module in sys.stdlib_module_names:
        return not isinstance(value, (nn.Module, types.SimpleNamespace))
    seen: set[int] = set()
    waiting: deque[Any] = deque([value])
    while waiting:
        item = waiting.popleft()
        if isinstance(item, (*_PLAIN, torch.Tensor, np.ndarray, types.FunctionType, type)) or id(item) in seen:
            continue
        if isinstance(item, _FOREIGN) or len(seen) > _MOST:
            return True
        seen.add(id(item))
        waiting += item.values() if isinstance(item, dict) else ()
        waiting += item if isinstance(item, (list, tuple, set, deque)) else ()
        waiting += vars(item).values() if hasattr(item, "__dict__") else ()
    return False
