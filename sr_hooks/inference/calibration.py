"""Calibration: the memory layout and batch size with which a network runs fastest on this machine."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from sr_hooks.core.disk_cache import recall, remember
from sr_hooks.core.torch_errors import is_out_of_memory
from sr_hooks.inference.memory.needs import samples_that_fit
from sr_hooks.networks.calling import tensor_float_32
from sr_hooks.networks.network import Network
from sr_hooks.networks.probing.trial_inputs import trial_input

__all__ = [
    "ExecutionPlan",
    "autocast",
    "calibrate",
    "is_out_of_memory",
    "reduced",
    "to_cpu",
    "to_device",
    "uncalibrated",
]

_log = logging.getLogger("sr_hooks")
_plans: dict[str, ExecutionPlan] = {}
_timing = [True]
_BATCHES = (1, 4, 16)
_SIDE = 32  # the calibration runs on a corner of at most so many pixels
_CLIP_SIDE = 40  # and of clips, whose optical flow takes none as small
_GAIN = 0.8  # a larger batch costs memory, so a sample of it must cost at most this share


@dataclass(frozen=True)
class ExecutionPlan:
    """How inputs are laid out in memory and how many go through at once."""

    channels_last: bool = False
    batch: int = 1

    def lay_out(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w) as the plan says; clips (N,T,C,h,w), which have no such layout, row by row."""
        if x.ndim != 4:
            return x.contiguous()
        return x.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)


