"""The layers that run in a forward: their names, numbers of calls and shapes, and the taps that patterns name."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from sr_hooks.errors import NetworkError, TapError, nearest
from sr_hooks.hooks.taps import Tap, count_tensors, module_named, parse_tap, tensor_of

__all__ = ["Layer", "convolutions", "deep_feature", "layers", "resolve"]


@dataclass(frozen=True)
class Layer:
    """A module that ran in one forward: how often (`calls`), and the shapes of the first tensors of its first run.

    `outputs` is the number of tensors that the module returns: one can be replaced by `intervene` only where it is 1.
    """

    name: str
    kind: str
    calls: int
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    order: int
    outputs: int = 1


def layers(module: nn.Module, forward: Callable[[], Any]) -> list[Layer]:
    """Every module that ran during forward(), in order of its first run, with its number of runs and shapes."""
    seen: dict[str, Layer] = {}
    ran: dict[str, int] = {}

    def begin(*_: Any) -> None:
        ran.clear()  # a tap counts within a call of the network, of which there may be several

    def note(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
            before = seen.get(name)
            tensors = tensor_of(args if args else kwargs), tensor_of(out)
            before_shape, after_shape = (None if t is None else tuple(t.shape) for t in tensors)
            first = before or Layer(
                name, type(part).__name__, 0, before_shape, after_shape, len(seen), count_tensors(out)
            )
            ran[name] = ran.get(name, 0) + 1
            seen[name] = replace(first, calls=max(first.calls, ran[name]))

        return hook

    with ExitStack() as stack:
        stack.callback(module.register_forward_pre_hook(begin).remove)
        for name, part in module.named_modules():
            if name:
                stack.callback(part.register_forward_hook(note(name), with_kwargs=True).remove)
        with torch.no_grad():
            forward()
    return sorted(seen.values(), key=lambda layer: layer.order)


def deep_feature(module: nn.Module, ran_layers: Iterable[Layer]) -> Tap:
    """`auto`: the deep feature before reconstruction, the input of the last convolution that ran."""
    ran = convolutions(module, list(ran_layers))
    if not ran:
        raise NetworkError(f"{type(module).__name__} ran no convolution, so `auto` has no meaning: name the layers")
    last = ran[-1]
    return Tap(last.name, last.calls - 1 if last.calls > 1 else None, at_input=True)


def convolutions(module: nn.Module, ran_layers: list[Layer]) -> list[Layer]:
    """The convolutions that ran; where none did, the innermost layers that own a kernel.

    ECBSR, like other networks that fold branches into one kernel, runs its convolutions as functions when evaluated.
    """
    modules = dict(module.named_modules())
    ran = [layer for layer in ran_layers if isinstance(modules[layer.name], (nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    if ran:
        return ran
    owners = [layer for layer in ran_layers if any(p.ndim >= 4 for p in modules[layer.name].parameters())]
    return [layer for layer in owners if not any(other.name.startswith(layer.name + ".") for other in owners)]


def resolve(module: nn.Module, names: str | Iterable[str | Tap], forward: Callable[[], Any]) -> list[Tap]:
    """Taps from names, patterns (`body.*`), `auto` and `all` (every convolution's output), checked against one forward.

    Raises:
        TapError: no such layer, one that does not run, or one that runs several times without `#k`.
    """
    by_name = {layer.name: layer for layer in layers(module, forward)}
    taps: list[Tap] = []
    for item in [names] if isinstance(names, (str, Tap)) else names:
        if item == "auto":
            taps.append(deep_feature(module, by_name.values()))
        elif item == "all":
            ran = convolutions(module, list(by_name.values()))
            taps += [t for layer in ran for t in _every_call(layer, at_input=False)]
        else:
            tap = parse_tap(item)
            if any(c in tap.name for c in "*?["):
                matching = [n for n in by_name if fnmatch.fnmatchcase(n, tap.name)]
                if not matching:
                    raise TapError(f"no layer matches {tap.name!r}; {nearest(tap.name, by_name)}")
                taps += [t for n in matching for t in _every_call(by_name[n], at_input=tap.at_input)]
            else:
                taps.append(_checked(tap, module, by_name))
    return list(dict.fromkeys(taps))


def _every_call(layer: Layer, *, at_input: bool) -> list[Tap]:
    calls = [None] if layer.calls == 1 else range(layer.calls)
    return [Tap(layer.name, call, at_input) for call in calls]


def _checked(tap: Tap, module: nn.Module, by_name: Mapping[str, Layer]) -> Tap:
    module_named(module, tap.name)
    layer = by_name.get(tap.name)
    if layer is None:
        raise TapError(f"{tap.name} does not run in a forward pass of this {type(module).__name__}")
    if tap.call is None and layer.calls > 1:
        raise TapError(
            f"{tap.name} runs {layer.calls} times in a forward: say which with {tap.name}#0 to #{layer.calls - 1}"
        )
    if tap.call is not None and tap.call >= layer.calls:
        raise TapError(f"{tap} does not exist: {tap.name} runs {layer.calls} time(s), the last is #{layer.calls - 1}")
    return tap
