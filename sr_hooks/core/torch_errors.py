"""Errors of torch about memory, devices and CUDA: recognise them, and explain them in messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from sr_hooks.errors import OptionError

__all__ = ["checked_device", "hint", "is_out_of_memory", "one_line", "wants_cuda", "without_cuda"]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may help."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "out of memory" in str(error))
    )


def checked_device(device: str | torch.device, what: str = "device") -> torch.device:
    """The device; of "auto", cuda where there is one, else the CPU.

    Args:
        what: the name of the argument, for the message.

    Raises:
        OptionError: there is no such device; the message names those that there are.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).add(1).item()
        return torch.device(device)
    except Exception:  # each backend has other errors
        devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        if torch.backends.mps.is_available():
            devices.append("mps")
    raise OptionError(f"{what} {device}: no such device; this machine has {', '.join(devices)}")


def one_line(error: BaseException) -> str:
    """The class of an error and the first line of its message."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__


def wants_cuda(error: BaseException) -> bool:
    """Whether the error comes from code that moves tensors to a CUDA device, on a machine without one."""
    text = str(error)
    return not torch.cuda.is_available() and ("NVIDIA" in text or "not compiled with CUDA" in text)


@contextmanager
def without_cuda() -> Iterator[None]:
    """For the block, `.cuda()` does nothing: for network code that calls it without asking for a device."""
    originals = torch.Tensor.cuda, nn.Module.cuda

    def stay(self: Any, *_: Any, **__: Any) -> Any:
        return self

    torch.Tensor.cuda, nn.Module.cuda = stay, stay  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.Tensor.cuda, nn.Module.cuda = originals  # type: ignore[method-assign]


def hint(error: BaseException) -> str:
    """Half a sentence that explains a frequent error of research code, or ""."""
    text = str(error)
    if "NVIDIA" in text or "not compiled with CUDA" in text:
        return ". It moves tensors to a CUDA device by itself, and there is none here"
    if "fused_act_ext" in text or "upfirdn2d_ext" in text or "deform_conv_ext" in text:
        return ". It needs an operator that is compiled for CUDA, and is not here"
    if "numpy()" in text and "requires grad" in text:
        return ". It leaves torch for numpy, so no gradient can reach its input"
    if "Inference tensors" in text:
        return ". It runs a part of itself under torch.inference_mode(), so no gradient can reach its input"
    return ""
