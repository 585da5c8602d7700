"""What a file is: a torch file, a safetensors file under any name, or something else, which is named."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from sr_hooks.errors import CheckpointError
from sr_hooks.networks.loading.checkpoint_files.arrays import arrays_as_tensors, load_pickled_arrays, read_archive
from sr_hooks.networks.loading.checkpoint_files.safe_pickle import load_tensors, refused_global

__all__ = ["read_content"]

_HEAD = 1024  # bytes that tell what a file is
_INDEX = ".index.json"
_OF_FOLDERS = (
    "model.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
)
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
_SAVE_ALONE = "torch.save({'params': network.state_dict()}, 'weights.pth')"

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer and not the file itself: fetch the file by `git lfs pull`"),
    (b"GGUF", "a GGUF file: give the torch or safetensors file that it was made of"),
    (b"\x89HDF", "an HDF5 file, of Keras or TensorFlow: give weights that torch or safetensors wrote"),
    (b"\x93NUMPY", "a NumPy array: give weights that torch or safetensors wrote"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
)


def read_content(path: Path) -> Any:
    """What a checkpoint file holds, read without running any code in it.

    Raises:
        CheckpointError: the file is missing, something else, truncated, or a pickle that would run code.
    """
    if path.is_dir():
        return read_content(_file_of_folder(path))
    if path.name.endswith(_INDEX) and path.is_file():
        return _read_shards(path)
    if not path.is_file():
        reason = ": it is no regular file" if path.exists() else ""
        raise CheckpointError(f"no weights file {path}{reason}")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    if _is_safetensors(head, path):
        return _read_safetensors(path)
    named_safetensors = path.suffix.lower() == ".safetensors"
    if head.startswith(b"PK") and _is_numpy_archive(path):
        return read_archive(path)
    other = _other_kind(head, path)
    if other is not None:
        raise CheckpointError(f"{path} is {'not a sound safetensors file: it is ' if named_safetensors else ''}{other}")
    if named_safetensors and not head.startswith((b"PK", b"\x80")):
        return _read_safetensors(path)
    return _read_torch(path)


def _file_of_folder(folder: Path) -> Path:
    """The weights file of a folder that `save_state` of Accelerate or `save_pretrained` wrote; of several, the index.

    Raises:
        CheckpointError: no weights file, or several.
    """
    if list(folder.glob("*.distcp")):
        raise CheckpointError(
            f"{folder} is a folder of torch.distributed.checkpoint: convert it once by "
            f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder.name} weights.pth"
        )
    index = sorted(folder.glob(f"*{_INDEX}"))
    files = [folder / name for name in _OF_FOLDERS if (folder / name).is_file()]
    if len(index or files) == 1:
        return (index or files)[0]
    names = [path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES]
    inside = f", with {', '.join(names[:5])}: give the file that is meant" if names else " without weights"
    raise CheckpointError(f"no weights file {folder}: it is a folder{inside}")


def _read_shards(index: Path) -> dict[str, Any]:
    """The weights of all files that an index of Hugging Face names, as one."""
    try:
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if not all(Path(file).name == file for file in files):
            raise ValueError("it names files elsewhere")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is no index of weights files: {error}") from None
    state: dict[str, Any] = {}
    for file in files:
        part = read_content(index.parent / file)
        if not isinstance(part, dict):
            raise CheckpointError(f"{index.parent / file} holds no weights by name, and {index.name} names it")
        state |= part
    return state


def _is_safetensors(head: bytes, path: Path) -> bool:
    """Eight bytes of the header's length, then its JSON."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 9 and head[8:9] == b"{" and 2 <= length <= path.stat().st_size - 8


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is not a sound safetensors file: {_line(error)}") from None


def _read_torch(path: Path) -> Any:
    try:
        return arrays_as_tensors(load_tensors(path))
    except RecursionError:
        raise CheckpointError(f"{path} cannot be read as weights: it is nested too deeply") from None
    except (OSError, EOFError, MemoryError) as error:
        raise CheckpointError(_why_unreadable(path, error)) from None
    except (pickle.UnpicklingError, RuntimeError, ValueError, LookupError, AttributeError, TypeError) as error:
        with suppress(pickle.UnpicklingError):
            return arrays_as_tensors(load_pickled_arrays(path))
        refused = isinstance(error, pickle.UnpicklingError)
        raise CheckpointError(_why_refused(path, str(error)) if refused else _why_unreadable(path, error)) from None


def _why_unreadable(path: Path, error: Exception) -> str:
    return f"{path} cannot be read as weights: it is truncated, corrupt or no torch file ({_line(error)})"


def _why_refused(path: Path, message: str) -> str:
    name = refused_global(message)
    if name is None and not zipfile.is_zipfile(path):
        return f"{path} cannot be read as weights: it is truncated, corrupt or no torch file"
    return (
        f"{path} is refused: its pickle asks for {name or 'more than tensors'}, and unpickling that could run code. "
        f"If you trust the file, save its weights alone once: {_SAVE_ALONE}"
    )


def _other_kind(head: bytes, path: Path) -> str | None:
    """What the file is, where torch and safetensors did not write it; None where they may have."""
    if not head:
        return "empty: truncated, corrupt or no torch file"
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head.startswith(b"PK"):
        return _archive_kind(path)
    if len(head) > 262 and head[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if _is_onnx(head, path):
        return "an ONNX model: give the torch or safetensors file that it was exported from"
    return _text_kind(head)


def _archive_kind(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None  # torch says what is wrong with it
    parts = [name.split("/") for name in names]
    if any("code" in part[:-1] for part in parts) and any(part[-1] == "constants.pkl" for part in parts):
        return (
            "a TorchScript file (torch.jit.save), which holds code: save its weights alone once, "
            "torch.save({'params': torch.jit.load(file).state_dict()}, 'weights.pth')"
        )
    if any(part[-1] in ("archive_format", "serialized_exported_program.json") for part in parts):
        return f"an exported program (torch.export.save): save the weights of the network once, {_SAVE_ALONE}"
    if any(part[-1] == "data.pkl" for part in parts):
        return None
    return f"a zip archive of {', '.join(names[:3]) or 'nothing'}: unpack it first"


def _is_numpy_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def _is_onnx(head: bytes, path: Path) -> bool:
    """A protocol buffer that begins with the version of ONNX and a producer, a graph or an operator set."""
    begins = head[:1] == b"\x08" and len(head) > 2 and 1 <= head[1] <= 30 and head[2] in (0x12, 0x1A, 0x3A, 0x42)
    return begins or (path.suffix.lower() == ".onnx" and head[:1] == b"\x08")


def _text_kind(head: bytes) -> str | None:
    if b"\x00" in head:
        return None
    try:
        text = head.decode("utf-8").lstrip("\ufeff \t\r\n")
    except UnicodeDecodeError:
        return None
    lower = text.lower()
    if lower.startswith(("<!doctype html", "<html")) or (text.startswith("<") and "<html" in lower):
        return "a web page (HTML) and not the file itself: the download answered with a page; download it again"
    if text.startswith("<"):
        return "an XML text and not the file itself: the download answered with a message; download it again"
    if sum(character.isprintable() or character.isspace() for character in text) < 0.97 * len(text):
        return None
    if not re.search(r"[A-Za-z]{3}", text):
        return None
    return f"a text that begins with {json.dumps(text[:40], ensure_ascii=False)}: truncated, corrupt or no torch file"


def _line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return text if len(text) <= 160 else text[:157] + "..."
