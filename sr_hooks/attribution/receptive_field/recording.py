"""A network's operations, recorded on a copy of it; nothing of the recording stays behind in the program."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any
from weakref import ref

import torch

from sr_hooks.attribution.receptive_field.trace import Trace, Untraceable, record, sharing_copy
from sr_hooks.hooks.activations import intervene
from sr_hooks.hooks.taps import Tap
from sr_hooks.inference.calibration import reduced
from sr_hooks.networks.backward import Backward
from sr_hooks.networks.network import Network

__all__ = ["recorded"]

_DEEP = 4  # containers in containers that are looked through
_PATIENCE = 5.0  # seconds that another thread has to let go of the frames of a recording


def recorded(network: Network, shape: Sequence[int], precision: str, taps: Sequence[Tap] = ()) -> Trace | Untraceable:
    """A network's operations for a batch of this shape, or why they cannot be written down.

    The trace's results are the output and what passes each tap. What follows a tap takes a copy of the tap's result.
    """
    stand_ins: list[ref[torch.Tensor]] = []
    trace = _on_a_copy(network, shape, precision, taps, stand_ins)
    if _taken_out(stand_ins):
        return Untraceable("it keeps tensors outside of itself, as an lru_cache or a global dict does")
    return trace


def _on_a_copy(
    network: Network,
    shape: Sequence[int],
    precision: str,
    taps: Sequence[Tap],
    stand_ins: list[ref[torch.Tensor]],
) -> Trace | Untraceable:
    """The refusal comes without the frames of its error, which hold stand-ins."""
    try:
        twin = network.with_module(sharing_copy(network.module))
        twin.backward = Backward()  # a recording writes nothing in place

        def compute(x: torch.Tensor) -> list[torch.Tensor]:
            features: dict[Tap, torch.Tensor] = {}
            with reduced(twin, precision), intervene(twin.module, {tap: _capture(tap, features) for tap in taps}):
                output = twin(x).float()
            return [output, *(features[tap] for tap in taps)]

        return record(compute, twin.module, [shape], network.device, stand_ins)
    except Untraceable as error:
        return Untraceable(str(error))


def _capture(tap: Tap, features: dict[Tap, torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Keep what passes a tap and hand on a copy, which what follows may write into."""

    def change(passing: torch.Tensor) -> torch.Tensor:
        features[tap] = passing.clone()
        return features[tap].clone()

    return change


def _taken_out(stand_ins: Sequence[ref[torch.Tensor]]) -> bool:
    """Whether the network holds stand-ins beyond their recording; they are taken out of what holds them.

    A function with `functools.lru_cache` or a dict of the whole program keeps what it was given. The next forward on
    real images would take the stand-in, which holds no data. Such a cache is emptied, and such an entry is deleted.

    A stand-in that a profiler holds, with a frame of the recording, says nothing about the network.

    Args:
        stand_ins: weak references to the tensors of a recording that has ended, and that nothing else should hold.
    """
    from torch._subclasses.fake_tensor import FakeTensor

    if all(reference() is None for reference in stand_ins):
        return False
    gc.collect()  # a copy of the module may hold them in a circle
    if all(reference() is None for reference in stand_ins):
        return False
    end = time.monotonic() + _PATIENCE
    while _held_calls() and time.monotonic() < end:
        time.sleep(0.005)
        gc.collect()
        if all(reference() is None for reference in stand_ins):
            return False
    known = {id(tensor) for reference in stand_ins if (tensor := reference()) is not None}
    held = [value for value in gc.get_objects() if type(value) in (torch.Tensor, FakeTensor) and _core(value) in known]
    for value in held:
        _take_out(value, _DEEP, {id(held)})
    return True


def _held_calls() -> bool:
    """Whether somebody holds the frame of a call of the recording that has ended, and its variables with it.

    A profiler, such as the one of each Dask worker, holds the frames of all threads for a moment, many times a second.
    """
    check = sys._getframe(1)
    frames = [value for value in gc.get_objects() if type(value) is FrameType]
    return any(_is_below(frame, check.f_back) and not _is_below(frame, check) for frame in frames if frame is not check)


def _is_below(frame: FrameType | None, caller: FrameType | None) -> bool:
    while frame is not None and frame is not caller:
        frame = frame.f_back
    return frame is not None


def _core(tensor: torch.Tensor) -> int:
    """What a tensor is; `torch.func.functionalize` wraps one tensor in another."""
    return id(torch._from_functional_tensor(tensor) if torch._is_functional_tensor(tensor) else tensor)


def _take_out(value: Any, deep: int, passed: set[int]) -> None:
    holders = gc.get_referrers(value)
    passed = passed | {id(holders), id(value)}
    for holder in holders:
        if id(holder) in passed or isinstance(holder, FrameType):
            continue
        if hasattr(holder, "cache_clear"):
            holder.cache_clear()
        elif type(holder) is list:
            holder[:] = [item for item in holder if item is not value]
        elif isinstance(holder, dict):
            for key in [key for key, item in list(holder.items()) if item is value]:
                del holder[key]
        elif type(holder) in (tuple, set, frozenset) and deep:
            _take_out(holder, deep - 1, passed)
