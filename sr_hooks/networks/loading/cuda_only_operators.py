"""Replace BasicSR's CUDA operators where there is no CUDA: BasicVSR++'s alignment, StyleGAN2's activation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["deformable_alignment", "fused_activation"]

_ARCHITECTURE = "basicsr.archs.basicvsrpp_arch"


class _ModuleProxy:
    """A module with some attributes replaced."""

    def __init__(self, module: Any, **others: Any) -> None:
        self._module = module
        self.__dict__.update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@contextmanager
def deformable_alignment() -> Iterator[None]:
    """While networks are built inside, BasicVSR++ gets its alignment wherever the operator runs.

    BasicSR leaves `deform_align` out of the network where there is no CUDA, and a checkpoint does not fit what is
    left. The operator it calls, torchvision's `deform_conv2d`, runs on CPUs too. Only the name `torch` in BasicSR's
    own module of that architecture is another while the context lasts, and only in what it says of CUDA; a network
    built elsewhere without CUDA stays without alignment.
    """
    module: Any = sys.modules.get(_ARCHITECTURE)
    if module is None or torch.cuda.is_available():
        yield
        return
    before = module.torch
    module.torch = _ModuleProxy(before, cuda=_ModuleProxy(before.cuda, is_available=lambda: True))
    try:
        yield
    finally:
        module.torch = before


def fused_activation() -> None:
    """BasicSR's bias with leaky ReLU, in torch, where the extension that fuses them is missing: else a NameError."""
    for name in ("basicsr.ops.fused_act.fused_act", "basicsr.archs.stylegan2_arch"):
        module: Any = sys.modules.get(name)
        fused = sys.modules.get("basicsr.ops.fused_act.fused_act")
        if module is not None and not hasattr(fused, "fused_act_ext"):
            module.fused_leaky_relu = _leaky_relu_with_bias


def _leaky_relu_with_bias(
    x: torch.Tensor, bias: torch.Tensor, negative_slope: float = 0.2, scale: float = 2**0.5
) -> torch.Tensor:
    shape = (1, -1, *[1] * (x.ndim - 2))
    return torch.nn.functional.leaky_relu(x + bias.view(shape), negative_slope) * scale
