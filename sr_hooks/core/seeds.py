"""Random numbers from one recorded seed, and the global random streams left as if nothing had been drawn."""

from __future__ import annotations

import functools
import hashlib
import inspect
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from sr_hooks.errors import OptionError

__all__ = ["frozen_streams", "generator", "guard_streams", "other_threads_may_draw", "own_streams", "torch_generator"]


def generator(seed: int, *keys: int | str) -> np.random.Generator:
    """A NumPy generator for one purpose: the same seed and keys give the same stream, other keys another one.

    For instance `generator(seed, index, "blur:2")` for what happens to image `index`: any split into batches then
    draws the same numbers.

    Raises:
        OptionError: a negative seed or key.
    """
    numbers = [_number(key) for key in (seed, *keys)]
    return np.random.default_rng(numbers)


def torch_generator(seed: int, *keys: int | str) -> torch.Generator:
    """A torch generator on the CPU for one purpose. Draw on the CPU and move: devices draw different numbers."""
    return torch.Generator().manual_seed(int(generator(seed, *keys).integers(2**62)))


@contextmanager
def frozen_streams(seed: int | None, device: torch.device) -> Iterator[None]:
    """torch's global random streams start at `seed` inside, and go on afterwards as if nothing had been drawn.

    With None they are left alone.
    """
    if seed is None:
        yield
        return
    with own_streams(seed, device):
        yield


@contextmanager
def own_streams(seed: int | None = None, device: torch.device | None = None) -> Iterator[None]:
    """What this thread draws from torch's global streams inside leaves no trace on them.

    Args:
        seed: where they start inside; None for where they stand.
        device: its stream too, beside that of the CPU.
    """
    streams = [torch.default_generator]
    if device is not None and device.type == "cuda":
        streams.append(torch.cuda.default_generators[device.index or 0])
    if _is_redirected() or other_threads_may_draw():
        with _Redirection(streams, seed):
            yield
        return
    states = [stream.get_state() for stream in streams]
    try:
        if seed is not None:
            for stream in streams:
                stream.manual_seed(seed)
        yield
    finally:
        for stream, state in zip(streams, states, strict=True):
            stream.set_state(state)


def guard_streams() -> Callable[[], list[str]]:
    """Keep the global streams of Python, NumPy and torch from what this thread draws until the returned call.

    Where no other thread may draw, they are restored. Where one may, restoring would rewind that thread's draws too:
    this thread's draws then go to separate streams, and the global ones are left alone.
    """
    streams = [torch.default_generator]
    if torch.cuda.is_initialized():
        streams += torch.cuda.default_generators
    if _is_redirected() or other_threads_may_draw():
        return _Redirection(streams, libraries=True).start()
    python, arrays, states = random.getstate(), np.random.get_state(), [stream.get_state() for stream in streams]

    def undo() -> list[str]:
        random.setstate(python)
        np.random.set_state(arrays)
        for stream, state in zip(streams, states, strict=True):
            stream.set_state(state)
        return []

    return undo


_QUIET: tuple[str, ...] = (
    "tensorboard",
    "tensorboardX",
    "tqdm",
    "wandb",
    "IPython",
    "ipykernel",
    "zmq",
    "pydevd",
    "_pydevd_bundle",
)
_QUIET += ("debugpy", "multiprocessing.queues", "multiprocessing.pool", "torch", "sr_hooks", "logging")
"""Modules whose threads draw no random numbers."""


def other_threads_may_draw() -> bool:
    """Whether a thread of the program runs beside this one that is not known to draw no random numbers."""
    own = threading.get_ident()
    threads = {thread.ident: thread for thread in threading.enumerate()}
    others = (threads.get(ident) for ident in sys._current_frames() if ident != own)
    return any(thread is None or _may_draw(thread) for thread in others)


