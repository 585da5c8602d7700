"""What a network computes, written down operation by operation on stand-ins that hold no data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast
from weakref import ref

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map_only

from sr_hooks.hooks.side_effects import draws, memory_of, same_strides, written_to
from sr_hooks.networks.unwrap import deep_copy

__all__ = ["Ref", "Trace", "TracedOperation", "Untraceable", "check_hooks", "record", "sharing_copy"]


class Untraceable(Exception):
    """The network's operations cannot be written down; the message says why."""


@dataclass(frozen=True)
class Ref:
    """A value of the trace, by its number."""

    index: int


@dataclass(frozen=True)
class TracedOperation:
    """One operation: a function, its arguments with a `Ref` for each tensor, the values it gave, and the module."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[int | None, ...]
    several: bool
    module: str

    def refs(self) -> list[int]:
        """The values that it takes, in order."""
        return self._refs

    @cached_property
    def _refs(self) -> list[int]:
        leaves = tree_flatten((self.args, self.kwargs))[0]
        return [leaf.index for leaf in leaves if isinstance(leaf, Ref)]

    @cached_property
    def _slots(self) -> list[tuple[int, int]] | None:
        """The positions of the arguments that are values, and these; None where others hold values too."""
        slots = [(at, arg.index) for at, arg in enumerate(self.args) if isinstance(arg, Ref)]
        return slots if len(slots) == len(self._refs) else None

    def taking(self, value_of: Callable[[int], Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, with what `value_of` gives of its number instead of each `Ref`."""
        args, kwargs = list(self.args), self.kwargs
        if self._slots is None:
            args, kwargs = tree_map_only(Ref, lambda ref: value_of(ref.index), (args, kwargs))
        for at, index in self._slots or ():
            args[at] = value_of(index)
        return args, kwargs


@dataclass
class Trace:
    """A straight line of operations from inputs to results.

    Attributes:
        shapes: of every value, by number; the first values are the inputs.
        weights: the numbers of values that are weights or buffers, and their names.
        constants: the numbers of values that are other tensors, and these.
        steps: the operations, in order.
        results: the numbers of what the recorded function returned.
    """

    shapes: list[tuple[int, ...]] = field(default_factory=list)
    weights: dict[int, str] = field(default_factory=dict)
    constants: dict[int, torch.Tensor] = field(default_factory=dict)
    steps: list[TracedOperation] = field(default_factory=list)
    results: list[int] = field(default_factory=list)

    def followed_by(self, other: Trace, inputs: Sequence[int]) -> Trace:
        """This trace and then another, whose inputs are these values of this one; results of both, in that order."""
        ahead = len(self.shapes)
        known = dict(enumerate(inputs))

        def moved(number: int) -> int:
            return known.get(number, number + ahead)

        def after(step: TracedOperation) -> TracedOperation:
            args, kwargs = step.taking(lambda index: Ref(moved(index)))
            outputs = tuple(None if number is None else moved(number) for number in step.outputs)
            return replace(step, args=tuple(args), kwargs=kwargs, outputs=outputs)

        steps = [after(step) for step in other.steps]
        return Trace(
            [*self.shapes, *other.shapes],
            {**self.weights, **{moved(number): name for number, name in other.weights.items()}},
            {**self.constants, **{moved(number): value for number, value in other.constants.items()}},
            [*self.steps, *steps],
            [*self.results, *(moved(number) for number in other.results)],
        )


def check_hooks(module: nn.Module) -> None:
    """Refuse a module with hooks that are not torch's own: what they do cannot be known from a recording.

    Raises:
        Untraceable: there is one, on a module or on all modules.
    """
    for name, part in module.named_modules():
        for kind in _HOOKS:
            if any(_is_foreign(hook) for hook in getattr(part, kind, {}).values()):
                raise Untraceable(f"a hook is attached to its module {name or '(whole)'}")
    for kind in _HOOKS:
        if any(_is_foreign(hook) for hook in getattr(nn.modules.module, f"_global{kind}", {}).values()):
            raise Untraceable("a hook is attached to all modules")


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _is_foreign(hook: Any) -> bool:
    return not (getattr(hook, "__module__", None) or type(hook).__module__).startswith("torch.")


def sharing_copy(module: nn.Module) -> nn.Module:
    """A copy of the module's structure around the same weights: what a forward notes on itself is noted on the copy.

    The copy's weights are tensors of their own over the same memory, for a forward that gives a weight other data.

    Raises:
        Untraceable: it cannot be copied.
    """
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in module.parameters()}
    memo |= {id(buffer): buffer.detach() for buffer in module.buffers()}
    try:
        return deep_copy(module, memo)
    except Exception as error:
        raise Untraceable(f"it cannot be copied: {_line(error)}") from error


