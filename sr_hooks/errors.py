"""The classes of errors that users cause, all others being faults of sr_hooks. docs/errors.md explains each class."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable
from functools import partial
from traceback import walk_tb
from typing import Any, ClassVar

__all__ = [
    "CheckpointError",
    "ForwardError",
    "ImageError",
    "NetworkError",
    "NoImage",
    "OptionError",
    "PluginError",
    "ResourceError",
    "ResultError",
    "RunStopped",
    "SRHooksError",
    "TapError",
    "WindowError",
    "is_stop",
    "nearest",
    "shortened",
]


_LONGEST = 900  # characters of a message
_PAGE = "https://github.com/sr-hooks/sr_hooks/blob/main/docs/errors.md"


class SRHooksError(Exception):
    """The base class of all errors that users cause. A message says what is wrong, where, and what to do, in one line.

    The middle of a very long message is left out.

    Attributes:
        page: the address of the section of docs/errors.md that explains the class. A message does not repeat this
            address, since messages are one line. A class outside of sr_hooks has the address of its base class.

    Examples:
        >>> import sr_hooks
        >>> sr_hooks.Network.load("MSRResNets")
        Traceback (most recent call last):
        sr_hooks.errors.NetworkError: BasicSR has no architecture 'MSRResNets'; did you mean MSRResNet or ...?
    """

    page: ClassVar[str] = f"{_PAGE}#srhookserror"

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.__module__.partition(".")[0] == __package__ and not cls.__name__.startswith("_"):
            cls.page = f"{_PAGE}#{cls.__name__.lower()}"

    def __init__(self, message: object = "", *more: object) -> None:
        super().__init__(shortened(str(message)), *more)


class ImageError(SRHooksError):
    """An image cannot be read, or the network does not take its kind, range or size."""


class WindowError(SRHooksError):
    """A window is empty or leaves the output."""


class NetworkError(SRHooksError):
    """A module cannot be loaded, run or analysed as it stands."""


class ForwardError(NetworkError, RuntimeError):
    """The network's own code failed on an input. The class is a RuntimeError too, as torch's own errors there are."""


class NoImage(NetworkError):
    """A network runs and returns no image, or not one alone, at every size of its input."""


class CheckpointError(SRHooksError):
    """A weights file is missing, damaged, unsafe to load, or of another network."""


class TapError(SRHooksError):
    """A tap names no layer, or not exactly one call of the layer."""


class OptionError(SRHooksError):
    """An option is unknown, or its value is of the wrong kind."""


class PluginError(SRHooksError):
    """A plugin failed when it was imported, registered or run."""


class ResultError(SRHooksError):
    """A result cannot be written or read."""


class ResourceError(SRHooksError, MemoryError):
    """The memory is too small for a computation, in every way that was tried. The class is a MemoryError too."""


class RunStopped(SRHooksError, SystemExit):
    """A training run was stopped before its first step, because its `sr_hooks` block cannot be carried out.

    If nobody catches the error, the program ends with the message alone and no traceback.
    """

    def __init__(self, message: str, *, quiet: bool = False) -> None:
        super().__init__(message)
        self.code = 1 if quiet else f"sr_hooks: {self}"


def shortened(text: str, longest: int = _LONGEST) -> str:
    """The text, without its middle where it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} ... {text[5 - longest // 2 :]}"


def is_stop(error: BaseException) -> bool:
    """Whether an error asks the whole program to stop: Ctrl-C, or what a signal handler of the program raised.

    A SystemExit of a plugin's own code is no such error.
    """
    if isinstance(error, KeyboardInterrupt):
        return True
    handlers = {getattr(_plain_function(signal.getsignal(n)), "__code__", None) for n in signal.valid_signals()}
    return any(frame.f_code in handlers for frame, _ in walk_tb(error.__traceback__))


def _plain_function(handler: object) -> object:
    """The function of a partial, a method or a callable object."""
    while isinstance(handler, partial):
        handler = handler.func
    if not hasattr(handler, "__code__") and not hasattr(handler, "__func__"):
        handler = getattr(handler, "__call__", handler)  # noqa: B004
    return getattr(handler, "__func__", handler)


def nearest(name: str, known: Iterable[str], *, how_many: int = 3) -> str:
    """A half-sentence with the nearest known names, or with all of them where few."""
    names, name = sorted(known), name[:_LONGEST]
    close = difflib.get_close_matches(name, names, n=how_many, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    if not names:
        return "there are none"
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"known: {shown}"
