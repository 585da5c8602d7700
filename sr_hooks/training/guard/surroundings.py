"""The surroundings of a training run in its process: working directory, standard streams, environment and the like."""

from __future__ import annotations

import gc
import locale
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

__all__ = ["surroundings"]

_Pair = tuple[Callable[[], Any], Callable[[Any], Any]]

_OWNED = [
    (sys, "stdout"),
    (sys, "stderr"),
    (sys, "stdin"),
    (sys, "excepthook"),
    (sys, "displayhook"),
    (sys, "argv"),
    (sys, "path"),
    (threading, "excepthook"),
    (warnings, "showwarning"),
    (warnings, "filters"),
]
"""Attributes that are put back as the same objects; a list among them also with the same items."""


def surroundings() -> Callable[[], list[str]]:
    """Look at everything; the function that is returned puts back what differs by then."""
    before = [(read, write, read()) for read, write in _pairs()]
    objects = [
        (owner, name, getattr(owner, name), _items(getattr(owner, name)))
        for owner, name in _OWNED
        if hasattr(owner, name)
    ]
    environment = dict(os.environ)

    def undo() -> list[str]:
        for read, write, value in before:
            if value is not None and read() != value:
                write(value)
        for owner, name, value, items in objects:
            if getattr(owner, name, None) is not value:
                setattr(owner, name, value)
            if items is not None and value != items:
                value[:] = items
                if name == "filters":
                    warnings._filters_mutated()  # type: ignore[attr-defined]
        _restore_environment(environment)
        return []

    return undo


def _items(value: Any) -> list[Any] | None:
    return list(value) if isinstance(value, list) else None


def _restore_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _pairs() -> Iterator[_Pair]:
    yield _folder, os.chdir
    yield np.geterr, lambda value: np.seterr(**value)
    yield np.get_printoptions, lambda value: np.set_printoptions(**value)
    yield lambda: logging.root.manager.disable, logging.disable
    yield lambda: logging.root.level, logging.root.setLevel
    yield sys.getrecursionlimit, sys.setrecursionlimit
    yield sys.getswitchinterval, sys.setswitchinterval
    yield gc.isenabled, lambda value: gc.enable() if value else gc.disable()
    yield partial(locale.setlocale, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)
    yield from _of_other_libraries()


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109  this is read around every step, and is faster
    except OSError:  # deleted meanwhile
        return None


def _of_other_libraries() -> Iterator[_Pair]:
    """Of libraries that the process has imported already."""
    cv2 = sys.modules.get("cv2")
    if cv2 is not None:
        yield cv2.getNumThreads, cv2.setNumThreads
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is not None:
        values = matplotlib.rcParams
        yield partial(dict.copy, values), partial(dict.update, values)
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        yield pyplot.get_fignums, lambda numbers: [pyplot.close(n) for n in {*pyplot.get_fignums()} - {*numbers}]
