"""Read tensors from torch files: no code of the file runs, and harmless objects beside the weights are skipped."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr_hooks.networks.loading.checkpoint_files.arrays import ARRAY_GLOBALS

__all__ = ["load_tensors", "refused_global"]

_PACKAGES = (
    "mmengine.",
    "numpy.",
    "pathlib.",
    "datetime.",
    "omegaconf.",
    "yacs.",
    "easydict.",
    "addict.",
    "pytorch_lightning.",
    "lightning.",
    "lightning_fabric.",
    "typing.",
    "enum.",
    "uuid.",
    "decimal.",
    "fractions.",
)
_NAMES = {
    "argparse.Namespace",
    "types.SimpleNamespace",
    "collections.defaultdict",
    "collections.Counter",
    "collections.deque",
    "zoneinfo.ZoneInfo._unpickle",
    "builtins.getattr",  # by which mmengine's log buffers and newer path classes name their own methods
    *(f"builtins.{kind}" for kind in ("bool", "complex", "dict", "float", "frozenset", "int", "list", "set", "slice")),
    *(f"builtins.{kind}" for kind in ("str", "tuple", "bytes", "bytearray", "range")),
}
_MAPPINGS = {
    "collections.defaultdict",
    "easydict.EasyDict",
    "addict.addict.Dict",
    "yacs.config.CfgNode",
    "builtins.dict",
}
_LISTS = {"collections.deque", "builtins.list"}
_NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16", "U1", "O")
_ATTEMPTS = 40  # names that are skipped in a file whose names cannot be listed


class _EmptyObject:
    """Replaces an object of another package: accepts any argument and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _Mapping:
    """Replaces another kind of mapping by one that torch fills."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return OrderedDict()


class _List:
    """Replaces another kind of list by one that torch fills."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return list(args[0]) if args and isinstance(args[0], (list, tuple)) else []


def load_tensors(path: Path) -> Any:
    """What torch.load gives with `weights_only`, on the CPU.

    A checkpoint often holds more than tensors: settings, paths, dates, buffers of a log, whose classes torch refuses.
    They are not imported: an empty object replaces each. Of any other package's classes and functions the file is
    refused.

    Raises:
        pickle.UnpicklingError, and what else torch.load raises.
    """
    names = _listed(path)
    for _ in range(_ATTEMPTS):
        try:
            with _skipping(names), path.open("rb") as file:  # by its name, torch reads some files as another kind
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            name = refused_global(str(error))
            if name is None or name in names or not _is_harmless(name):
                raise
            names = {*names, name}
    raise pickle.UnpicklingError(f"more than {_ATTEMPTS} kinds of objects")


def refused_global(message: str) -> str | None:
    """The class or function that a message of torch refuses."""
    match = re.search(r"(?:GLOBAL|global)\s+(\S+)", message)
    return match.group(1).rstrip(".,") if match else None


def _listed(path: Path) -> set[str]:
    """The harmless names in a file, where torch lists them; empty where other names are beside them."""
    list_globals = getattr(torch.serialization, "get_unsafe_globals_in_checkpoint", None)  # torch 2.6
    try:
        names = set(list_globals(path)) if list_globals is not None else set()
    except Exception:
        return set()  # torch.load will say what is wrong with the file
    return names if all(map(_is_harmless, names)) else set()


def _is_harmless(name: str) -> bool:
    return name in _NAMES or name.startswith(_PACKAGES)


def _skipping(names: set[str]) -> AbstractContextManager[Any]:
    if not names:
        return nullcontext()
    kinds = [type(np.dtype(kind)) for kind in _NUMBERS] if names & ARRAY_GLOBALS.keys() else []
    return torch.serialization.safe_globals([*((_replacement(name), name) for name in sorted(names)), *kinds])


def _replacement(name: str) -> Any:
    if name in ARRAY_GLOBALS:
        return ARRAY_GLOBALS[name]
    return _Mapping if name in _MAPPINGS else _List if name in _LISTS else _EmptyObject
