"""Call a module: its arguments, evaluation mode and precision meanwhile, and the message where its own code fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain
from traceback import walk_tb
from typing import Any, cast
from weakref import WeakSet

import torch
from torch import nn
from torch.func import functional_call

from sr_hooks.core.options import as_plain
from sr_hooks.core.torch_errors import hint, is_out_of_memory, one_line, wants_cuda, without_cuda
from sr_hooks.errors import ForwardError, NetworkError, SRHooksError
from sr_hooks.hooks import activations, interventions, layer_list
from sr_hooks.hooks.firing import compiled_parts

__all__ = [
    "IMAGE",
    "Forward",
    "call_module",
    "channels_last_weights",
    "check_forward",
    "describe_forward",
    "device_of",
    "dtype_of",
    "failing_part",
    "forward_of",
    "prepared",
    "tensor_float_32",
    "unstated",
]

IMAGE = "image"
"""In a mapping of forward's arguments, the value that is replaced by the image."""

Forward = Mapping[str, Any] | Callable[[nn.Module, torch.Tensor], Any]
"""How to call a module: keyword arguments beside the image, or a function of module and image."""

_OWN = (
    RuntimeError,
    ValueError,
    TypeError,
    AssertionError,
    LookupError,
    AttributeError,
    ArithmeticError,
    ImportError,
    NameError,
)

_HOOKS = tuple(map(vars, (activations, interventions, layer_list)))  # the global names of each module that hooks

_wanting_cuda: WeakSet[nn.Module] = WeakSet()  # modules that call .cuda() where there is no CUDA


class _Calling(nn.Module):
    """A module and the way to call it, as one module: torch.func.functional_call takes no function of a module."""

    def __init__(self, inner: nn.Module, forward: Forward | None) -> None:
        super().__init__()
        self.inner = inner
        self._how = forward

    def forward(self, x: torch.Tensor) -> Any:
        if self._how is None:
            return self.inner(x)
        if callable(self._how):
            return self._how(self.inner, x)
        arguments = {name: x if _is_image(value) else value for name, value in self._how.items()}
        return self.inner(**arguments) if any(map(_is_image, self._how.values())) else self.inner(x, **arguments)


def _is_image(value: Any) -> bool:
    return isinstance(value, str) and value == IMAGE


def call_module(
    module: nn.Module,
    x: torch.Tensor,
    *,
    forward: Forward | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
    name: str = "",
) -> Any:
    """What the module returns for a batch, called as `forward` says, with `weights` instead of its own.

    Raises:
        ForwardError: its code failed. Out-of-memory errors, and errors in hooks of this package, pass as they are.
    """
    caller = _Calling(module, forward)

    def run() -> Any:
        if weights:
            return functional_call(caller, {f"inner.{key}": value for key, value in weights.items()}, (x,))
        return caller(x) if forward is not None else module(x)

    try:
        with without_cuda() if module in _wanting_cuda else nullcontext():
            return run()
    except SRHooksError:
        raise
    except _OWN as error:
        if module not in _wanting_cuda and wants_cuda(error):
            _wanting_cuda.add(module)
            return call_module(module, x, forward=forward, weights=weights, name=name)
        if is_out_of_memory(error) or _raised_in_hook(error):
            raise
        size = "x".join(map(str, x.shape))
        message = f"{one_line(error)}{unstated(module, error) or hint(error)}"
        raise ForwardError(f"{name or type(module).__name__} fails on an input of {size}: {message}") from error


