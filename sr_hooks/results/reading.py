"""Read what a result's folder holds, and refuse what is damaged: nothing hangs, nothing allocates without reason."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from sr_hooks.errors import ResultError
from sr_hooks.files.regular_files import open_regular, read_bytes
from sr_hooks.files.strict_json import from_json, to_json

__all__ = ["digest_of", "facts_of", "read_arrays", "read_record", "write_arrays"]

_LARGEST_JSON = 2**26  # bytes
_FREE = 2**27  # bytes that arrays may have, however well they are compressed: a map of zeros is
_RATIO = 64  # bytes of arrays for each byte of the file, beyond that
_MOST_ARRAYS = 10_000
_PIECE = 2**20


def read_record(path: Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """The mapping of a JSON file, which must have these keys with values of these types.

    Raises:
        OSError, ValueError: the file cannot be read, or its content is another one.
    """
    record = from_json(read_bytes(path, largest=_LARGEST_JSON))
    if not isinstance(record, dict):
        raise ValueError(f"{path.name} holds no mapping")
    for key, kind in kinds.items():
        if key not in record:
            raise ValueError(f"{path.name} lacks {key!r}")
        if not isinstance(record[key], kind) or (kind is int and isinstance(record[key], bool)):
            raise ValueError(f"{key!r} in {path.name} is a {type(record[key]).__name__}, not a {kind.__name__}")
    return record


def facts_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What result.json records of each array: its type, shape and the SHA-256 of its bytes."""
    facts = {}
    for name, value in arrays.items():
        array = np.ascontiguousarray(value)
        if array.dtype.hasobject:
            raise ResultError(f"the array {name!r} holds Python objects: a result's arrays hold numbers or texts")
        facts[name] = {
            "dtype": array.dtype.str,
            "shape": list(np.shape(value)),
            "sha256": sha256(array.tobytes()).hexdigest(),
        }
    return facts


def digest_of(record: Mapping[str, Any]) -> str:
    """The SHA-256 of what a result says: analysis, verdict, numbers and the facts of its arrays."""
    statement = {key: record.get(key) for key in ("analysis", "verdict", "scalars", "arrays")}
    return sha256(to_json(from_json(to_json(statement)), indent=None).encode()).hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays, compressed; uncompressed where they would shrink so much that `read_arrays` refused them."""
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    if sum(np.asarray(a).nbytes for a in arrays.values()) > _allowance(path.stat().st_size):
        np.savez(path, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path, facts: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, which must be those of `facts` where these are known.

    Raises:
        ValueError, OSError, zipfile.BadZipFile: the file is spoilt. No array is allocated before its declared size has
            been compared with the size of the file.
    """
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_members(members, path.stat().st_size)
        arrays = {member.filename.removesuffix(".npy"): _read_array(archive, member) for member in members}
    if facts is not None:
        _compare(arrays, facts)
    return arrays


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    names = [member.filename for member in members]
    if len(names) > _MOST_ARRAYS or len(set(names)) < len(names):
        raise ValueError(f"its {len(names)} arrays are too many, or two have the same name")
    for member in members:
        if not member.filename.endswith(".npy"):
            raise ValueError(f"{member.filename[:80]!r} is no array")
        if member.flag_bits & 1:
            raise ValueError("it is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("it is compressed by another method than deflate")
    declared = sum(member.file_size for member in members)
    if declared > _allowance(size):
        raise ValueError(f"its arrays would have {declared} bytes, too many for a file of {size} bytes")


def _allowance(size: int) -> int:
    return max(_FREE, _RATIO * size)


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"{member.filename[:80]!r} is of an unknown version of NumPy's format")
        shape, fortran_order, dtype = read_header(stream)
        if dtype.hasobject:
            raise ValueError(f"{member.filename[:80]!r} holds Python objects")
        count = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or count > member.file_size:
            raise ValueError(f"{member.filename[:80]!r} declares the shape {shape}, more than it holds")
        data = bytearray()
        while len(data) < count and (piece := stream.read(min(_PIECE, count - len(data)))):
            data += piece
        if len(data) != count or stream.read(1):
            raise ValueError(f"{member.filename[:80]!r} has not the size that its shape {shape} needs")
    array = np.frombuffer(bytes(data), dtype=dtype) if count else np.empty(math.prod(shape), dtype)
    return array.reshape(shape, order="F" if fortran_order else "C").copy()


def _compare(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    if set(arrays) != set(facts):
        lacking, extra = sorted(set(facts) - set(arrays)), sorted(set(arrays) - set(facts))
        raise ValueError(f"arrays.npz lacks {lacking[:5]} and has {extra[:5]} beside what result.json lists")
    for name, present in facts_of(arrays).items():
        if present != facts[name]:
            raise ValueError(f"the array {name!r} is not the one that was saved")
