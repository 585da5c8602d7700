"""Find attention by what a network does, not by what its classes are called.

A forward pass is followed operation by operation. Attention is

- a **gate**: a feature is multiplied by values that depend on the image and that a sigmoid, a softmax, a convolution
  or a linear layer made: one value a channel (channel attention), one a place (spatial), or, if squashed by a sigmoid
  or softmax, one for every value (pixel) or one for a whole feature (branch, A2N's pair of weights).
  A tensor times its own sigmoid is an activation, not attention;
- a **mixture**: a softmax over the last dimension, and a matrix product with it. Whether the positions of a window are
  mixed (window), all of them (self), channels (transposed) or a fixed set of values (cross) shows when the image grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

import sr_hooks
from sr_hooks.errors import NetworkError
from sr_hooks_attention.fused import multi_head_attention, weights_of
from sr_hooks_attention.marks import Marks, name_of

__all__ = ["Act", "Event", "Site", "acting", "find"]

_CHANNEL, _SPATIAL = {(2, 3), (1, 2)}, {(1,), (3,)}  # dimensions of (N,C,H,W) or (N,H,W,C) that a gate leaves out


@dataclass(frozen=True)
class Event:
    """Attention as it happens.

    Attributes:
        key: in which module, which of its runs, and which attention in it.
        kind: channel, spatial, pixel, branch, or mixture, whatever it mixes.
        gate: the values; of a mixture (...,n,m), rows summing to 1.
        feature: what they are multiplied with; of a mixture the m values (...,m,d), or None where it comes first.
        bounded: whether the gate was squashed to between 0 and 1, and left there.
        ways: of a branch, how many branches the softmax weighs; 0 where no softmax did.
    """

    key: tuple[str, int, int]
    kind: str
    gate: torch.Tensor
    feature: torch.Tensor | None
    bounded: bool
    ways: int = 0


@dataclass(frozen=True)
class Site:
    """A place of attention: its key, its name for people, its kind (of a mixture window, self, transposed, cross)."""

    key: tuple[str, int, int]
    name: str
    kind: str


Act = Callable[[Event], "torch.Tensor | None"]
"""What is done at each event; values that are returned take the gate's place."""


