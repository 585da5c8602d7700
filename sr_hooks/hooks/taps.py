"""Capture and intervene on named layers; every handle is removed, always.

A tap is written `name` (the output of a layer that runs once a forward), `name#k` (its k-th run, from 0),
and with `:in` for the input: `body.15`, `lrelu#2`, `conv_last:in`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sr_hooks.errors import NetworkError, TapError, nearest

__all__ = [
    "Captured",
    "Layer",
    "Tap",
    "capture",
    "convolutions",
    "deep_feature",
    "features",
    "intervene",
    "layers",
    "module_named",
    "parse_layers",
    "parse_tap",
    "resolve",
    "tensor_of",
]

_FORM = re.compile(r"(?P<name>[^#:]*)(?:#(?P<call>\d+))?(?P<side>:in)?")


@dataclass(frozen=True)
class Tap:
    """One place in one forward: the layer's name, which of its runs (None: its only one), and the side."""

    name: str
    call: int | None = None
    at_input: bool = False

    def __str__(self) -> str:
        return self.name + (f"#{self.call}" if self.call is not None else "") + (":in" if self.at_input else "")


@dataclass(frozen=True)
class Layer:
    """What one forward showed of one module: `calls` runs, shapes of the first."""

    name: str
    kind: str
    calls: int
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    order: int


def parse_tap(text: str | Tap) -> Tap:
    """A tap from how it is written.

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


def parse_layers(given: Any) -> list[Any]:
    """Layers as a list, from one, several, or text that separates them by commas or blanks."""
    if isinstance(given, str):
        return given.replace(",", " ").split() or [given]
    return list(given) if isinstance(given, (list, tuple)) else [given]


class _Stop(BaseException):
    """The last tap has fired; no Exception, so that a network's own `except` lets it pass."""


def _recomputing() -> bool:
    """Activation checkpointing runs forwards again inside the backward; they are no new calls."""
    return torch._C._current_graph_task_id() != -1


def tensor_of(value: Any) -> torch.Tensor | None:
    """The tensor, or the first in a tuple, list or dict."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return next((t for t in map(tensor_of, value) if t is not None), None)
    return None


def module_named(root: nn.Module, name: str) -> nn.Module:
    """The part of that name, or TapError with the nearest names."""
    modules = dict(root.named_modules())
    if name not in modules:
        raise TapError(f"{type(root).__name__} has no layer {name!r}; {nearest(name, (n for n in modules if n))}")
    return modules[name]


class _Counter:
    """How often each hooked module has run since the root's forward began."""

    def __init__(self, root: nn.Module, stack: ExitStack) -> None:
        self.counts: dict[str, int] = {}
        stack.callback(root.register_forward_pre_hook(self._reset).remove)

    def _reset(self, *_: Any) -> None:
        if not _recomputing():
            self.counts.clear()

    def next(self, key: str) -> int:
        self.counts[key] = self.counts.get(key, -1) + 1
        return self.counts[key]


def _attach(
    root: nn.Module, taps: Iterable[Tap], act: Callable[[Tap, torch.Tensor], torch.Tensor | None], stack: ExitStack
) -> None:
    """Call act(tap, tensor) wherever a tap fires; a tensor that it returns takes the place of the one it was given."""
    counter = _Counter(root, stack)
    for tap in taps:
        stack.callback(_hook(module_named(root, tap.name), tap, counter, act).remove)