def record(
    compute: Callable[..., Sequence[torch.Tensor]],
    module: nn.Module,
    shapes: Sequence[Sequence[int]],
    device: torch.device,
    stand_ins: list[ref[torch.Tensor]] | None = None,
) -> Trace:
    """The operations of `compute` on float32 inputs of these shapes.

    `module` is what `compute` runs, if any; it is called once with tensors that hold no data (torch's fake tensors), in
    which operations that write in place are turned into ones that do not. References to these tensors are added to
    `stand_ins`.

    Raises:
        Untraceable: what runs next depends on values, random numbers are drawn, or the operations leave torch.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.func import functionalize

    names = {id(tensor): name for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    recorder = _recorder(names, [] if stand_ins is None else stand_ins)
    try:
        with (
            torch.no_grad(),
            _unlogged(),
            _located(module, recorder),
            FakeTensorMode(allow_non_fake_inputs=True),
            recorder,
        ):
            inputs = [torch.empty(tuple(shape), device=device) for shape in shapes]
            recorder.begin(inputs)
            out = functionalize(lambda *values: tuple(compute(*values)))(*inputs)
            recorder.trace.results = [recorder.number(value) for value in out]
    except Untraceable:
        raise
    except Exception as error:
        raise Untraceable(_line(error.__cause__ or error)) from error
    return cast("Trace", recorder.trace)


@contextmanager
def _unlogged() -> Iterator[None]:
    """torch logs the traceback of what fails on fake tensors; here a failure is an answer, with another message."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before


def _recorder(names: dict[int, str], stand_ins: list[ref[torch.Tensor]]) -> Any:
    """The mode is a class made on first use: its base is not among what `import torch` brings in."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Recorder(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.trace = Trace()
            self.inside: list[str] = []
            self._numbers: dict[int, int] = {}
            self._alive: list[torch.Tensor] = []  # a number belongs to an id only while its tensor lives
            self._moving: set[int] = set()  # memory that depends on the inputs
            self._settled: set[int] = set()  # other memory that must not be written to: weights, and what was used

        def begin(self, inputs: Sequence[torch.Tensor]) -> None:
            self.trace, self._numbers, self._alive = Trace(), {}, []
            self._moving, self._settled = set(), set()
            for tensor in inputs:
                self._new(tensor)
                self._moving.add(memory_of(tensor))

        def _new(self, tensor: torch.Tensor) -> int:
            number = len(self.trace.shapes)
            stand_ins.append(ref(tensor))
            self._numbers[id(tensor)] = number
            self._alive.append(tensor)
            self.trace.shapes.append(tuple(int(side) for side in tensor.shape))
            return number

        def number(self, tensor: torch.Tensor) -> int:
            if id(tensor) in self._numbers:
                return self._numbers[id(tensor)]
            number = self._new(tensor)
            stand_ins.pop()  # the module's own, or a constant
            self._settled.add(memory_of(tensor))
            if id(tensor) in names:
                self.trace.weights[number] = names[id(tensor)]
            elif type(tensor) in (torch.Tensor, nn.Parameter):
                self.trace.constants[number] = tensor
            else:
                raise Untraceable(f"it holds a {type(tensor).__name__} from elsewhere")
            return number

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if function.namespace == "prim":
                return function(*args, **kwargs)
            if draws(function, args):
                raise Untraceable(f"{function} draws random numbers")
            if function is torch.ops.aten.copy.default:  # has no derivative
                return self._copy(types, *args)
            if function is torch.ops.aten.as_strided_.default and same_strides(*args):
                return args[0]  # adaptive pooling of channels_last values
            tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
            taken = tree_map_only(torch.Tensor, lambda tensor: Ref(self.number(tensor)), (tuple(args), dict(kwargs)))
            memory = {memory_of(tensor) for tensor in tensors}
            if written_to(function, args, kwargs) & (self._moving | self._settled):
                raise Untraceable(f"{function} writes in place")
            out = function(*args, **kwargs)
            if memory & self._moving:
                self._settled |= memory - self._moving
                self._moving |= {memory_of(v) for v in tree_flatten(out)[0] if isinstance(v, torch.Tensor)}
            several = isinstance(out, (tuple, list))
            outputs = tuple(self._new(v) if isinstance(v, torch.Tensor) else None for v in (out if several else [out]))
            where = self.inside[-1] if self.inside else ""
            self.trace.steps.append(TracedOperation(function, taken[0], taken[1], outputs, several, where))
            return out

        def _copy(self, types: Any, like: torch.Tensor, source: torch.Tensor, *_: Any) -> Any:
            aten = torch.ops.aten
            if source.dtype != like.dtype:
                source = self.__torch_dispatch__(aten._to_copy.default, types, (source,), {"dtype": like.dtype})
            if source.shape == like.shape:
                return self.__torch_dispatch__(aten.alias.default, types, (source,))
            return self.__torch_dispatch__(aten.expand.default, types, (source, list(like.shape)))

    return Recorder()


@contextmanager
def _located(module: nn.Module, recorder: Any) -> Iterator[None]:
    """While open, the recorder knows in which module an operation runs."""

    def leave(*_: Any) -> None:
        recorder.inside.pop()

    handles = []
    for name, part in module.named_modules():
        handles.append(part.register_forward_pre_hook(lambda m, a, name=name: recorder.inside.append(name)))
        handles.append(part.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