def to_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """x there; from pinned memory and without waiting, where the device is an accelerator with separate memory."""
    if device.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def to_cpu(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """The tensors on the CPU, waited for once."""
    copies = [tensor.to("cpu", non_blocking=tensor.is_cuda) for tensor in tensors]
    if tensors[0].device.type == "cuda":
        torch.cuda.current_stream(tensors[0].device).synchronize()
    return copies


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """float32 also inside autocast, TensorFloat-32 where an accelerator has it ("tf32"), or bfloat16 autocast."""
    with (
        tensor_float_32(precision == "tf32"),
        torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        yield


@contextmanager
def reduced(network: Network, precision: str) -> Iterator[None]:
    """float32; or bfloat16 autocast, but for the first and the last convolution.

    Those two are cheap, and most of the error is theirs: the input's rounding and the output's, which an objective on
    differences of neighbouring pixels magnifies. Measured on MSRResNet x2: a map 2.9 % off float32 without this, 0.2 %
    with it, for 3 % more time.
    """
    with autocast(network.device, precision), ExitStack() as stack:
        for name in network.end_layers if precision == "bfloat16" else ():
            part = network.module.get_submodule(name)
            islands: list[torch.autocast] = []
            enter = partial(_enter_float32, network.device.type, islands)
            stack.callback(part.register_forward_pre_hook(enter).remove)
            leave = partial(_leave_float32, islands)
            stack.callback(part.register_forward_hook(leave, always_call=True).remove)
        yield


def _enter_float32(device: str, islands: list[torch.autocast], _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    island = torch.autocast(device, enabled=False)
    island.__enter__()
    islands.append(island)
    return tuple(arg.float() if isinstance(arg, torch.Tensor) and arg.is_floating_point() else arg for arg in args)


def _leave_float32(islands: list[torch.autocast], *_: Any) -> None:
    islands.pop().__exit__(None, None, None)


@contextmanager
def uncalibrated() -> Iterator[None]:
    """Nothing is timed meanwhile: what is not known yet runs plainly, one image at a time."""
    _timing.append(False)
    try:
        yield
    finally:
        _timing.pop()


def calibrate(network: Network, shape: tuple[int, ...], precision: str = "float32") -> ExecutionPlan:
    """The plan for inputs of (C,h,w), or clips of (T,C,h,w), on the network's device. Clips go through one by one.

    It is timed once on a corner of the image and stored, in memory and in the user's cache folder
    (`SR_HOOKS_CACHE`, empty to keep nothing), so that a later run of the same network takes the same
    plan and gives the same numbers. Timing is no part of what the plan computes, only of how fast. A batch
    for which the device has no room at this moment is halved.
    """
    key = _key(network, shape, precision)
    if key not in _plans:
        if not _timing[-1]:
            return _fitting(_stored(key) or ExecutionPlan(), network, shape)
        measured = asdict(_stored(key) or _measure(network, shape, precision))
        _plans[key] = ExecutionPlan(**remember(key, measured, is_sound=_is_plan))
    return _fitting(_plans[key], network, shape)


def _fitting(plan: ExecutionPlan, network: Network, shape: tuple[int, ...]) -> ExecutionPlan:
    """The plan, its batch halved until the device has room for it now."""
    room = samples_that_fit(network, shape) if plan.batch > 1 else None
    while room is not None and plan.batch > room:
        plan = replace(plan, batch=plan.batch // 2)
    return plan


def _corner(shape: tuple[int, ...]) -> tuple[int, ...]:
    side = _SIDE if len(shape) == 3 else _CLIP_SIDE
    return (*shape[:-2], min(shape[-2], side), min(shape[-1], side))


def _key(network: Network, shape: tuple[int, ...], precision: str) -> str:
    device = network.device
    facts: dict[str, Any] = {
        "class": f"{type(network.module).__module__}.{type(network.module).__qualname__}",
        "shapes": [(name, tuple(value.shape)) for name, value in network.module.named_parameters()],
        "dtype": str(network.dtype),
        "input": _corner(shape),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": precision,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _measure(network: Network, shape: tuple[int, ...], precision: str) -> ExecutionPlan:
    corner = _corner(shape)
    sizes = _BATCHES[:2] if network.device.type == "cpu" else _BATCHES[1:]
    if len(shape) > 3:
        sizes = (1, 1)
    best = ExecutionPlan(False, sizes[0])
    try:
        least = _seconds(network, corner, precision, best)
    except (RuntimeError, AssertionError, ValueError) as error:  # it takes no images as small as this
        _log.debug("%s is not calibrated: %s", network.name, error)
        return ExecutionPlan()
    for plan in dict.fromkeys(
        (ExecutionPlan(True, sizes[0]), ExecutionPlan(False, sizes[1]), ExecutionPlan(True, sizes[1]))
    ):
        if plan == ExecutionPlan(False, sizes[0]):
            continue
        try:
            seconds = _seconds(network, corner, precision, plan)
        except RuntimeError as error:  # too large, or a view() that this layout does not allow
            _log.debug("%s does not run as %s: %s", network.name, plan, error)
            continue
        if seconds < least * (_GAIN if plan.batch > best.batch else 1):
            best, least = plan, seconds
    return best


def _seconds(network: Network, shape: tuple[int, ...], precision: str, plan: ExecutionPlan) -> float:
    """Seconds a sample of one forward and backward to the input, the best of two after a warm-up.

    With one thread it is this process's own time, which other processes do not stretch.
    """
    clock = time.process_time if network.device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    best = float("inf")
    for attempt in range(3):
        start = clock()
        with network.channels_last(plan.channels_last), tensor_float_32(precision == "tf32"):
            network.differentiate(lambda: _forward_backward(network, shape, precision, plan))
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)
        if attempt:
            best = min(best, clock() - start)
    return best / plan.batch


def _forward_backward(network: Network, shape: tuple[int, ...], precision: str, plan: ExecutionPlan) -> None:
    frames = shape[0] if len(shape) > 3 else 0
    start = trial_input(frames, shape[-3], (shape[-2], shape[-1]), network.device)
    x = plan.lay_out(start.repeat(plan.batch, *[1] * len(shape))).requires_grad_()
    with torch.enable_grad(), reduced(network, precision):
        out = network(x)
    if out.requires_grad:
        network.gradients(out.float().square().sum(), [x])


def _stored(key: str) -> ExecutionPlan | None:
    facts = recall(key)
    return ExecutionPlan(**facts) if facts is not None and _is_plan(facts) else None


def _is_plan(facts: Mapping[str, Any]) -> bool:
    """Whether these are a plan's facts, of the plans that `_measure` chooses from."""
    return (
        set(facts) == {"channels_last", "batch"}
        and isinstance(facts["channels_last"], bool)
        and type(facts["batch"]) is int
        and facts["batch"] in _BATCHES
    )