def _hook(
    module: nn.Module, tap: Tap, counter: _Counter, act: Callable[[Tap, torch.Tensor], torch.Tensor | None]
) -> torch.utils.hooks.RemovableHandle:
    def fire(value: Any) -> torch.Tensor | None:
        if _recomputing():
            wanted = tap.call is None
        else:
            call = counter.next(str(tap))
            wanted = tap.call in (None, call)
            if tap.call is None and call > 0:
                raise TapError(
                    f"{tap.name} runs more than once in a forward: say which with {tap.name}#0, {tap.name}#1, ..."
                )
        tensor = tensor_of(value) if wanted else None
        if wanted and tensor is None:
            raise TapError(f"nothing to tap at {tap}: no tensor passes there (a {type(value).__name__})")
        return None if tensor is None else act(tap, tensor)

    if tap.at_input:

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            new = fire(args if args else kwargs)
            if new is None:
                return None
            if not args or not isinstance(args[0], torch.Tensor):
                raise TapError(f"{tap}: only a first positional tensor can be replaced")
            return (new, *args[1:]), kwargs

        return module.register_forward_pre_hook(before, with_kwargs=True)

    def after(_: nn.Module, args: Any, out: Any) -> Any:
        new = fire(out)
        if new is not None and not isinstance(out, torch.Tensor):
            raise TapError(f"{tap}: the layer returns a {type(out).__name__}; only a tensor can be replaced")
        return new

    return module.register_forward_hook(after)


class Captured(dict[str, torch.Tensor]):
    """Tap as written to tensor, of the latest forward."""

    def __missing__(self, key: str) -> torch.Tensor:
        raise TapError(f"{key} has not fired; {nearest(key, self)}")


@contextmanager
def capture(
    module: nn.Module, taps: Iterable[str | Tap], *, keep_graph: bool = False, stop: bool = False
) -> Iterator[Captured]:
    """Keep what passes each tap while the context lasts.

    Args:
        taps: as written, or Tap.
        keep_graph: keep the tensors in the autograd graph, for gradients with respect to features.
        stop: end the forward pass once every tap has fired; `features` does this and catches the end.

    Yields:
        A mapping from tap to tensor, cloned: a later in-place operation does not change what was kept.
    """
    parsed = [parse_tap(tap) for tap in taps]
    kept = Captured()
    left: set[str] = set()

    def act(tap: Tap, tensor: torch.Tensor) -> torch.Tensor | None:
        key = str(tap)
        if keep_graph:
            # What follows must flow through what is kept, or its gradient would be zero after an in-place change.
            kept[key] = tensor.clone()
            replaced: torch.Tensor | None = kept[key].clone() if kept[key].requires_grad else None
        else:
            kept[key], replaced = tensor.detach().clone(), None
        left.discard(key)
        if stop and not left:
            raise _Stop
        return replaced

    def begin(*_: Any) -> None:
        if not _recomputing():
            kept.clear()
            left.update(map(str, parsed))

    with ExitStack() as stack:
        stack.callback(module.register_forward_pre_hook(begin).remove)
        _attach(module, parsed, act, stack)
        yield kept


def features(
    module: nn.Module, forward: Callable[[], Any], taps: Iterable[str | Tap], *, keep_graph: bool = False
) -> Captured:
    """Run forward() only as far as the deepest tap and return what passed each.

    Raises:
        TapError: the forward ended and some tap had not fired.
    """
    wanted = [str(parse_tap(tap)) for tap in taps]
    with capture(module, wanted, keep_graph=keep_graph, stop=True) as kept, suppress(_Stop):
        forward()
    silent = [tap for tap in wanted if tap not in kept]
    if silent:
        raise TapError(f"{', '.join(silent)} did not fire in the forward pass")
    return kept


@contextmanager
def intervene(module: nn.Module, changes: Mapping[str | Tap, Callable[[torch.Tensor], torch.Tensor]]) -> Iterator[None]:
    """Put change(tensor) in the place of what passes each tap while the context lasts.

    For instance {"body.3": lambda f: f * 0} silences a block and {"body.3#0:in": ...} changes its input.
    """
    functions = {parse_tap(tap): change for tap, change in changes.items()}
    with ExitStack() as stack:
        _attach(module, functions, lambda tap, tensor: functions[tap](tensor.clone()), stack)
        yield


