"""Weights files: read them safely, find the weights inside, load them strictly, write them back in the same layout."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sr_hooks.errors import CheckpointError
from sr_hooks.networks.loading.safe_pickle import load_tensors

__all__ = ["Weights", "load_weights", "read_weights", "save_weights", "sha256_of_weights", "write_weights"]

_KEYS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net_g_ema", "net_g", "generator", "net")

_OF_MMAGIC = {
    "generator",
    "generator_ema",
    "discriminator",
    "perceptual_loss",
    "gan_loss",
    "pixel_loss",
    "step_counter",
}
_GENERATORS = ("generator_ema.module.", "generator_ema.", "generator.module.", "generator.")


@dataclass(frozen=True)
class Weights:
    """The weights of one network, read from a file.

    Attributes:
        state: name to tensor, on the CPU, with the prefix taken off.
        key: the key of the file under which they are ("params_ema", ...), or "" where the file holds nothing else.
        prefix: what was stripped from every name ("module.", ...).
        path: the file.
        other_keys: other keys of the file with weights of the same names ("params" beside "params_ema").
    """

    state: dict[str, torch.Tensor]
    key: str
    prefix: str
    path: Path
    other_keys: tuple[str, ...] = ()


def read_weights(path: str | Path, *, key: str | None = None, parts: Sequence[str] = ()) -> Weights:
    """Read a .safetensors or torch file without running any code in it.

    `params_ema` is preferred, then `params`, then other usual keys, then the file itself as weights;
    a leading `module.` is stripped. Of a whole model of mmagic its `generator_ema` is taken, or its `generator`.

    Args:
        key: take the weights under this key and no other.
        parts: of a whole model, take what begins with the first of these prefixes that occurs, and strip it.

    Raises:
        CheckpointError: missing, truncated or corrupt; a pickle that would run code; no weights inside.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no weights file {path}" + (": it is a folder" if path.is_dir() else ""))
    content = _read(path)
    state, key = _find(content, path, key)
    other_keys = tuple(
        name
        for name, value in (content.items() if key else ())
        if name != key and _is_state(value) and value.keys() == state.keys()
    )
    state, prefix = _strip(state, parts)
    return Weights(state, key, prefix, path, other_keys)


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path} is not a sound safetensors file: {_line(error)}") from None
    try:
        return load_tensors(path)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_why_refused(path, str(error))) from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"{path} cannot be read as weights: it is truncated, corrupt or no torch file ({_line(error)})"
        ) from None


def _why_refused(path: Path, message: str) -> str:
    global_name = re.search(r"(?:GLOBAL|global)\s+(\S+)", message)
    if global_name is None and not zipfile.is_zipfile(path):
        return f"{path} cannot be read as weights: it is truncated, corrupt or no torch file"
    name = global_name.group(1).rstrip(".,") if global_name else "more than tensors"
    return (
        f"{path} is refused: its pickle asks for {name}, and unpickling that could run code. If you trust the file, "
        "save its weights alone once: torch.save({'params': network.state_dict()}, 'weights.pth')"
    )


def _line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return text if len(text) <= 160 else text[:157] + "..."


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and any(isinstance(v, torch.Tensor) for v in value.values())
        and all(isinstance(k, str) for k in value)
        and all(isinstance(v, torch.Tensor) or not isinstance(v, dict) for v in value.values())
    )


def _find(content: Any, path: Path, requested: str | None) -> tuple[dict[str, torch.Tensor], str]:
    if isinstance(content, dict):
        for key in (requested,) if requested else _KEYS:
            if _is_state(content.get(key)):
                return _tensors(content[key]), key
        if requested is None and _is_state(content):
            return _tensors(content), ""
    keys = ", ".join(map(str, list(content)[:8])) if isinstance(content, dict) else type(content).__name__
    sought = f"under {requested!r}" if requested else f"under {', '.join(_KEYS[:3])} or at the top"
    raise CheckpointError(f"{path} holds no weights {sought}; it holds: {keys}")


def _tensors(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def _strip(state: dict[str, torch.Tensor], parts: Sequence[str]) -> tuple[dict[str, torch.Tensor], str]:
    if not parts and {key.split(".")[0] for key in state} <= _OF_MMAGIC:
        parts = _GENERATORS
    for prefix in parts:
        if any(key.startswith(prefix) for key in state):
            return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}, prefix
    for prefix in ("module.", "_orig_mod."):
        if state and all(key.startswith(prefix) for key in state):
            return {key[len(prefix) :]: value for key, value in state.items()}, prefix
    return state, ""


def load_weights(module: nn.Module, weights: Weights) -> None:
    """Load into the module, all names and shapes equal, or refuse with the first that differ."""
    own = module.state_dict()
    missing = [key for key in own if key not in weights.state]
    foreign = [key for key in weights.state if key not in own]
    shapes = [
        f"{key} is {tuple(value.shape)} in the file and {tuple(own[key].shape)} in the network"
        for key, value in weights.state.items()
        if key in own and value.shape != own[key].shape
    ]
    complaints = []
    if missing:
        complaints.append(f"not in the file: {_first(missing)}")
    if foreign:
        complaints.append(f"not in the network: {_first(foreign)}")
    if shapes:
        complaints.append(_first(shapes, 2, "; "))
    if complaints:
        raise CheckpointError(
            f"the weights in {weights.path} are not those of this {type(module).__name__}: {'. '.join(complaints)}. "
            "Check the architecture and its arguments"
        )
    module.load_state_dict(weights.state)


def _first(items: list[str], how_many: int = 4, between: str = ", ") -> str:
    more = f" and {len(items) - how_many} more" if len(items) > how_many else ""
    return between.join(items[:how_many]) + more


def write_weights(state: dict[str, torch.Tensor], path: str | Path, *, like: Weights | None = None) -> None:
    """Write weights, whole or not at all, with the keys and prefix of `like`; the suffix says the file format.

    A file with weights under several keys gets the same under all of them, so that no reader takes stale ones.
    """
    path = Path(path)
    prefix, keys = (like.prefix, (like.key, *like.other_keys)) if like else ("", ("params",))
    named = {prefix + key: value.detach().cpu().contiguous() for key, value in state.items()}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            if path.suffix == ".safetensors":
                from safetensors.torch import save

                file.write(save({key: value.clone() for key, value in named.items()}))
            else:
                torch.save(dict.fromkeys(keys, named) if keys[0] else named, file)
        part.replace(path)
    except OSError as error:
        raise CheckpointError(f"cannot write the weights to {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def save_weights(module: nn.Module, path: str | Path, *, like: Weights | None = None) -> None:
    """Write a module's weights as a checkpoint in the layout and number formats of `like`; see `write_weights`."""
    state = {key: value for key, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    if like is not None:
        formats = {key: value.dtype for key, value in like.state.items()}
        state = {key: value.to(formats.get(key, value.dtype)) for key, value in state.items()}
    write_weights(state, path, like=like)


def sha256_of_weights(module: nn.Module) -> str:
    """SHA-256 over names, kinds, shapes and bytes of all weights and buffers, in state-dict order."""
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().contiguous()
            digest.update(f"{key} {value.dtype} {tuple(value.shape)};".encode())
            digest.update(value.flatten().view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()
