"""Small networks around one operation, and the distance between their cone's gradient and their own."""

from __future__ import annotations

import torch
from torch import nn

from sr_hooks.attribution.objectives.by_name import make_objective
from sr_hooks.attribution.receptive_field.cone import Cone
from sr_hooks.attribution.receptive_field.trace import record
from sr_hooks.images.windows import Window


def conv(i: int = 6, o: int = 6, k: int = 3, **more) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, **{"padding": k // 2, **more})


class Shaped(nn.Module):
    """A convolution, an operation of six features at the input's size, and a convolution."""

    def __init__(self, operation, *parts: nn.Module) -> None:
        super().__init__()
        self.head, self.tail, self.parts, self.operation = conv(3), conv(o=3), nn.ModuleList(parts), operation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.operation(torch.tanh(self.head(x)), *self.parts))


def through(*parts: nn.Module):
    return lambda: Shaped(lambda y, *all_parts: nn.Sequential(*all_parts)(y), *parts)


def plainly(operation):
    return lambda: Shaped(operation)


def gradients(module: nn.Module, window: Window, size: tuple[int, int] = (24, 30)) -> tuple[Cone, float]:
    """The cone of a window, and the relative distance of its gradient to the whole network's."""
    torch.manual_seed(1)
    objective = make_objective("gradient")
    module.eval().requires_grad_(False)
    trace = record(lambda x: [y := module(x), objective(y, x, window)], module, [(1, 3, *size)], torch.device("cpu"))
    cone = Cone(trace, [1], shown=0)
    x = torch.rand(1, 3, *size, requires_grad=True)
    (whole,) = torch.autograd.grad(objective(module(x), x, window).sum(), x)
    box = cone.inputs
    part = x.detach()[..., box.top : box.bottom, box.left : box.right].clone().requires_grad_()
    shown, (value,) = cone(part, cone.prepare(dict([*module.named_parameters(), *module.named_buffers()])))
    expected = module(x)[..., cone.shown_box.top : cone.shown_box.bottom, cone.shown_box.left : cone.shown_box.right]
    assert torch.allclose(shown, expected, atol=1e-6)
    found = torch.zeros_like(whole)
    found[..., box.top : box.bottom, box.left : box.right] = torch.autograd.grad(value.sum(), part)[0]
    return cone, float((found - whole).norm() / whole.norm())
