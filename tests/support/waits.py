"""What an accelerator would be waited for, counted on a CPU: numbers read from tensors, and copies to the host."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = {"_local_scalar_dense", "equal", "allclose", "is_nonzero", "nonzero", "masked_select", "_unique2", "bincount"}
"""Operations of which the host needs a value of the device."""


class Waits:
    """Counts waits within `with`, as if all tensors were on an accelerator.

    A tensor that was copied by `.to("cpu")` or `.cpu()`, or made without a device, is on the host, and so is all that
    is computed from such tensors alone: to read from them costs nothing. Each tensor that is copied counts.

    Attributes:
        counts: by operation.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._modes = (_Reads(self), _Copies(self))
        self._on_host: dict[int, torch.UntypedStorage] = {}

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def to_host(self, value: Any) -> None:
        if type(value) is torch.Tensor and not torch._is_functional_tensor(value):  # none of a recording
            storage = value.untyped_storage()
            self._on_host[storage._cdata] = storage  # held, so that no other takes its number

    def to_device(self, tensor: torch.Tensor) -> None:
        self._on_host.pop(tensor.untyped_storage()._cdata, None)

    def on_host(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._on_host

    def __enter__(self) -> Waits:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


class _Reads(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        taken = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        host = bool(taken) and all(map(self.waits.on_host, taken))
        name = function.overloadpacket.__name__
        by_mask = name == "index" and any(value.dtype is torch.bool for value in taken[1:])
        if (name in READS or by_mask) and not host:
            self.waits.add(name)
        out = function(*args, **(kwargs or {}))
        for value in tree_leaves(out) if host else ():
            self.waits.to_host(value)
        return out


class _Copies(TorchFunctionMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        out = function(*args, **kwargs)
        made = not any(isinstance(value, torch.Tensor) for value in tree_leaves((args, kwargs)))
        if name == "cpu" or (name == "to" and "cpu" in args[1:]):
            if not self.waits.on_host(args[0]):
                self.waits.add("copy to the host")
            self.waits.to_host(out)
        elif name == "to" and any(isinstance(value, torch.device) for value in args[1:]):
            self.waits.to_device(out)
        elif name in ("tolist", "numpy") and not self.waits.on_host(args[0]):
            self.waits.add(name)
        elif made and "device" not in kwargs:
            self.waits.to_host(out)
        return out
