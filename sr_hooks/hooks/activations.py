"""Capture what passes taps, or replace it; every handle is removed, always."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import nn

from sr_hooks.errors import TapError, nearest
from sr_hooks.hooks.firing import check_reachable, firing, root_of
from sr_hooks.hooks.taps import Tap, count_tensors, module_named, parse_tap, tensor_of, with_tensor

__all__ = ["Captured", "capture", "features", "intervene"]


class _Stop(BaseException):
    """The last tap has fired; no Exception, so that a network's own `except` lets it pass."""


def _recomputing() -> bool:
    """Activation checkpointing runs forwards again inside the backward; they are no new calls."""
    return torch._C._current_graph_task_id() != -1


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
    """Call act(tap, tensor) wherever a tap fires; a tensor that act returns replaces the one that passes."""
    taps = list(taps)
    check_reachable(root, taps)
    stack.enter_context(firing(root))
    counter = _Counter(root, stack)
    for tap in taps:
        stack.callback(_hook(module_named(root, tap.name), tap, counter, act).remove)


def _hook(
    module: nn.Module, tap: Tap, counter: _Counter, act: Callable[[Tap, torch.Tensor], torch.Tensor | None]
) -> torch.utils.hooks.RemovableHandle:
    def fire(value: Any) -> torch.Tensor | None:
        if _recomputing():
            fires = tap.call is None
        else:
            call = counter.next(str(tap))
            fires = tap.call in (None, call)
            if tap.call is None and call > 0:
                raise TapError(
                    f"{tap.name} runs more than once in a forward: say which with {tap.name}#0, {tap.name}#1, ..."
                )
        tensor = tensor_of(value) if fires else None
        if fires and tensor is None:
            raise TapError(f"nothing to tap at {tap}: no tensor passes there (a {type(value).__name__})")
        return None if tensor is None else act(tap, tensor)

    if tap.at_input:

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            new = fire(args if args else kwargs)
            if new is None:
                return None
            if args and isinstance(args[0], torch.Tensor):
                return (new, *args[1:]), kwargs
            first = next((name for name, value in kwargs.items() if tensor_of(value) is not None), "")
            if args or not isinstance(kwargs[first], torch.Tensor):
                raise TapError(f"{tap}: only a tensor that is the first argument can be replaced")
            return args, {**kwargs, first: new}

        return module.register_forward_pre_hook(before, with_kwargs=True)

    def after(_: nn.Module, args: Any, out: Any) -> Any:
        new = fire(out)
        changed = None if new is None else with_tensor(out, new)
        if new is not None and changed is None:
            raise TapError(
                f"{tap}: the layer returns a {type(out).__name__} of {count_tensors(out)} tensors; one can be replaced "
                "only where there are no others: name a layer inside"
            )
        return changed

    return module.register_forward_hook(after)


class Captured(dict[str, torch.Tensor]):
    """Tap as written to tensor, of the latest forward."""

    def __missing__(self, key: str) -> torch.Tensor:
        raise TapError(f"{key} has not fired; {nearest(key, self)}")


@contextmanager
def capture(
    module: Any, taps: Iterable[str | Tap], *, keep_graph: bool = False, stop: bool = False
) -> Iterator[Captured]:
    """Capture the tensor at each tap, for every forward pass inside the `with` block.

    A compiled module runs uncompiled inside the block. All hooks are removed at its end.

    Args:
        module: a torch.nn.Module, or a `Network`, whose module is meant.
        taps: names of taps, or Tap objects. A tap is written `name` (the layer's output), `name:in` (its input), or
            `name#k` (its k-th call in one forward pass, from 0).
        keep_graph: keep the tensors in the autograd graph, for gradients with respect to features.
        stop: end the forward pass when every tap has fired; `features` does this and catches the end.

    Yields:
        A mapping from tap to tensor, of the latest forward pass. The tensors are clones: a later in-place operation
        does not change them.

    Raises:
        TapError: there is no such layer, or hooks do not fire in it.

    Examples:
        >>> import torch, sr_hooks
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 1))
        >>> with sr_hooks.capture(network, ["0", "2:in"]) as captured:
        ...     output = network(torch.rand(1, 3, 16, 16))
        >>> captured["0"].shape, bool(captured["2:in"].min() >= 0)
        (torch.Size([1, 8, 16, 16]), True)
    """
    root = root_of(module)
    parsed = [parse_tap(tap) for tap in taps]
    captured = Captured()
    left: set[str] = set()

    def act(tap: Tap, tensor: torch.Tensor) -> torch.Tensor | None:
        key = str(tap)
        if keep_graph:
            # What follows must flow through what is captured, or its gradient would be zero after an in-place change.
            captured[key] = tensor.clone()
            replaced: torch.Tensor | None = captured[key].clone() if captured[key].requires_grad else None
        else:
            captured[key], replaced = tensor.detach().clone(), None
        left.discard(key)
        if stop and not left:
            raise _Stop
        return replaced

    def begin(*_: Any) -> None:
        if not _recomputing():
            captured.clear()
            left.update(map(str, parsed))

    with ExitStack() as stack:
        stack.callback(root.register_forward_pre_hook(begin).remove)
        _attach(root, parsed, act, stack)
        yield captured


def features(
    module: Any, forward: Callable[[], Any], taps: Iterable[str | Tap], *, keep_graph: bool = False
) -> Captured:
    """Run forward() only as far as the deepest tap and return what passed each.

    Raises:
        TapError: the forward ended and some tap had not fired.
    """
    names = [str(parse_tap(tap)) for tap in taps]
    with capture(module, names, keep_graph=keep_graph, stop=True) as captured, suppress(_Stop):
        forward()
    silent = [tap for tap in names if tap not in captured]
    if silent:
        raise TapError(f"{', '.join(silent)} did not fire in the forward pass")
    return captured


@contextmanager
def intervene(module: Any, changes: Mapping[str | Tap, Callable[[torch.Tensor], torch.Tensor]]) -> Iterator[None]:
    """Replace the tensor at each tap by change(tensor), for every forward pass inside the `with` block.

    A compiled module runs uncompiled inside the block. All hooks are removed at its end.

    Args:
        module: a torch.nn.Module, or a `Network`, whose module is meant.
        changes: tap to function; the function takes a clone of the tensor and returns a tensor. `{"body.3#0:in": f}`
            changes the input of the first call of `body.3`.

    Raises:
        TapError: there is no such layer, or hooks do not fire in it. At the end of the block: a tap did not fire in any
            forward pass, so that its change was not made.

    Examples:
        >>> import torch, sr_hooks
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 3, 1, bias=False))
        >>> with sr_hooks.intervene(network, {"0": lambda feature: feature * 0}):  # switches the first layer off
        ...     output = network(torch.rand(1, 3, 16, 16))
        >>> bool((output == 0).all())
        True
    """
    root = root_of(module)
    functions = {parse_tap(tap): change for tap, change in changes.items()}
    silent, complete = set(functions), []

    def act(tap: Tap, tensor: torch.Tensor) -> torch.Tensor:
        silent.discard(tap)
        return functions[tap](tensor.clone())

    with ExitStack() as stack:
        stack.callback(root.register_forward_hook(lambda *_: complete.append(True)).remove)
        _attach(root, functions, act, stack)
        yield
    if silent and complete:
        names = ", ".join(sorted(map(str, silent)))
        raise TapError(f"{names} did not fire in the forward pass, so nothing was changed there")
