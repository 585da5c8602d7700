"""Where a missing gradient loses nothing, or is lost although autograd goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import torch

__all__ = ["Differences", "blocked", "has_no_slope"]

T = TypeVar("T")

_SHAPE_ALONE = ("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_")
"""Operations whose values do not depend on the values of their argument."""

_WITHOUT_SLOPE = frozenset(f"aten.{name}" for name in ("ceil", "floor", "floor_divide", "round", "sign", "trunc"))
"""Operations whose derivative is 0, so that no gradient can be cut behind them."""


@cache
def has_no_slope(name: str) -> bool:
    """Whether an operation's result has derivative 0 everywhere."""
    return name.rpartition(".")[0] in _WITHOUT_SLOPE or any(part in name for part in _SHAPE_ALONE)


def blocked(nodes: Sequence[tuple[Any, torch.Tensor, str]]) -> list[str]:
    """The parts in which a function of the network's own passes no gradient on."""
    parts = []
    for node, output, part in nodes:
        with suppress(Exception), torch.no_grad():  # a function of several outputs, or that does not run alone
            gradients = node.apply(torch.ones_like(output))
            gradients = gradients if isinstance(gradients, tuple) else (gradients,)
            if not any(gradient is not None and bool(gradient.any()) for gradient in gradients):
                parts.append(part)
    return parts


class Differences:
    """Knows straight-through estimators: b + (c - b).detach(), where c does not depend on the input, has b's gradient.

    Quantisers and codebooks are differentiated so on purpose, and nothing is left out.
    """

    def __init__(self) -> None:
        self._origins: dict[int, int] = {}  # of a detached tensor: the one that it was detached from
        self._opposites: dict[int, int] = {}  # of c - b: b

    def follow(self, name: str, tensors: Sequence[torch.Tensor], out: Any, depends: Callable[[Any], bool]) -> None:
        """Note that a result is a detached tensor, or a difference."""
        if name == "aten.detach.default":
            self._origins[id(out)] = self._origin(tensors[0])
            if id(tensors[0]) in self._opposites:
                self._opposites[id(out)] = self._opposites[id(tensors[0])]
        elif name == "aten.sub.Tensor" and len(tensors) == 2 and not depends(tensors[0]):
            self._opposites[id(out)] = self._origin(tensors[1])

    def _origin(self, tensor: torch.Tensor) -> int:
        return self._origins.get(id(tensor), id(tensor))

    def without_straight_through(
        self, name: str, tensors: Sequence[torch.Tensor], inputs: list[tuple[torch.Tensor, T]]
    ) -> list[tuple[torch.Tensor, T]]:
        """The arguments that may be cut: not the c - b that is added to b."""
        if name != "aten.add.Tensor" or len(tensors) != 2:
            return inputs
        for one, other in (tensors, tensors[::-1]):
            if self._opposites.get(id(other)) == id(one):
                return [(tensor, value) for tensor, value in inputs if tensor is not other]
        return inputs
