"""How a tap is written, and the layer and the tensor that a tap names.

A tap is written `name` (the output of a layer that runs once a forward), `name#k` (its k-th run, from 0),
and with `:in` for the input: `body.15`, `lrelu#2`, `conv_last:in`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sr_hooks.errors import TapError, nearest

__all__ = ["Tap", "count_tensors", "module_named", "parse_layers", "parse_tap", "tensor_of", "with_tensor"]

_FORM = re.compile(r"(?P<name>[^#:]*)(?:#(?P<call>\d+))?(?P<side>:in)?")


@dataclass(frozen=True)
class Tap:
    """A position in one forward: the layer's name, which of its runs (None for its only run), input or output."""

    name: str
    call: int | None = None
    at_input: bool = False

    def __str__(self) -> str:
        return self.name + (f"#{self.call}" if self.call is not None else "") + (":in" if self.at_input else "")


def parse_tap(text: str | Tap) -> Tap:
    """The tap that a text names.

    Raises:
        TapError: not of the form `name`, `name#k`, `name:in`, `name#k:in`.
    """
    if isinstance(text, Tap):
        return text
    match = _FORM.fullmatch(text)
    if match is None:
        raise TapError(f"tap {text!r} is not understood: write name, name#k for its k-th run, with :in for the input")
    call = match["call"]
    return Tap(match["name"], None if call is None else int(call), match["side"] is not None)


def parse_layers(value: Any) -> list[Any]:
    """Layers as a list, from one, several, or text that separates them by commas or blanks."""
    if isinstance(value, str):
        return value.replace(",", " ").split() or [value]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def module_named(root: nn.Module, name: str) -> nn.Module:
    """The part of that name; a TapError names the nearest ones where there is none."""
    modules: dict[str, nn.Module] = dict(root.named_modules())
    if name not in modules:
        raise TapError(f"{type(root).__name__} has no layer {name!r}; {nearest(name, (n for n in modules if n))}")
    return modules[name]


def tensor_of(value: Any) -> torch.Tensor | None:
    """The tensor, or the first in a tuple, list or dict."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return next((t for t in map(tensor_of, value) if t is not None), None)
    return None


def count_tensors(value: Any) -> int:
    """How many tensors a layer's output holds, in tuples, lists and dicts."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return sum(map(count_tensors, value))
    return int(isinstance(value, torch.Tensor))


def with_tensor(value: Any, new: torch.Tensor) -> Any:
    """A copy of a tuple, list or dict with its only tensor replaced; None where there is no such one at its top."""
    if isinstance(value, torch.Tensor):
        return new
    if count_tensors(value) != 1:
        return None
    if isinstance(value, Mapping):
        key = next((key for key, each in value.items() if isinstance(each, torch.Tensor)), None)
        return None if key is None else _with_item(value, key, new)
    if type(value) in (tuple, list):
        return type(value)(new if isinstance(each, torch.Tensor) else each for each in value)
    return None


def _with_item(value: Mapping[Any, Any], key: Any, new: torch.Tensor) -> Any:
    changed: Any = copy.copy(value)
    changed[key] = new
    return changed
