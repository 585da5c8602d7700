"""The processes of a distributed run, and the time limit of an analysis for which the other processes wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import distributed
from torch.nn.modules.module import register_module_forward_pre_hook

from sr_hooks.errors import RunStopped, SRHooksError

__all__ = ["Ranks", "TimeLimitError", "stopping", "time_limit"]

T = TypeVar("T")


class TimeLimitError(SRHooksError):
    """An analysis took longer than its limit."""


@dataclass(frozen=True)
class Ranks:
    """This process's rank and how many there are."""

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """Those of torch.distributed, where it is in use."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks; the argument is not changed. Every rank must call this method."""
        total = tensor.detach().clone()
        if self.size > 1:
            if distributed.get_backend() == "nccl" and not total.is_cuda:
                return self._on_device(total)
            distributed.all_reduce(total)
        return total

    def _on_device(self, total: torch.Tensor) -> torch.Tensor:
        moved = total.cuda()
        distributed.all_reduce(moved)
        return moved.cpu()

    def from_first(self, read: Callable[[], T]) -> T:
        """What `read` gives on rank 0, whose folder other nodes need not have. Every rank must call this method."""
        value = [read() if self.is_first else None]
        if self.size > 1:
            distributed.broadcast_object_list(value, src=0)
        return cast("T", value[0])

    def agree(self, willing: bool) -> bool:
        """Whether every rank is willing. Every rank must call this method."""
        if self.size == 1:
            return willing
        return int(self.all_reduce(torch.tensor([int(willing)]))) == self.size


@contextmanager
def stopping() -> Iterator[None]:
    """Turn an error inside into the end of the run, with one message of one rank."""
    try:
        yield
    except RunStopped:
        raise
    except SRHooksError as error:
        raise RunStopped(str(error), quiet=not Ranks.here().is_first) from error


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise TimeLimitError at the first forward pass of any module that begins after so many seconds.

    The other ranks of a distributed run wait in their next gradient exchange while rank 0 analyses, and would
    give up the whole run in the end. A single forward pass is not interrupted.
    """
    if seconds is None:
        yield
        return
    end = time.monotonic() + seconds

    def look(*_: object) -> None:
        if time.monotonic() > end:
            raise TimeLimitError(
                f"stopped after its limit of {seconds:g} s (in a distributed run the others wait): ask for less, "
                "that is fewer images, layers or steps, or raise `limit`"
            )

    handle = register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()
