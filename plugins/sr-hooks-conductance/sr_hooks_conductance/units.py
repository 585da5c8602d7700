"""What is scored: repeated blocks by what they add to their input, or named layers by their output."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

import sr_hooks
from sr_hooks.errors import TapError
from sr_hooks.hooks import Tap, bypass, intervene, layers, parse_layers, repeated_blocks, resolve

__all__ = ["Unit", "recording", "units_of"]

_ENOUGH = 8  # blocks; where the outermost are fewer, those within them are taken
_SIDE = 64  # of the part of the image on which blocks are tried
_LEAST = 0.5
_SAME = 1e-5  # of the largest value


@dataclass(frozen=True)
class Unit:
    """A block or layer.

    Attributes:
        name: as results call it.
        taps: where its output passes, one for each run in a forward.
        added: whether the unit adds to its own input; then what it adds is scored, else its output.
    """

    name: str
    taps: tuple[Tap, ...]
    added: bool

    def out_of_work(self, module: nn.Module) -> AbstractContextManager[None]:
        """While this lasts, the unit adds nothing: it hands its input on, or its output is zero."""
        if self.added:
            return bypass(module, [self.name])
        return intervene(module, dict.fromkeys(self.taps, torch.zeros_like))


def units_of(network: sr_hooks.Network, x: torch.Tensor, names: Any) -> list[Unit]:
    """The units that `layers` names: "blocks", or taps and patterns as other analyses take them.

    Raises:
        TapError: no such layer.
    """
    requested = parse_layers(names)
    if requested != ["blocks"]:
        return _by_output(network, x, requested)
    ran = {layer.name: layer for layer in layers(network.module, lambda: network(x))}
    blocks = [name for name in _deep_enough(network.module, ran) if name in ran and _passes_tensor(ran[name])]
    if not blocks:
        return _by_output(network, x, ["all"])
    blocks.sort(key=lambda name: ran[name].order)
    taps = {name: _taps(name, ran[name].calls) for name in blocks}
    adds = _adding(network, x[..., :_SIDE, :_SIDE], blocks)
    return [Unit(name, taps[name], adds[name]) for name in blocks]


def _by_output(network: sr_hooks.Network, x: torch.Tensor, names: list[str]) -> list[Unit]:
    taps = resolve(network.module, names, lambda: network(x))
    if not taps:
        raise TapError(f"{network.name} has no convolution inside: name layers; put a single layer into nn.Sequential")
    return [Unit(str(tap), (tap,), added=False) for tap in taps]


def _passes_tensor(layer: Any) -> bool:
    return layer.outputs == 1 and layer.input_shape is not None


def _taps(name: str, calls: int) -> tuple[Tap, ...]:
    return (Tap(name),) if calls == 1 else tuple(Tap(name, call) for call in range(calls))


def _deep_enough(module: nn.Module, ran: Mapping[str, Any]) -> list[str]:
    """The repeated blocks; of few, and of those that return several tensors, those within them, where there are any."""
    level = repeated_blocks(module)
    while level and (len(level) < _ENOUGH or any(name in ran and ran[name].outputs > 1 for name in level)):
        few = len(level) < _ENOUGH
        inner: dict[str, nn.Module] = {}
        for name, block in level.items():
            within: dict[str, nn.Module] = {}
            if few or (name in ran and ran[name].outputs > 1):
                within = {f"{name}.{key}": part for key, part in repeated_blocks(block).items()}
            inner |= within or {name: block}
        if inner.keys() == level.keys():
            break
        level = inner
    return list(level)


@torch.no_grad()
def _adding(network: sr_hooks.Network, x: torch.Tensor, names: list[str]) -> dict[str, bool]:
    """Whether each block hands its input on when its weights are zero, as a block with a residual branch does."""
    answers: dict[str, bool] = {}
    with ExitStack() as stack:
        for name in names:
            part = network.module.get_submodule(name)
            hook = partial(_note_if_handed_on, name, answers)
            stack.callback(part.register_forward_pre_hook(hook, with_kwargs=True).remove)
        network(x)
    return answers


_examining: ContextVar[bool] = ContextVar("a copy of a block is examined", default=False)


def _note_if_handed_on(name: str, answers: dict[str, bool], part: nn.Module, args: Any, kwargs: Any) -> None:
    if name in answers or _examining.get():  # at its first run, and not within a copy that is examined
        return
    answers[name] = False
    before = args[0] if args else None
    if not isinstance(before, torch.Tensor):
        return
    twin = copy.deepcopy(part)  # its parts may be shared with other blocks, so nothing is changed in place
    parameters = list(twin.parameters())
    for parameter in parameters:
        parameter.zero_()
    token = _examining.set(True)
    try:
        after = twin(before.clone(), *args[1:], **kwargs)
    finally:
        _examining.reset(token)
    answers[name] = bool(parameters) and _is_multiple(after, before)


def _is_multiple(after: Any, before: torch.Tensor) -> bool:
    """Whether one tensor is the other times a number above 0: RRDB's blocks within a block hand their input on too."""
    if not isinstance(after, torch.Tensor) or after.shape != before.shape:
        return False
    one, two = after.double(), before.double()
    factor = float((one * two).sum() / (two * two).sum().clamp(min=1e-30))
    return factor > _LEAST and float((one - factor * two).abs().max()) <= _SAME * float(two.abs().max())


def recording(
    units: list[Unit], note: Callable[[Unit, Tap, torch.Tensor], torch.Tensor]
) -> Iterator[tuple[Tap, Callable[[torch.Tensor], torch.Tensor]]]:
    """The changes for `intervene` by which note(unit, tap, part) sees each unit's part of what passes.

    `part` is what the unit adds, or its output; what `note` returns takes the part's role in what follows.
    """
    for unit in units:
        for tap in unit.taps:
            if not unit.added:
                yield tap, _output(unit, tap, note)
                continue
            inputs: list[torch.Tensor] = []
            yield Tap(tap.name, tap.call, at_input=True), _remember(inputs)
            yield tap, _increment(unit, tap, note, inputs)


def _output(
    unit: Unit, tap: Tap, note: Callable[[Unit, Tap, torch.Tensor], torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda passing: note(unit, tap, passing)


def _remember(inputs: list[torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(passing: torch.Tensor) -> torch.Tensor:
        inputs[:] = [passing]
        return passing.clone()  # the block may write into its input

    return change


def _increment(
    unit: Unit, tap: Tap, note: Callable[[Unit, Tap, torch.Tensor], torch.Tensor], inputs: list[torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(passing: torch.Tensor) -> torch.Tensor:
        start = inputs.pop()
        return start + note(unit, tap, passing - start)

    return change
