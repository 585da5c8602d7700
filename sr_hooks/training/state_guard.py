"""Save the state of a training run and restore it bit for bit: network, random streams, torch's switches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as torch_module

__all__ = ["plain_modes", "preserved"]

Undo = Callable[[], list[str]]

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)
_TABLES = ("_parameters", "_buffers", "_modules")
_SAME_SIZE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@contextmanager
def preserved(*modules: nn.Module, report: Callable[[str], None] | None = None) -> Iterator[None]:
    """Restore what a training run depends on, however the block ends.

    Always: the random streams of Python, NumPy and torch (CPU and CUDA), grad mode, default dtype, threads,
    and the cuDNN, TF32 and determinism switches. Of the modules given: weights and buffers to the bit, which
    tensor objects they are and how they lie in memory, `.grad` (out of reach inside: it is None there),
    `requires_grad`, train or eval mode of every part, and every hook. A copy of weights and buffers is held meanwhile.

    Args:
        report: is called with a sentence for every change beyond mode and randomness; the code inside caused it.
    """
    undo: list[Undo] = []
    try:
        undo.append(_switches())
        undo.append(_streams())
        for module in modules:
            undo.append(_gradients(module))
            undo.append(_module(module))
        if modules:
            undo.append(_global_hooks())
        yield
    finally:
        for step in reversed(undo):
            for change in step():
                if report is not None:
                    report(change)


@contextmanager
def plain_modes(device: torch.device) -> Iterator[None]:
    """Gradients on, no inference mode and no autocast inside, so that an analysis gives the same result anywhere."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        yield


def _streams() -> Undo:
    python, arrays, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def undo() -> list[str]:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        return []

    return undo


def _switches() -> Undo:
    grad, dtype, threads = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn
    flags = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic)
    precision = torch.get_float32_matmul_precision()

    def undo() -> list[str]:
        torch.set_grad_enabled(grad)
        if torch.get_default_dtype() != dtype:
            torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if (deterministic, warn_only) != (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ):
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        if flags != (cudnn.enabled, cudnn.benchmark, cudnn.deterministic):
            cudnn.enabled, cudnn.benchmark, cudnn.deterministic = flags
        if torch.get_float32_matmul_precision() != precision:
            torch.set_float32_matmul_precision(precision)
        return []

    return undo


def _gradients(module: nn.Module) -> Undo:
    saved = [(p, p.grad, p.requires_grad) for p in module.parameters()]
    for parameter, _, _ in saved:
        parameter.grad = None

    def undo() -> list[str]:
        for parameter, gradient, wanted in saved:
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
            parameter.grad = gradient
        return []

    return undo


def _module(root: nn.Module) -> Undo:
    parts = list(root.named_modules())
    modes = [part.training for _, part in parts]
    tables = [{name: dict(getattr(part, name)) for name in _TABLES} for _, part in parts]
    hooks = [_hooks_of(part, (*_HOOKS, "_is_full_backward_hook")) for _, part in parts]
    tensors = [(name, t, *_saved(t)) for name, t in (*root.named_parameters(), *root.named_buffers())]
    tensor_hooks = [(name, p, _hooks_of(p, _TENSOR_HOOKS)) for name, p in root.named_parameters()]

    def undo() -> list[str]:
        changes: list[str] = []
        for (name, part), mode, table, hook in zip(parts, modes, tables, hooks, strict=True):
            part.training = mode
            for kind, before in table.items():
                if _differs(getattr(part, kind), before):
                    _refill(getattr(part, kind), before)
                    changes.append(f"exchanged {kind.strip('_')} of {name or 'the network'}")
            if _restore_hooks(part, hook):
                changes.append(f"left hooks on {name or 'the network'}")
        changes += [f"left hooks on {name}" for name, tensor, hook in tensor_hooks if _restore_hooks(tensor, hook)]
        return [f"changed {name}" for name, tensor, where, bits in tensors if _restore(tensor, where, bits)] + changes

    return undo


def _saved(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The tensor's memory, and a copy of its values."""
    where = tensor.detach() if not isinstance(tensor, nn.Parameter) else tensor.data
    return where, where.clone(memory_format=torch.preserve_format)


def _restore(tensor: torch.Tensor, where: torch.Tensor, bits: torch.Tensor) -> bool:
    """Restore a tensor, and return whether it had changed. An unchanged tensor is not written to."""
    changed = False
    now = tensor.data
    if now.data_ptr() != where.data_ptr() or now.stride() != where.stride() or now.dtype != where.dtype:
        tensor.data = where
        changed = True
    if not _equal(where, bits):
        with torch.no_grad():
            where.copy_(bits)
        changed = True
    return changed


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """To the bit: NaN equals NaN, and 0.0 is not -0.0."""
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    size = _SAME_SIZE.get(a.element_size())
    return torch.equal(a.view(size), b.view(size)) if size is not None else torch.equal(a, b)


def _hooks_of(owner: Any, names: tuple[str, ...]) -> dict[str, Any]:
    tables = {name: getattr(owner, name, None) for name in names}
    return {name: dict(table) if isinstance(table, Mapping) else table for name, table in tables.items()}


def _restore_hooks(owner: Any, before: dict[str, Any]) -> bool:
    changed = False
    for name, value in before.items():
        now = getattr(owner, name, None)
        if hasattr(now, "items"):  # a table that was not there before counts as an empty one
            if _differs(now, value or {}):
                _refill(now, value or {})
                changed = True
        elif now is not value and name == "_is_full_backward_hook":
            setattr(owner, name, value)
    return changed


def _global_hooks() -> Undo:
    before = _hooks_of(torch_module, _GLOBAL_HOOKS)
    return lambda: ["left hooks on all modules"] if _restore_hooks(torch_module, before) else []


def _differs(now: Any, before: dict[str, Any]) -> bool:
    return list(now) != list(before) or any(now[key] is not value for key, value in before.items())


def _refill(table: Any, before: dict[str, Any]) -> None:
    table.clear()
    table.update(before)
