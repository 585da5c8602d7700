"""torch's switches and modes: saved, and set back where they have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

__all__ = ["switches"]


class _Switch(NamedTuple):
    read: Callable[[], Any]
    write: Callable[[Any], Any]


_UNREADABLE = object()
_HIDDEN = object()
_DEVICES = ("cpu", "cuda", "mps", "xpu")


def switches() -> Callable[[], list[str]]:
    """Read all switches; the function that is returned sets those back that have another value by then."""
    before = [(switch, _value(switch)) for switch in _switches()]

    def undo() -> list[str]:
        for switch, value in before:
            if value is not _UNREADABLE and _value(switch) != value:
                switch.write(value)
        return []

    return undo


def _value(switch: _Switch) -> Any:
    """The switch's value, where this build of torch has the switch."""
    try:
        return switch.read()
    except (RuntimeError, AssertionError, AttributeError):
        return _UNREADABLE


def _attribute(owner: Any, name: str) -> _Switch:
    return _Switch(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _flag(owner: Any, get: str, set_: str) -> Iterator[_Switch]:
    if hasattr(owner, get) and hasattr(owner, set_):
        yield _Switch(getattr(owner, get), getattr(owner, set_))


def _switches() -> Iterator[_Switch]:
    """In the order in which they are set back: older switches, which set several newer ones, before these."""
    yield _Switch(_default_device, torch.set_default_device)
    yield _Switch(torch.get_default_dtype, torch.set_default_dtype)
    yield _Switch(torch.get_num_threads, torch.set_num_threads)
    yield _Switch(_determinism, lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]))
    yield _Switch(_anomaly, lambda value: torch.autograd.set_detect_anomaly(*value))
    yield _Switch(_flushes_denormals, torch.set_flush_denormal)
    yield _attribute(torch.utils.deterministic, "fill_uninitialized_memory")
    yield _Switch(torch.is_warn_always_enabled, torch.set_warn_always)
    yield from _backends()
    yield from _precisions()
    yield from _autocast()
    yield from _flag(torch._C, "_is_multithreading_enabled", "_set_multithreading_enabled")
    if torch.cuda.is_initialized():
        yield _Switch(torch.cuda.current_device, torch.cuda.set_device)
    yield _Switch(torch.is_grad_enabled, torch.set_grad_enabled)  # last: the others are set in any mode


def _backends() -> Iterator[_Switch]:
    backends, c = torch.backends, torch._C
    for name in ("enabled", "benchmark", "deterministic", "benchmark_limit"):
        yield _attribute(backends.cudnn, name)
    yield from _flag(c, "_get_mkldnn_enabled", "_set_mkldnn_enabled")
    yield from _flag(c, "_get_mkldnn_deterministic", "_set_mkldnn_deterministic")
    yield from _flag(c, "_get_nnpack_enabled", "_set_nnpack_enabled")
    for kind in ("flash", "mem_efficient", "math", "cudnn", "overrideable"):
        yield from _flag(c, f"_get_{kind}_sdp_enabled", f"_set_sdp_use_{kind}")
    for name in ("enabled", "strategy"):
        yield _attribute(backends.opt_einsum, name)
    for kind in ("fp16", "bf16"):
        yield _attribute(backends.cuda.matmul, f"allow_{kind}_reduced_precision_reduction")
    yield _attribute(backends.cuda.matmul, "allow_fp16_accumulation")
    yield _attribute(backends.quantized, "engine")


def _precisions() -> Iterator[_Switch]:
    """Precision of float32 products: the older switches, then the newer ones from general to special."""
    yield _older(_attribute(torch.backends.cudnn, "allow_tf32"), True)
    yield _older(_attribute(torch.backends.cuda.matmul, "allow_tf32"), False)
    yield _older(_Switch(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision), "highest")
    get = getattr(torch._C, "_get_fp32_precision_getter", None)
    put = getattr(torch._C, "_set_fp32_precision_setter", None)
    if get is None or put is None:  # before torch 2.9
        return
    pairs = [("generic", "all")]
    for backend in ("cuda", "mkldnn"):
        pairs += [(backend, operation) for operation in ("all", "matmul", "conv", "rnn")]
    for backend, operation in pairs:
        yield _Switch(
            lambda pair=(backend, operation): get(*pair),  # type: ignore[misc]
            lambda value, pair=(backend, operation): put(*pair, value),  # type: ignore[misc]
        )


def _older(switch: _Switch, default: Any) -> _Switch:
    """An older switch, which torch refuses to read where a newer one says otherwise. Hidden, it is at its default."""

    def read() -> Any:
        try:
            return switch.read()
        except (RuntimeError, AssertionError):
            return _HIDDEN

    return _Switch(read, lambda value: switch.write(default if value is _HIDDEN else value))


def _autocast() -> Iterator[_Switch]:
    for device in _DEVICES[: 2 if torch.cuda.is_available() else 1]:
        yield _Switch(
            lambda device=device: torch.is_autocast_enabled(device),  # type: ignore[misc]
            lambda value, device=device: torch.set_autocast_enabled(device, value),  # type: ignore[misc]
        )
        yield _Switch(
            lambda device=device: torch.get_autocast_dtype(device),  # type: ignore[misc]
            lambda value, device=device: torch.set_autocast_dtype(device, value),  # type: ignore[misc]
        )
    yield _Switch(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled)
    yield _Switch(_autocast_depth, _set_autocast_depth)


def _default_device() -> Any:
    """The device that was set as the default; None where none was, which is not the same as the CPU."""
    return getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None) and torch.get_default_device()


def _determinism() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


_TINY = torch.tensor([1 << 9], dtype=torch.int32).view(torch.float32)  # 2 to the power of -140


def _flushes_denormals() -> bool:
    """Whether the CPU takes numbers near zero for zero; torch can set this, and has no way to read it."""
    return not bool((_TINY * 1).count_nonzero())


def _autocast_depth() -> int:
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


def _set_autocast_depth(depth: int) -> None:
    while _autocast_depth() > depth:
        torch.autocast_decrement_nesting()
    while _autocast_depth() < depth:
        torch.autocast_increment_nesting()
