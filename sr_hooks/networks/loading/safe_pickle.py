"""Tensors out of torch files: no code of the file runs, and mmengine's own log objects in it are passed over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

__all__ = ["load_tensors"]

_PASSED_OVER = ("mmengine.", "numpy.")
_ALSO = ("builtins.getattr",)  # by which mmengine's log buffers name their own methods


class _Nothing:
    """Stands where an object of another package was: takes whatever it is given, and does nothing with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def load_tensors(path: Path) -> Any:
    """What torch.load gives with `weights_only`, on the CPU.

    A checkpoint of mmengine also holds buffers of its log, whose classes torch refuses. They are not imported: an
    empty object takes the place of each. Of any other package's classes and functions the file is refused.

    Raises:
        pickle.UnpicklingError, and what else torch.load raises.
    """
    with _passing_over(path):
        return torch.load(path, map_location="cpu", weights_only=True)


@contextmanager
def _passing_over(path: Path) -> Iterator[None]:
    asked = getattr(torch.serialization, "get_unsafe_globals_in_checkpoint", None)  # torch 2.6
    try:
        names = asked(path) if asked is not None else []
    except Exception:
        names = []  # whatever is wrong with the file, torch.load will say it
    if not names or not all(name.startswith(_PASSED_OVER) or name in _ALSO for name in names):
        yield
        return
    with torch.serialization.safe_globals([(_Nothing, name) for name in names]):
        yield
