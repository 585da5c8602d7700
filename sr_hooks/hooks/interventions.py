"""Change what passes a tap (replace, scale, drop) and bypass modules; every handle is removed, always.

with intervene(module, {"body.3": scale(0.5), "conv_last:in": drop([4, 17])}):
    out = network(lr)
with bypass(module, ["body.3.attention"]):
    out = network(lr)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, get_args

import torch
from torch import nn

from sr_hooks.errors import OptionError, TapError
from sr_hooks.hooks.activations import intervene
from sr_hooks.hooks.firing import check_reachable, firing, root_of
from sr_hooks.hooks.taps import Tap, module_named, tensor_of, with_tensor

__all__ = ["Change", "Stand", "bypass", "cloning_outputs", "drop", "drop_each", "intervene", "replace", "scale"]

Change = Callable[[torch.Tensor], torch.Tensor]
"""A function from what passes a tap to its replacement, as `intervene` takes it."""

Stand = Literal["input", "zero", "one", "mean"]
"""What a bypassed module returns: its input, zeros, ones, or the mean of its own output over positions."""


def replace(feature: torch.Tensor) -> Change:
    """Replace what passes by `feature`, whose first dimension may be 1 for any batch.

    Raises (when the tap fires):
        TapError: another shape passes there.
    """

    def change(passing: torch.Tensor) -> torch.Tensor:
        if feature.shape[1:] != passing.shape[1:] or len(feature) not in (1, len(passing)):
            raise TapError(f"a feature of shape {tuple(feature.shape)} cannot replace one of {tuple(passing.shape)}")
        return feature.to(passing).expand_as(passing).clone()

    return change


def scale(factor: float | torch.Tensor) -> Change:
    """Multiply what passes by a number, by (C,) factors of the channels, or by (N,C) factors, a row for each image.

    Channels are the second dimension, as in convolutions.

    Raises (when the tap fires):
        TapError: another number of channels or images passes there.
    """
    if not isinstance(factor, torch.Tensor) or factor.ndim == 0:
        return lambda passing: passing * factor

    def change(passing: torch.Tensor) -> torch.Tensor:
        rows = factor if factor.ndim == 2 else factor[None]
        if rows.ndim != 2 or rows.shape[1] != passing.shape[1] or len(rows) not in (1, len(passing)):
            raise TapError(f"factors of shape {tuple(factor.shape)} do not fit a feature of {tuple(passing.shape)}")
        return passing * rows.to(passing).view(*rows.shape, *[1] * (passing.ndim - 2))

    return change


def drop(channels: Sequence[int]) -> Change:
    """Set the same channels to zero in every image."""

    def change(passing: torch.Tensor) -> torch.Tensor:
        return passing.index_fill(1, _channels(channels, passing), 0)

    return change


def drop_each(channels: Sequence[int]) -> Change:
    """Set channel channels[i] to zero in image i alone: with one image N times, N ablations in one batch."""

    def change(passing: torch.Tensor) -> torch.Tensor:
        if len(channels) != len(passing):
            raise TapError(f"{len(channels)} channels to drop for a batch of {len(passing)}: give one an image")
        out = passing.clone()
        out[torch.arange(len(passing), device=out.device), _channels(channels, passing)] = 0
        return out

    return change


def _channels(channels: Sequence[int], passing: torch.Tensor) -> torch.Tensor:
    count = passing.shape[1]
    outside = [channel for channel in channels if not 0 <= channel < count]
    if outside:
        raise TapError(f"no channel {outside[0]} to drop: the feature has channels 0 to {count - 1}")
    return torch.tensor(list(channels), dtype=torch.long, device=passing.device)


@contextmanager
def bypass(module: Any, names: Iterable[str], *, stand: Stand = "input") -> Iterator[None]:
    """While the context lasts, named modules return something else than what they compute, in all their runs.

    Args:
        module: a torch.nn.Module, or a `Network`, whose module is meant.
        names: of modules, as `sr-hooks layers` lists them.
        stand: "input": its first tensor as it came in, for a module inside a chain that keeps the shape (RCAN's
            channel attention); "zero": a branch that is added; "one": a gate that is multiplied; "mean": the output's
            mean over positions, a gate that is the same at every position.

    Raises:
        TapError: no such module; or, when it runs, its input has not its output's shape.
    """
    if stand not in get_args(Stand):
        raise OptionError(f"stand is {stand!r}: {', '.join(get_args(Stand))}")
    root = root_of(module)
    parts = [(name, module_named(root, name)) for name in names]
    check_reachable(root, (Tap(name) for name, _ in parts))
    with ExitStack() as stack:
        stack.enter_context(firing(root))
        for name, part in parts:
            stack.callback(part.register_forward_hook(_bypass_hook(name, stand), with_kwargs=True).remove)
        yield


def _bypass_hook(name: str, stand: Stand) -> Callable[..., Any]:
    def hook(part: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
        tensor = tensor_of(out)
        changed = None if tensor is None else with_tensor(out, instead_of(tensor, args, kwargs))
        if changed is None:
            raise TapError(f"{name} returns a {type(out).__name__}; only a module that returns a tensor is bypassed")
        return changed

    def instead_of(out: torch.Tensor, args: Any, kwargs: Any) -> torch.Tensor:
        if stand == "zero":
            return torch.zeros_like(out)
        if stand == "one":
            return torch.ones_like(out)
        if stand == "mean":
            return out.mean(dim=tuple(range(2, out.ndim)), keepdim=True).expand_as(out).clone()
        tensor = tensor_of(args if args else kwargs)
        if tensor is None or tensor.shape != out.shape:
            shape = "none" if tensor is None else tuple(tensor.shape)
            raise TapError(
                f"{name} cannot be bypassed by its input: that is {shape}, its output {tuple(out.shape)}; use "
                "stand='zero' for a branch that is added, 'one' for a gate that is multiplied"
            )
        return tensor.clone()

    return hook


@contextmanager
def cloning_outputs(module: nn.Module) -> Iterator[None]:
    """Clone every leaf module's output, for networks that write in place into what autograd saved."""

    def clone(_: nn.Module, args: Any, out: Any) -> Any:
        return out.clone() if isinstance(out, torch.Tensor) else out

    with ExitStack() as stack:
        for part in module.modules():
            if next(part.children(), None) is None:
                stack.callback(part.register_forward_hook(clone).remove)
        yield
