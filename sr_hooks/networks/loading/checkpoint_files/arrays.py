"""Weights as NumPy arrays: archives (.npz), pickles of arrays, and arrays in the place of tensors."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr_hooks.errors import CheckpointError

__all__ = ["ARRAY_GLOBALS", "arrays_as_tensors", "load_pickled_arrays", "read_archive"]

_DEPTH = 4
_LARGEST_RATIO = 2000  # of an array's bytes and its part of the archive
_reconstruct = np.zeros(1).__reduce__()[0]

ARRAY_GLOBALS: dict[str, Any] = {
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
}
"""What the pickle of an array of numbers names; none of them runs code of the file."""


class _Arrays(pickle.Unpickler):
    """Reads containers, texts, numbers and arrays, and refuses every other class and function."""

    has_arrays = False

    def find_class(self, module: str, name: str) -> Any:
        allowed = {**ARRAY_GLOBALS, "collections.OrderedDict": OrderedDict, "_codecs.encode": _latin}
        value = allowed.get(f"{module}.{name}")
        if value is None and re.fullmatch(
            r"numpy\._?core\.(multiarray\.scalar|numeric\._frombuffer)", f"{module}.{name}"
        ):
            value = _scalar if name == "scalar" else _from_buffer
        if value is None:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name} was not an allowed global")
        self.has_arrays = True
        return value


def _latin(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype)[0]


def _from_buffer(data: Any, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape, order=order)  # type: ignore[call-overload,no-any-return]


def load_pickled_arrays(path: Path) -> Any:
    """What a pickle of arrays, of `pickle.dump`, holds.

    Raises:
        pickle.UnpicklingError: it holds something else.
    """
    with path.open("rb") as file:
        reader = _Arrays(file)
        try:
            content = reader.load()
        except pickle.UnpicklingError:
            raise
        except Exception as error:
            raise pickle.UnpicklingError(str(error)) from None
    if not reader.has_arrays:
        raise pickle.UnpicklingError("no arrays")
    return content


def read_archive(path: Path) -> dict[str, torch.Tensor]:
    """The arrays of an .npz file by name; objects in it are refused, not unpickled.

    Raises:
        CheckpointError: damaged, or no numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for part in archive.infolist():
                if part.file_size > _LARGEST_RATIO * max(part.compress_size, 512):
                    raise CheckpointError(f"{path} is refused: {part.filename} unpacks to {part.file_size} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError) as error:
        raise CheckpointError(f"{path} cannot be read as an archive of NumPy arrays: {error}") from None
    tensors = {name: tensor for name, value in content.items() if (tensor := _tensor(value)) is not None}
    if len(tensors) < len(content):
        raise CheckpointError(f"{path} holds arrays that are no numbers: give weights alone")
    return tensors


def arrays_as_tensors(content: Any, depth: int = _DEPTH) -> Any:
    """The content with tensors in the place of arrays, in each mapping of arrays that looks like weights."""
    if not isinstance(content, Mapping) or depth == 0:
        return content
    arrays = [value for value in content.values() if isinstance(value, np.ndarray)]
    weights = any(value.ndim > 1 for value in arrays)
    converted = {}
    for name, value in content.items():
        tensor = _tensor(value) if weights and isinstance(value, np.ndarray) else None
        converted[name] = arrays_as_tensors(value, depth - 1) if tensor is None else tensor
    return converted if weights or any(converted[name] is not content[name] for name in content) else content


def _tensor(array: np.ndarray) -> torch.Tensor | None:
    if array.dtype.kind not in "fiubc":
        return None
    native = array.astype(array.dtype.newbyteorder("="))
    return torch.from_numpy(np.ascontiguousarray(native).reshape(array.shape))