def layers(module: nn.Module, forward: Callable[[], Any]) -> list[Layer]:
    """Every module that ran during forward(), in order of its first run, with its number of runs and shapes."""
    seen: dict[str, Layer] = {}
    ran: dict[str, int] = {}

    def begin(*_: Any) -> None:
        ran.clear()  # a tap counts within a call of the network, of which there may be several

    def note(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, args: Any, out: Any) -> None:
            before = seen.get(name)
            shapes = [None if t is None else tuple(t.shape) for t in (tensor_of(args), tensor_of(out))]
            first = before or Layer(name, type(part).__name__, 0, shapes[0], shapes[1], len(seen))
            ran[name] = ran.get(name, 0) + 1
            calls = max(first.calls, ran[name])
            seen[name] = Layer(name, first.kind, calls, first.input_shape, first.output_shape, first.order)

        return hook

    with ExitStack() as stack:
        stack.callback(module.register_forward_pre_hook(begin).remove)
        for name, part in module.named_modules():
            if name:
                stack.callback(part.register_forward_hook(note(name)).remove)
        with torch.no_grad():
            forward()
    return sorted(seen.values(), key=lambda layer: layer.order)


def deep_feature(module: nn.Module, found: Iterable[Layer]) -> Tap:
    """`auto`: the deep feature before reconstruction, the input of the last convolution that ran."""
    ran = convolutions(module, list(found))
    if not ran:
        raise NetworkError(f"{type(module).__name__} ran no convolution, so `auto` has no meaning: name the layers")
    last = ran[-1]
    return Tap(last.name, last.calls - 1 if last.calls > 1 else None, at_input=True)


def convolutions(module: nn.Module, found: list[Layer]) -> list[Layer]:
    """The convolutions that ran; where none did, the innermost layers that own a kernel.

    ECBSR, like other networks that fold branches into one kernel, runs its convolutions as functions when evaluated.
    """
    modules = dict(module.named_modules())
    ran = [layer for layer in found if isinstance(modules[layer.name], (nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    if ran:
        return ran
    owners = [layer for layer in found if any(p.ndim >= 4 for p in modules[layer.name].parameters())]
    return [layer for layer in owners if not any(other.name.startswith(layer.name + ".") for other in owners)]


def resolve(module: nn.Module, wanted: str | Iterable[str | Tap], forward: Callable[[], Any]) -> list[Tap]:
    """Taps from names, patterns (`body.*`), `auto` and `all` (every convolution's output), checked against one forward.

    Raises:
        TapError: no such layer, one that does not run, or one that runs several times without `#k`.
    """
    found = {layer.name: layer for layer in layers(module, forward)}
    taps: list[Tap] = []
    for item in [wanted] if isinstance(wanted, (str, Tap)) else wanted:
        if item == "auto":
            taps.append(deep_feature(module, found.values()))
        elif item == "all":
            ran = convolutions(module, list(found.values()))
            taps += [t for layer in ran for t in _every_call(layer, at_input=False)]
        else:
            tap = parse_tap(item)
            if any(c in tap.name for c in "*?["):
                matching = [n for n in found if fnmatch.fnmatchcase(n, tap.name)]
                if not matching:
                    raise TapError(f"no layer matches {tap.name!r}; {nearest(tap.name, found)}")
                taps += [t for n in matching for t in _every_call(found[n], at_input=tap.at_input)]
            else:
                taps.append(_checked(tap, module, found))
    return list(dict.fromkeys(taps))


def _every_call(layer: Layer, *, at_input: bool) -> list[Tap]:
    calls = [None] if layer.calls == 1 else range(layer.calls)
    return [Tap(layer.name, call, at_input) for call in calls]


def _checked(tap: Tap, module: nn.Module, found: Mapping[str, Layer]) -> Tap:
    module_named(module, tap.name)
    layer = found.get(tap.name)
    if layer is None:
        raise TapError(f"{tap.name} does not run in a forward pass of this {type(module).__name__}")
    if tap.call is None and layer.calls > 1:
        raise TapError(
            f"{tap.name} runs {layer.calls} times in a forward: say which with {tap.name}#0 to #{layer.calls - 1}"
        )
    if tap.call is not None and tap.call >= layer.calls:
        raise TapError(f"{tap} does not exist: {tap.name} runs {layer.calls} time(s), the last is #{layer.calls - 1}")
    return tap