def _raised_in_hook(error: BaseException) -> bool:
    """Whether a hook of this package raised, or a function that it called, and not the network."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    return any(frame.f_globals is namespace for frame in frames for namespace in _HOOKS)


def unstated(module: nn.Module, error: BaseException) -> str:
    """Half a sentence that names the further arguments of forward; "" where it needs only one."""
    if not isinstance(error, TypeError) or "missing" not in str(error):
        return ""
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return ""
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if len(needed) < 2:
        return ""
    others = ", ".join(f"{name!r}: ..." for name in needed[1:])
    return (
        f". Its forward takes ({', '.join(needed)}): say what comes with the image, "
        f"Network(module, forward={{{others}}}), or give a function of module and image"
    )


def forward_of(module: nn.Module) -> Forward | None:
    """How to call a module whose forward takes its one required argument by keyword only; else None."""
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL) for p in parameters):
        return None
    needed = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    return {needed[0]: IMAGE} if len(needed) == 1 else None


def check_forward(forward: Any) -> Forward | None:
    """The same value, checked to be a way to call a module."""
    if forward is None or callable(forward):
        return cast("Forward | None", forward)
    if isinstance(forward, Mapping) and all(isinstance(name, str) for name in forward):
        return dict(forward)
    raise NetworkError(
        f"forward is {forward!r}; give keyword arguments as a mapping, {{'sigma': 0.1}}, in which {IMAGE!r} stands for "
        "the image, or a function of module and image"
    )


def describe_forward(forward: Forward | None) -> Any:
    """What a result records of a way to call a module."""
    if forward is None:
        return None
    if callable(forward):
        return f"{getattr(forward, '__module__', '')}.{getattr(forward, '__qualname__', type(forward).__name__)}"
    return as_plain(forward)


def failing_part(module: nn.Module, run: Callable[[], Any]) -> str:
    """The innermost part whose own code fails when run() is run once more; "" for the whole, or where none does."""
    running: list[str] = []
    with ExitStack() as stack:
        for name, part in module.named_modules():
            stack.callback(part.register_forward_pre_hook(lambda m, a, name=name: running.append(name)).remove)
            stack.callback(part.register_forward_hook(lambda m, a, o: (running.pop(), None)[1]).remove)
        try:
            run()
        except Exception:
            return running[-1] if running else ""
    return ""


@contextmanager
def tensor_float_32(allowed: bool) -> Iterator[None]:
    """Convolutions and matrix products on CUDA round their float32 inputs to 10 bits, or do not; then as it was.

    torch lets convolutions do so unless told otherwise.
    """
    products, convolutions = torch.backends.cuda.matmul, getattr(torch.backends.cudnn, "conv", None)
    switches: list[tuple[Any, str]] = [(convolutions, "fp32_precision"), (products, "fp32_precision")]
    values: tuple[object, object] = ("ieee", "tf32")
    if not all(hasattr(owner, name) for owner, name in switches):  # before torch 2.9
        switches, values = [(torch.backends.cudnn, "allow_tf32"), (products, "allow_tf32")], (False, True)
    before = [getattr(owner, name) for owner, name in switches]
    try:
        for owner, name in switches:
            setattr(owner, name, values[allowed])
        yield
    finally:
        for (owner, name), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


@contextmanager
def prepared(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, no parameter gradients, no compiled code, no forward that Accelerate has wrapped in autocast.

    float32 is float32 meanwhile, in forwards and backwards. Afterwards each part is as it was before.
    """
    modes = [(part, part.training) for part in module.modules()]
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    wrapped = [(part, vars(part)["forward"]) for part in module.modules() if _has_autocast_forward(part)]
    try:
        for part, _ in wrapped:
            part.forward = vars(part)["_original_forward"]
        module.eval()
        for parameter in trainable:
            parameter.requires_grad_(False)
        stance = torch.compiler.set_stance("force_eager") if compiled_parts(module) else nullcontext()
        with stance, tensor_float_32(False):
            yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        for part, training in modes:
            part.training = training
        for part, forward in wrapped:
            part.forward = forward


def _has_autocast_forward(part: nn.Module) -> bool:
    """Whether Accelerate's `prepare` has put a forward in autocast into this part, beside the part's own."""
    return "_original_forward" in vars(part) and hasattr(vars(part).get("forward"), "__wrapped__")


def channels_last_weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of the weights with four dimensions, laid out channels last, by name."""
    return {
        name: parameter.detach().contiguous(memory_format=torch.channels_last)
        for name, parameter in module.named_parameters()
        if parameter.ndim == 4
    }


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's first weight or buffer; the CPU where it has none."""
    return _first_tensor(module).device


def dtype_of(module: nn.Module) -> torch.dtype:
    """The number format of a module's first weight or buffer; float32 where that is not of floating point."""
    dtype = _first_tensor(module).dtype
    return dtype if dtype.is_floating_point else torch.float32


def _first_tensor(module: nn.Module) -> torch.Tensor:
    return next(chain(module.parameters(), module.buffers()), torch.empty(0))
