"""Slopes of operations between two nodes of a path: secants, in place of the derivatives at one node.

With them a backward gives J (x' - x) = f(x') - f(x) for the whole network, J being the product of all slopes: what the
interval adds to the objective, divided among the pixels. The sum over the pixels is exact, however long the interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["Inputs", "Notes", "Secants"]

aten = torch.ops.aten

Inputs = Sequence[tuple[torch.Tensor, ...]]
"""What the operations with slopes took at a node, operation by operation."""


class Notes:
    """What the operations took at one node, and at the other end of the interval for which a backward is wanted."""

    def __init__(self, *, weighs: bool = False) -> None:
        self._weighs = weighs
        self.own: list[tuple[torch.Tensor, ...]] = []
        self.other: Inputs = ()
        self._versions: list[int] = []
        self._turned = self._moved = 0.0
        self._scratch: dict[Any, tuple[torch.Tensor, torch.Tensor]] = {}

    def take(self, inputs: Sequence[torch.Tensor]) -> int:
        """Write down what an operation takes; the operation's number."""
        taken = tuple(each.detach() for each in inputs)
        self.own.append(taken)
        self._versions += [each._version for each in taken]
        return len(self.own) - 1

    def check(self) -> None:
        """To be called after the forward.

        Raises:
            ValueError: the network wrote in place into what one of the operations took.
        """
        if [each._version for taken in self.own for each in taken] != self._versions:
            raise ValueError("the network writes in place into what an operation took")

    def scratch(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two tensors to write to: asking for memory in each operation takes longer than the operation."""
        key = (like.shape, like.stride(), like.dtype, like.device)
        if key not in self._scratch:
            self._scratch[key] = torch.empty_like(like), torch.empty_like(like)
        return self._scratch[key]

    def face(self, other: Inputs) -> None:
        """The next backward has the slopes from this node to another one.

        Raises:
            ValueError: the network ran other operations there.
        """
        if [tuple(each.shape for each in taken) for taken in other] != [
            tuple(each.shape for each in taken) for taken in self.own
        ]:
            raise ValueError("the network runs other operations at another node")
        self.other, self._turned, self._moved = other, 0.0, 0.0

    def weigh(self, gradient: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
        """Count a rectifier's inputs at this node and at the other one towards `turned`, in a backward."""
        if not self._weighs:
            return
        one, two = self.scratch(x)
        torch.mul(x, gradient, out=one)
        torch.mul(y, gradient, out=two)
        product = _dot(one, two)
        self._moved += _dot(one, one) + _dot(two, two) - 2 * product
        self._turned += 2 * (_dot(one.abs_(), two.abs_()) - product)

    @property
    def turned(self) -> float:
        """How much of the last backward's rectifiers changed their sign between the two nodes, from 0 to 1.

        The root of the sum of 4 |x x'| g^2 over inputs of unlike signs, as a share of the sum of (x - x')^2 g^2 over
        all, g being the gradient; 0 where nothing was weighed. Where few turn, the network is nearly linear in between.
        """
        return math.sqrt(min(max(self._turned / self._moved, 0.0), 1.0)) if self._moved > 0 else 0.0


def _dot(one: torch.Tensor, other: torch.Tensor) -> float:
    """The inner product of two tensors of one layout without gaps."""
    count = (one.numel(),)
    return float(torch.dot(one.as_strided(count, (1,)), other.as_strided(count, (1,))))


class Slope(Protocol):
    """An operation and its slopes."""

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The operation itself."""
        ...

    def back(
        self, gradient: torch.Tensor, own: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...], notes: Notes
    ) -> tuple[torch.Tensor, ...]:
        """The gradient times the slope for each input."""
        ...


class Rectifier:
    """x above 0 and `below` times x below it: ReLU, LeakyReLU, PReLU, and for -1 the absolute value.

    The slope is (1 + below)/2 + (1 - below)/2 * q with q = (x + x') / (|x| + |x'|), which needs no difference of nearly
    equal numbers. Where both are 0 the slope is `below`, as the derivative of torch is.
    """

    def __init__(self, below: float | torch.Tensor) -> None:
        self.below = below

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        if isinstance(self.below, torch.Tensor):
            return torch.where(x > 0, x, self.below * x)
        return x.relu() if self.below == 0 else F.leaky_relu(x, self.below)

    def back(
        self, gradient: torch.Tensor, own: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...], notes: Notes
    ) -> tuple[torch.Tensor, ...]:
        (x,), (y,) = own, other
        notes.weigh(gradient, x, y)
        one, two = notes.scratch(x)
        sizes = torch.abs(x, out=one).add_(torch.abs(y, out=two))
        q = torch.add(x, y).div_(sizes).nan_to_num_(nan=-1.0)
        return (q.mul_((1 - self.below) / 2).add_((1 + self.below) / 2).mul_(gradient),)


class Product:
    """Two factors of one shape, which may be one tensor: the slope for each is the mean of the other."""

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0] * inputs[1]

    def back(
        self, gradient: torch.Tensor, own: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...], notes: Notes
    ) -> tuple[torch.Tensor, ...]:
        half = gradient / 2
        return half * (own[1] + other[1]), half * (own[0] + other[0])


class Root:
    """The square root; the derivative of torch is infinite at 0, and so is the slope between two zeros."""

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0].sqrt()

    def back(
        self, gradient: torch.Tensor, own: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...], notes: Notes
    ) -> tuple[torch.Tensor, ...]:
        return (gradient / (own[0].sqrt() + other[0].sqrt()),)


class _Slope(torch.autograd.Function):
    """An operation of which the backward has the slope to the other end, as the notes say then."""

    @staticmethod
    def forward(ctx: Any, notes: Notes, slope: Slope, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.notes, ctx.slope, ctx.place = notes, slope, notes.take(inputs)
        return slope.value(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        own, other = ctx.notes.own[ctx.place], ctx.notes.other[ctx.place]
        return (None, None, *ctx.slope.back(gradients[0], own, other, ctx.notes))


class Secants(TorchFunctionMode):
    """While open, operations that have slopes are written down in `notes`, and differentiated by these.

    All others keep their derivatives, which are the slopes where they are linear.
    """

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self._notes = notes

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        rule = None if "out" in kwargs else _RULES.get(function)
        slope = rule(*args, **kwargs) if rule is not None else None
        if slope is None or not all(each.is_floating_point() for each in slope[1]):
            return function(*args, **kwargs)
        operation, inputs, in_place = slope
        if not in_place:
            return _Slope.apply(self._notes, operation, *inputs)
        out = _Slope.apply(self._notes, operation, *(each.clone() for each in inputs))
        return inputs[0].copy_(out)


_Found = tuple[Slope, tuple[torch.Tensor, ...], bool] | None


def _relu(input: torch.Tensor, inplace: bool = False) -> _Found:
    return Rectifier(0.0), (input,), inplace


def _leaky(input: torch.Tensor, negative_slope: float = 0.01, inplace: bool = False) -> _Found:
    return Rectifier(float(negative_slope)), (input,), inplace


def _prelu(input: torch.Tensor, weight: torch.Tensor) -> _Found:
    if weight.ndim == 1 and weight.numel() > 1:
        weight = weight.view(-1, *(1 for _ in range(input.ndim - 2)))
    return Rectifier(weight.detach()), (input,), False


def _absolute(input: torch.Tensor) -> _Found:
    return Rectifier(-1.0), (input,), False


def _root(input: torch.Tensor) -> _Found:
    return Root(), (input,), False


def _square(input: torch.Tensor) -> _Found:
    return Product(), (input, input), False


def _power(input: Any, exponent: Any) -> _Found:
    return (
        _square(input)
        if isinstance(input, torch.Tensor) and isinstance(exponent, (int, float)) and exponent == 2
        else None
    )


def _times(input: Any, other: Any) -> _Found:
    if not isinstance(input, torch.Tensor) or not isinstance(other, torch.Tensor):
        return None
    if input is other:
        return _square(input)
    alike = input.shape == other.shape and input.dtype == other.dtype and input.is_floating_point()
    return (Product(), (input, other), False) if alike else None


def _in_place(rule: Callable[..., _Found]) -> Callable[..., _Found]:
    def found(*args: Any, **kwargs: Any) -> _Found:
        slope = rule(*args, **kwargs)
        return slope and (slope[0], slope[1], True)

    return found


_T = torch.Tensor
_lk, _lk_ = torch._C._nn.leaky_relu, torch._C._nn.leaky_relu_
_RULES: dict[Any, Callable[..., _Found]] = {
    **dict.fromkeys((F.relu, torch.relu, _T.relu, aten.relu, aten.relu.default), _relu),
    **dict.fromkeys((torch.relu_, _T.relu_, aten.relu_, aten.relu_.default), _in_place(_relu)),
    **dict.fromkeys((F.leaky_relu, _lk, aten.leaky_relu, aten.leaky_relu.default), _leaky),
    **dict.fromkeys((F.leaky_relu_, _lk_), _in_place(_leaky)),
    **dict.fromkeys((F.prelu, torch.prelu, _T.prelu, aten._prelu_kernel.default), _prelu),
    **dict.fromkeys((torch.abs, _T.abs, _T.__abs__, aten.abs.default), _absolute),
    **dict.fromkeys((torch.absolute, _T.absolute), _absolute),
    **dict.fromkeys((torch.abs_, _T.abs_, _T.absolute_), _in_place(_absolute)),
    **dict.fromkeys((torch.sqrt, _T.sqrt, aten.sqrt.default), _root),
    **dict.fromkeys((torch.sqrt_, _T.sqrt_), _in_place(_root)),
    **dict.fromkeys((torch.square, _T.square), _square),
    **dict.fromkeys((torch.square_, _T.square_), _in_place(_square)),
    **dict.fromkeys((torch.pow, _T.pow, _T.__pow__, aten.pow.Tensor_Scalar), _power),
    **dict.fromkeys((_T.pow_, _T.__ipow__), _in_place(_power)),
    **dict.fromkeys((torch.mul, _T.mul, _T.__mul__, _T.__rmul__, torch.multiply, _T.multiply, aten.mul.Tensor), _times),
    **dict.fromkeys((_T.mul_, _T.__imul__, _T.multiply_), _in_place(_times)),
}
