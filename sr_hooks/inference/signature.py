"""The signature of a network: every torch operation of one forward, and where a gradient is cut, in a single run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from sr_hooks.core.seeds import own_streams
from sr_hooks.inference.gradient_cuts import Differences, blocked, has_no_slope

__all__ = ["Signature", "content_of", "operations_of", "sign"]


@dataclass
class Signature:
    """What one forward of a network did.

    Attributes:
        output: what the forward returned, detached.
        digest: SHA-256 over the operations in order: function, arguments, which weights and constants they take
            (constants by their values), whether gradients were on, and how autograd follows them.
        operations: SHA-256 over the functions alone, without any value.
        cuts: places at which a value that depends on the input goes on without its gradient, and reaches the output.
        may_leave_torch: whether values that depend on the input may have gone through Python or numpy: one was made a
            number, or one was detached and constants were met.
        draws: whether the forward took numbers from torch's global random streams.
        custom: whether autograd follows a function of the network's own, or a hook on a tensor.
    """

    output: torch.Tensor
    digest: str
    operations: str
    cuts: tuple[str, ...]
    may_leave_torch: bool
    draws: bool
    custom: bool


def sign(
    module: nn.Module, run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, *, located: bool = False
) -> Signature:
    """Run `run(x)` once, with gradients on, and write down what it did.

    Args:
        module: whose weights the operations take, and whose parts are named.
        run: a function of x (N,...) that runs the module and returns one tensor.
        x: the input; a copy of it requires the gradient.
        located: whether `cuts` name the parts of the module; hooks on every part cost time.
    """
    states = _random_states(x.device)
    watcher = _Watcher(module)
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad(), watcher.located(module) if located else nullcontext(), _Lists(watcher), watcher:
        watcher.begin(leaf)
        output = run(leaf)
        watcher.end(output)
    draws = any(not torch.equal(a, b) for a, b in zip(states, _random_states(x.device), strict=True))
    return Signature(
        output.detach(),
        _digest(watcher.lines),
        _digest([line[0] for line in watcher.lines]),
        tuple(dict.fromkeys([*watcher.cuts_of_output, *blocked(watcher.custom_nodes)])),
        watcher.listed or watcher.numbers_read or (watcher.detached and watcher.constants > 0),
        draws,
        watcher.custom,
    )


def operations_of(compute: Callable[..., Sequence[torch.Tensor]], shapes: Sequence[Sequence[int]], device: str) -> str:
    """SHA-256 over the operations of `compute` on zeros of these shapes; on the device "meta" nothing is computed.

    "" where it fails, where other tensors take part, whose values would matter too, and where a gradient is custom.
    """
    watcher = _Watcher(nn.Module())
    inputs = [torch.zeros((), device=device).expand(tuple(shape)).requires_grad_() for shape in shapes]
    try:
        with torch.enable_grad(), own_streams(), _Lists(watcher), watcher:
            for tensor in inputs:
                watcher._number(tensor)
            results = [(watcher._called(result), watcher._followed(result)) for result in compute(*inputs)]
    except Exception:  # what fails here fails where it is used, too, which says why
        return ""
    return "" if watcher.constants or watcher.custom else _digest([*watcher.lines, shapes, results])


def _digest(lines: Sequence[Any]) -> str:
    return hashlib.sha256(repr(lines).encode()).hexdigest()


def _random_states(device: torch.device) -> list[torch.Tensor]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


@dataclass
class _Value:
    """What is known of a piece of memory: it depends on the input; which cuts it carries."""

    cuts: tuple[str, ...] = field(default=())


class _Lists(TorchFunctionMode):
    """Notes that a tensor was made a list of Python numbers, which no operation shows."""

    def __init__(self, watcher: _Watcher) -> None:
        super().__init__()
        self.watcher = watcher

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.watcher.listed |= function is torch.Tensor.tolist
        return function(*args, **(kwargs or {}))


class _Watcher(TorchDispatchMode):
    """Follows by memory which values depend on the input, and writes down each operation."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[tuple[Any, ...]] = []
        self.cuts_of_output: tuple[str, ...] = ()
        self.numbers_read = self.listed = self.detached = self.custom = False
        self.custom_nodes: list[tuple[Any, torch.Tensor, str]] = []
        self.constants = 0  # tensors that are no weights and were not computed in this run
        self._names = {id(t): name for name, t in [*module.named_parameters(), *module.named_buffers()]}
        self._numbers: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []  # an id belongs to a tensor only while the tensor lives
        self._values: dict[int, _Value] = {}  # by memory, of what depends on the input
        self._cuts_of_views: dict[int, tuple[str, ...]] = {}  # of a detached view, whose memory has its gradient
        self._differences = Differences()
        self._inside: list[str] = []
        self._leaf = 0

    # -- where an operation runs -----------------------------------------------------------------

    @contextmanager
    def located(self, module: nn.Module) -> Iterator[None]:
        """While open, operations know the part of the module in which they run."""

        def leave(*_: Any) -> None:
            self._inside.pop()

        with ExitStack() as stack:
            for name, part in module.named_modules():
                enter = _enter(self._inside, name)
                stack.callback(part.register_forward_pre_hook(enter).remove)
                stack.callback(part.register_forward_hook(leave, always_call=True).remove)
            yield

    # -- one run ---------------------------------------------------------------------------------

    def begin(self, x: torch.Tensor) -> None:
        self._number(x)
        self._leaf = id(x)
        self._values[_memory(x)] = _Value()

    def end(self, output: torch.Tensor) -> None:
        value = self._values.get(_memory(output))
        cuts = (*value.cuts, *self._cuts_of_views.get(id(output), ())) if value is not None else ()
        if value is not None and not output.requires_grad:
            cuts = (*cuts, "")
        self.cuts_of_output = cuts

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function.namespace == "prim":
            return function(*args, **kwargs)
        tensors: list[torch.Tensor] = []
        line = (_name(function), self._written(args, tensors), self._written(list(kwargs.items()), tensors))
        self.lines.append((*line, torch.is_grad_enabled(), [self._followed(tensor) for tensor in tensors]))
        inputs = [(t, value) for t in tensors if (value := self._values.get(_memory(t))) is not None]
        if not inputs:
            out = function(*args, **kwargs)
            for tensor in _tensors(out):
                self._number(tensor, new=True)
            return out
        cuts = self._cuts(self._differences.without_straight_through(line[0], tensors, inputs))
        self.numbers_read |= line[0] == "aten._local_scalar_dense.default"
        self.detached |= line[0] == "aten.detach.default"
        out = function(*args, **kwargs)
        constant = has_no_slope(line[0])
        seen = set() if function._schema.is_mutable else {_memory(tensor) for tensor, _ in inputs}
        for tensor in _tensors(out):
            self._number(tensor, new=True)
            if constant or not _is_float(tensor):
                continue
            value = self._values.setdefault(_memory(tensor), _Value())
            if cuts and _memory(tensor) in seen:
                self._cuts_of_views[id(tensor)] = cuts
            elif cuts:
                value.cuts = tuple(dict.fromkeys((*value.cuts, *cuts)))
        self._differences.follow(line[0], tensors, out, lambda t: _memory(t) in self._values)
        return out

    def _cuts(self, known: Sequence[tuple[torch.Tensor, _Value]]) -> tuple[str, ...]:
        """Cuts that the arguments carry, and this operation's place where it takes a value without its gradient."""
        cuts = [
            cut
            for tensor, value in known
            if _is_float(tensor)
            for cut in (*value.cuts, *self._cuts_of_views.get(id(tensor), ()))
        ]
        if torch.is_grad_enabled() and any(_is_float(t) and not self._has_gradient(t) for t, _ in known):
            cuts.append(self._inside[-1] if self._inside else "")
        return tuple(dict.fromkeys(cuts))

    def _has_gradient(self, tensor: torch.Tensor) -> bool:
        return tensor.requires_grad and (tensor.grad_fn is not None or id(tensor) == self._leaf)

    # -- writing down ----------------------------------------------------------------------------

    def _written(self, value: Any, tensors: list[torch.Tensor]) -> Any:
        """An argument as text and numbers; the tensors in it are added to `tensors`."""
        if isinstance(value, torch.Tensor):
            tensors.append(value)
            return self._called(value)
        if isinstance(value, (list, tuple)):
            return [self._written(item, tensors) for item in value]
        return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)

    def _followed(self, tensor: torch.Tensor) -> str:
        """How autograd follows a tensor."""
        node = tensor.grad_fn
        if node is None:
            return "leaf" if tensor.requires_grad else ""
        if isinstance(node, torch.autograd.function.BackwardCFunction) or tensor._backward_hooks:
            self.custom = True
            forward = getattr(type(node), "_forward_cls", None)
            if forward is not None and not forward.__module__.startswith("torch."):
                self.custom_nodes.append((node, tensor, self._inside[-1] if self._inside else ""))
            return f"{type(node).__name__} {bool(tensor._backward_hooks)}"
        return type(node).__name__

    def _called(self, tensor: torch.Tensor) -> Any:
        number = self._numbers.get(id(tensor))
        if number is not None:
            return number
        name = self._names.get(id(tensor))
        if name is not None:
            return f"{name}:{tensor.dtype}:{tuple(tensor.shape)}"
        if _memory(tensor) not in self._values:
            self.constants += 1
        return f"{self._number(tensor)}={content_of(tensor)}"

    def _number(self, tensor: torch.Tensor, *, new: bool = False) -> int:
        if new or id(tensor) not in self._numbers:
            self._numbers[id(tensor)] = len(self._alive)
            self._alive.append(tensor)
        return self._numbers[id(tensor)]


def _enter(inside: list[str], name: str) -> Callable[..., None]:
    def hook(*_: Any) -> None:
        inside.append(name)

    return hook


_names_of_functions: dict[Any, str] = {}


def _name(function: Any) -> str:
    name = _names_of_functions.get(function)
    if name is None:
        name = _names_of_functions[function] = str(function)
    return name


def _tensors(out: Any) -> Sequence[torch.Tensor]:
    if isinstance(out, torch.Tensor):
        return (out,)
    return [item for item in out if isinstance(item, torch.Tensor)] if isinstance(out, (tuple, list)) else ()


def _memory(tensor: torch.Tensor) -> int:
    """What tensors that share memory have in common."""
    return int(tensor.untyped_storage()._cdata)


def _is_float(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def content_of(tensor: torch.Tensor) -> str:
    """A constant by kind, shape and values."""
    facts = f"{tensor.dtype}{tuple(tensor.shape)}"
    try:
        plain = tensor.detach().to("cpu").contiguous().view(torch.uint8) if tensor.numel() else tensor
        return facts + hashlib.sha256(plain.numpy().tobytes()).hexdigest()[:16]
    except (RuntimeError, TypeError):
        return facts
