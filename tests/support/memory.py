"""A card with little memory, on the CPU: living tensors are counted, and above a size allocating fails as on CUDA."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["SmallCard"]


class SmallCard(TorchDispatchMode):
    """While the context lasts, tensors made by torch's operations may take `capacity` bytes together.

    Attributes:
        live: bytes that tensors hold now.
        peak: the most so far.
        refusals: allocations that did not fit.
    """

    def __init__(self, capacity: float = float("inf")) -> None:
        super().__init__()
        self.capacity = capacity
        self.live = self.peak = self.refusals = 0
        self._sharing: dict[int, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        inputs = {_key(tensor) for tensor in tree_leaves((args, kwargs)) if _is_real(tensor)}
        for tensor in tree_leaves(out):
            if _is_real(tensor) and (_key(tensor) in self._sharing or _key(tensor) not in inputs):
                self._count(tensor)
        return out

    def _count(self, tensor: torch.Tensor) -> None:
        key, size = _key(tensor), tensor.untyped_storage().nbytes()
        if key not in self._sharing:
            if self.live + size > self.capacity:
                self.refusals += 1
                raise torch.OutOfMemoryError(
                    f"CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB. GPU 0 has a total capacity of "
                    f"{self.capacity / 2**20:.2f} MiB"
                )
            self.live += size
            self.peak = max(self.peak, self.live)
        self._sharing[key] = self._sharing.get(key, 0) + 1
        weakref.finalize(tensor, self._forget, key, size).atexit = False

    def _forget(self, key: int, size: int) -> None:
        self._sharing[key] -= 1
        if not self._sharing[key]:
            del self._sharing[key]
            self.live -= size


def _is_real(tensor: Any) -> bool:
    return type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.device.type != "meta"


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
