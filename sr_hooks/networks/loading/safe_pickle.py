"""Read tensors from torch files: no code of the file runs, and mmengine's log objects in it are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

__all__ = ["load_tensors"]

_SKIPPED = ("mmengine.", "numpy.")
_ALSO = ("builtins.getattr",)  # by which mmengine's log buffers name their own methods


class _EmptyObject:
    """Replaces an object of another package: accepts any argument and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def load_tensors(path: Path) -> Any:
    """What torch.load gives with `weights_only`, on the CPU.

    A checkpoint of mmengine also holds buffers of its log, whose classes torch refuses. They are not imported: an
    empty object replaces each. Of any other package's classes and functions the file is refused.

    Raises:
        pickle.UnpicklingError, and what else torch.load raises.
    """
    with _skipping_foreign_objects(path):
        return torch.load(path, map_location="cpu", weights_only=True)


@contextmanager
def _skipping_foreign_objects(path: Path) -> Iterator[None]:
    list_globals = getattr(torch.serialization, "get_unsafe_globals_in_checkpoint", None)  # torch 2.6
    try:
        names = list_globals(path) if list_globals is not None else []
    except Exception:
        names = []  # whatever is wrong with the file, torch.load will say it
    if not names or not all(name.startswith(_SKIPPED) or name in _ALSO for name in names):
        yield
        return
    with torch.serialization.safe_globals([(_EmptyObject, name) for name in names]):
        yield