def _may_draw(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    module = getattr(target, "__module__", None) if type(thread) is threading.Thread else type(thread).__module__
    return not any(f"{module}.".startswith(f"{quiet}.") for quiet in _QUIET)


_METHODS = """
uniform_ normal_ random_ bernoulli bernoulli_ exponential_ cauchy_ geometric_ log_normal_ multinomial rand randn
randint randperm rand_like randn_like randint_like normal poisson binomial dropout dropout_ dropout1d dropout2d
dropout3d alpha_dropout alpha_dropout_ feature_dropout feature_dropout_ feature_alpha_dropout
feature_alpha_dropout_ rrelu rrelu_ native_dropout gumbel_softmax fractional_max_pool2d
fractional_max_pool2d_with_indices fractional_max_pool3d fractional_max_pool3d_with_indices
scaled_dot_product_attention multi_head_attention_forward rnn_tanh rnn_relu lstm gru
"""
_DRAWS = {
    getattr(owner, name)
    for owner in (torch, torch.Tensor, torch.nn.functional, torch._VF)
    for name in _METHODS.split()
    if hasattr(owner, name)
}
_DRAWS |= {function for function in vars(torch.nn.init).values() if inspect.isfunction(function)}
"""torch's functions that may draw from its global streams."""
_SETTING: tuple[str, ...] = ("manual_seed", "seed", "initial_seed", "get_rng_state", "set_rng_state")
_SETTING += tuple(f"{name}_all" for name in ("manual_seed", "seed", "get_rng_state", "set_rng_state"))
_ON_THIS_THREAD = threading.local()
"""`redirections`: those that this thread is inside of, the innermost last. `is_swapped`: whether own states are in."""


def _redirections() -> list[_Redirection]:
    if not hasattr(_ON_THIS_THREAD, "redirections"):
        _ON_THIS_THREAD.redirections, _ON_THIS_THREAD.is_swapped = [], False
    redirections: list[_Redirection] = _ON_THIS_THREAD.redirections
    return redirections


def _is_redirected() -> bool:
    return bool(_redirections())


class _Redirection(TorchFunctionMode):
    """This thread draws from separate streams, while other threads go on with the global ones.

    Around each call of this thread that draws from torch, the global state is exchanged for the own one and back. The
    functions of the modules `random` and `numpy.random` are exchanged for ones that look who calls them. Where one
    stands inside of another, the inner one's streams start where the outer one's stand, and the outer one rests.
    """

    def __init__(self, streams: Sequence[torch.Generator], seed: int | None = None, *, libraries: bool = False) -> None:
        super().__init__()
        self._streams, self._libraries = list(streams), libraries
        with _redirections()[-1]._swapped() if _is_redirected() else nullcontext():
            self._states = [stream.get_state() for stream in self._streams]
        self._thread = threading.get_ident()
        self._exchanged: list[tuple[Any, str, Any]] = []
        self._is_on = False
        if seed is not None:
            with self._swapped():
                for stream in self._streams:
                    stream.manual_seed(seed)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _DRAWS:
            with self._swapped():
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        _redirections()
        if _ON_THIS_THREAD.is_swapped:
            yield
            return
        _ON_THIS_THREAD.is_swapped = True
        outside = [stream.get_state() for stream in self._streams]
        for stream, state in zip(self._streams, self._states, strict=True):
            stream.set_state(state)
        try:
            yield
        finally:
            self._states = [stream.get_state() for stream in self._streams]
            for stream, state in zip(self._streams, outside, strict=True):
                stream.set_state(state)
            _ON_THIS_THREAD.is_swapped = False

    def __enter__(self) -> Any:
        self._is_on = True
        _redirections().append(self)
        for owner in (torch, torch.random, torch.cuda, torch.cuda.random):
            for name in _SETTING:
                if original := getattr(owner, name, None):
                    self._exchange(owner, name, original, self._in_own_state(original))
        if self._libraries:
            self._exchange_libraries()
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._is_on = False
        _redirections().remove(self)
        while self._exchanged:
            owner, name, original = self._exchanged.pop()
            setattr(owner, name, original)

    def start(self) -> Callable[[], list[str]]:
        """Begin without a `with` block; the function that is returned ends it."""
        self.__enter__()

        def stop() -> list[str]:
            if self._is_on:
                self.__exit__(None, None, None)
            return []

        return stop

    def _in_own_state(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._swapped():
                return function(*args, **kwargs)

        return call

    def _exchange_libraries(self) -> None:
        python, arrays = random.Random(), np.random.RandomState()
        python.setstate(random.getstate())
        arrays.set_state(np.random.get_state())
        for module, own in ((random, python), (np.random, arrays)):
            for name, function in list(vars(module).items()):
                is_global = type(getattr(function, "__self__", None)) is type(own)
                if (is_global or name in ("seed", "ranf", "sample", "set_state", "get_state")) and callable(function):
                    own_name = {"ranf": "random_sample"}.get(name, name)
                    own_name = "random_sample" if module is np.random and name == "sample" else own_name
                    self._exchange(module, name, function, getattr(own, own_name))

    def _exchange(self, owner: Any, name: str, original: Callable[..., Any], own: Callable[..., Any]) -> None:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            is_ours = self._is_on and threading.get_ident() == self._thread
            return (own if is_ours else original)(*args, **kwargs)

        self._exchanged.append((owner, name, original))
        setattr(owner, name, call)


def _number(key: int | str) -> int:
    if isinstance(key, str):
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    if key < 0:
        raise OptionError(f"seed {key}: seeds are 0 or more")
    return int(key)
