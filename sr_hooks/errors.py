"""What can go wrong because of what was asked, each with a name. Anything else is a fault of ours."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable
from functools import partial
from traceback import walk_tb

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


class SRHooksError(Exception):
    """Base of all: the message says what is wrong, where, and what to do. The middle of a very long one is left out."""

    def __init__(self, message: object = "", *more: object) -> None:
        super().__init__(shortened(str(message)), *more)


class ImageError(SRHooksError):
    """An image that cannot be read, or of a kind, range or size that the network does not take."""


class WindowError(SRHooksError):
    """A window that is empty or leaves the output."""


class NetworkError(SRHooksError):
    """A module that cannot be run or analysed as it stands."""


class ForwardError(NetworkError, RuntimeError):
    """A network's own code failed on an input; a RuntimeError too, as what torch raises there is."""


class NoImage(NetworkError):
    """A network that runs and returns no image, or not one alone, whatever the size of its input."""


class CheckpointError(SRHooksError):
    """A weights file that is missing, damaged, unsafe, or of another network."""


class TapError(SRHooksError):
    """A tap that names no layer, or not exactly one call of it."""


class OptionError(SRHooksError):
    """An unknown option or a value of the wrong kind."""


class PluginError(SRHooksError):
    """A plugin that fails to import, register or run."""


class ResultError(SRHooksError):
    """A result that cannot be written or read."""


class ResourceError(SRHooksError, MemoryError):
    """Memory that is too small for a computation, whichever way it is computed; a MemoryError too."""


class RunStopped(SRHooksError, SystemExit):
    """A training run was stopped before its first step: what it was asked to watch cannot be watched.

    Uncaught it ends the program with its message alone and no traceback; it can be caught as an SRHooksError.
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
