"""Marks on tensors: which operations made a tensor, as far as recognising attention needs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["Mark", "Marks", "name_of", "tensors_in"]

_SAME = {"rmul": "mul", "imul": "mul", "multiply": "mul", "rmatmul": "matmul", "iadd": "add", "radd": "add"}
_SQUASH = {"sigmoid", "hardsigmoid", "softmax", "special_expit"}
_LEARNED = {"conv1d", "conv2d", "conv3d", "linear", "conv_transpose2d"}
_ACTIVATE = {"relu", "leaky_relu", "gelu", "silu", "prelu", "elu", "tanh", "hardtanh", "relu6", "hardswish"}
_ARITHMETIC = {"add", "sub", "mul", "div", "truediv", "rsub", "neg"}
_SCALAR = _ARITHMETIC | {"clamp", "contiguous", "clone", "detach", "to", "float"}
_LAYOUT = {
    "view", "reshape", "permute", "transpose", "movedim", "unsqueeze", "squeeze", "flatten", "unflatten", "expand",
    "expand_as", "repeat", "chunk", "split", "unbind", "getitem", "interpolate", "upsample", "dropout", "type_as",
    "half", "bfloat16", "type", "view_as", "reshape_as", "swapaxes", "swapdims", "narrow", "T", "mT",
}  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """Of a tensor.

    Attributes:
        squashed: a sigmoid or softmax made its values, and what came after kept them apart and in order.
        learned: a convolution or linear layer made them, with activations after it at most.
        attends: a softmax over its last dimension made it.
        source: stands for the tensor whose values were squashed.
        shifted: plain numbers were added to or multiplied with squashed values, which may lie outside [0, 1].
        depends: the network's input went into it.
        ways: of a softmax's values, how many share 1; 0 of others.
    """

    squashed: bool = False
    learned: bool = False
    attends: bool = False
    source: object | None = None
    shifted: bool = False
    depends: bool = False
    ways: int = 0


class Marks:
    """Marks of the tensors of one forward pass; a tensor that dies takes its mark with it."""

    def __init__(self) -> None:
        self._marks: Any = WeakTensorKeyDictionary()
        self._roots: Any = WeakTensorKeyDictionary()

    def of(self, tensor: torch.Tensor) -> Mark:
        """An empty one where nothing is known."""
        return self._marks.get(tensor, _NONE)

    def root(self, tensor: torch.Tensor) -> object:
        """Equal for a tensor and what plain numbers added or multiplied made of it."""
        if tensor not in self._roots:
            self._roots[tensor] = object()
        return self._roots[tensor]

    def begin(self, inputs: Any) -> None:
        """These are the network's input."""
        for tensor in tensors_in(inputs):
            self._marks[tensor] = Mark(depends=True)

    def note(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Mark what an operation gave."""
        tensors = list(tensors_in((args, kwargs)))
        if not tensors:
            return
        depends = any(self.of(tensor).depends for tensor in tensors)
        mark = replace(self._after(name, tensors, args, kwargs), depends=depends)
        for tensor in tensors_in(out):
            self._marks[tensor] = mark
            if name in _SCALAR and len(tensors) == 1:
                self._roots[tensor] = self.root(tensors[0])

    def _after(self, name: str, tensors: list[torch.Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mark:
        first = self.of(tensors[0])
        if name in _SQUASH:
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            last = name == "softmax" and tensors[0].ndim > 2 and dim in (-1, tensors[0].ndim - 1)
            ways = tensors[0].shape[dim] if name == "softmax" and isinstance(dim, int) else 0
            return Mark(True, first.learned, last, self.root(tensors[0]), ways=ways)
        if name in _LEARNED:
            return Mark(learned=True)
        if name in _ACTIVATE:
            return Mark(learned=first.learned)
        if name in _LAYOUT or (name in _SCALAR and len(tensors) == 1):
            upright = name not in ("transpose", "permute", "mT", "T", "swapaxes", "swapdims", "movedim")
            return replace(first, attends=first.attends and upright, shifted=first.shifted or name in _ARITHMETIC)
        if name == "mul" and all(self.of(tensor).squashed for tensor in tensors):
            return Mark(squashed=True, learned=first.learned)  # gates put together are a gate
        return _NONE


_NONE = Mark()


def name_of(function: Any) -> str:
    """One name for an operation, its method, its operator and its in-place form."""
    name = getattr(function, "__name__", "").strip("_")
    return _SAME.get(name, name)


def tensors_in(value: Any) -> Iterable[torch.Tensor]:
    """The tensors in arguments or results, however nested."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