class _Follow(TorchFunctionMode):
    def __init__(self, act: Act) -> None:
        super().__init__()
        self.act = act
        self.inside: list[tuple[str, int]] = []
        self.begin(())

    def begin(self, inputs: Any) -> None:
        """A new forward pass."""
        self.runs: dict[str, int] = {}
        self.events: dict[tuple[str, int], int] = {}
        self.marks = Marks()
        self.marks.begin(inputs)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = name_of(function)
        if self.inside:
            if name == "scaled_dot_product_attention":
                return self._fused(function, args, kwargs)
            if name == "multi_head_attention_forward":
                return self._multi_head(function, args, kwargs)
            if name == "mul":
                args = self._multiplied(args)
            elif name in ("matmul", "bmm", "einsum"):
                args = self._mixed(args)
        out = function(*args, **kwargs)
        if self.inside:
            self.marks.note(name, args, kwargs, out)
        return out

    def _event(
        self, kind: str, gate: torch.Tensor, feature: torch.Tensor | None, bounded: bool, ways: int = 0
    ) -> torch.Tensor:
        owner = self.inside[-1]
        number = self.events.get(owner, 0)
        self.events[owner] = number + 1
        changed = self.act(Event((*owner, number), kind, gate, feature, bounded, ways))
        return gate if changed is None else changed

    def _multiplied(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(args) != 2 or not all(isinstance(a, torch.Tensor) and a.is_floating_point() for a in args):
            return args
        for gate, feature, order in ((args[1], args[0], (1, 0)), (args[0], args[1], (0, 1))):
            kind = self._kind(gate, feature)
            if kind:
                mark = self.marks.of(gate)
                pair = (self._event(kind, gate, feature, mark.squashed and not mark.shifted, mark.ways), feature)
                return tuple(pair[i] for i in order)
        return args

    def _kind(self, gate: torch.Tensor, feature: torch.Tensor) -> str | None:
        """Of a product, seen as `gate` times `feature`; None where that is no attention."""
        mark = self.marks.of(gate)
        if gate.ndim != feature.ndim or gate.ndim not in (3, 4) or not mark.depends:
            return None
        if not (mark.squashed or mark.learned):
            return None
        if self.marks.of(feature).squashed or mark.source is self.marks.root(feature):
            return None
        pairs = list(zip(gate.shape, feature.shape, strict=True))
        if any(g not in (1, f) for g, f in pairs):
            return None
        left_out = tuple(d for d, (g, f) in enumerate(pairs) if d and g == 1 and f > 1)
        if len(left_out) == gate.ndim - 1:  # one value for a whole feature
            return "branch" if mark.squashed else None
        if gate.ndim == 3:  # (N, positions, C)
            kind = "channel" if left_out == (1,) else "spatial" if left_out == (2,) else None
        else:
            kind = "channel" if left_out in _CHANNEL else "spatial" if left_out in _SPATIAL else None
        return kind or ("pixel" if not left_out and mark.squashed else None)

    def _mixed(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        flat = list(args)
        for place, value in enumerate(flat):
            if (
                isinstance(value, torch.Tensor)
                and self.marks.of(value).attends
                and self.marks.of(value).depends
                and value.shape[-1] > 1
            ):
                values = flat[place + 1] if place + 1 < len(flat) else None
                flat[place] = self._event("mixture", value, values, True)
                break
        return tuple(flat)

    def _fused(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The fused kernel keeps its weights to itself, so they are computed beside it."""
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        named = dict(zip(names, args, strict=False)) | kwargs
        query, key, value, mask = named["query"], named["key"], named["value"], named.get("attn_mask")
        if named.get("enable_gqa"):  # each head of keys serves several heads of queries
            several = query.shape[-3] // key.shape[-3]
            key, value = (part.repeat_interleave(several, -3) for part in (key, value))
        causal = bool(named.get("is_causal"))
        weights = weights_of(query, key, mask, scale=named.get("scale"), is_causal=causal)
        changed = self._event("mixture", weights, value, True)
        return function(*args, **kwargs) if changed is weights else changed @ value

    def _multi_head(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`nn.MultiheadAttention` is one function to torch; written out, its operations are followed."""
        with self:
            written_out = multi_head_attention(*args, **kwargs)
        return function(*args, **kwargs) if written_out is None else written_out


@contextmanager
def acting(network: sr_hooks.Network, act: Act) -> Iterator[None]:
    """Forward passes inside show every event to `act`, in their order; every hook is removed after."""
    follow = _Follow(act)

    def enter(name: str) -> Callable[..., None]:
        def hook(part: torch.nn.Module, args: Any, kwargs: Any) -> None:
            if not name:
                follow.begin((args, kwargs))
            follow.runs[name] = follow.runs.get(name, -1) + 1
            follow.inside.append((name, follow.runs[name]))

        return hook

    def leave(*_: Any) -> None:
        follow.inside.pop()

    with ExitStack() as stack:
        for name, part in network.module.named_modules():
            stack.callback(part.register_forward_pre_hook(enter(name), with_kwargs=True).remove)
            stack.callback(part.register_forward_hook(leave, always_call=True).remove)
        stack.enter_context(follow)
        yield


def find(network: sr_hooks.Network, x: torch.Tensor) -> list[Site]:
    """Every place of attention, in the order in which they come.

    Two passes: of x, and of x beside itself, which tells windows from all positions.

    Args:
        x: (1,C,h,w) in [0, 1], or a clip (1,T,C,h,w).

    Raises:
        NetworkError: there is none.
    """
    times = 1 + -(-network.multiple // x.shape[-1])  # so wide that padding does not hide it
    here, wide = (_events(network, image) for image in (x, x.repeat(*[1] * (x.ndim - 1), times)))
    if not here:
        raise NetworkError(
            f"{network.name} has no attention: in a forward pass nothing was multiplied by a gate that depends on the "
            "image, and no softmax was followed by a matrix product"
        )
    sites = []
    for key, (kind, shape) in here.items():
        kind = _mixture(shape, wide[key][1] if key in wide else shape) if kind == "mixture" else kind
        sites.append(Site(key, _name(key, here), kind))
    return sites


def _events(network: sr_hooks.Network, x: torch.Tensor) -> dict[tuple[str, int, int], tuple[str, torch.Size]]:
    seen: dict[tuple[str, int, int], tuple[str, torch.Size]] = {}

    def note(event: Event) -> None:
        seen[event.key] = (event.kind, event.gate.shape)

    with torch.no_grad(), acting(network, note):
        network(x)
    return seen


def _mixture(shape: torch.Size, wide: torch.Size) -> str:
    """What is mixed, from how the weights (...,n,m) grow with the image."""
    if wide[-1] > shape[-1]:
        return "self"
    if prod(wide[:-2]) > prod(shape[:-2]):
        return "window"
    return "cross" if wide[-2] > shape[-2] else "transposed"


def _name(key: tuple[str, int, int], others: Any) -> str:
    """The module, with #k where it runs more than once and [i] where it holds more than one."""
    module, run, number = key
    runs = {other[1] for other in others if other[0] == module}
    several = sum(other[:2] == key[:2] for other in others) > 1
    return (module or "(network)") + (f"#{run}" if len(runs) > 1 else "") + (f"[{number}]" if several else "")
