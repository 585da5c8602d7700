"""Load a network from a folder that `save_pretrained` of the transformers package wrote; nothing is fetched."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sr_hooks.core.seeds import own_streams
from sr_hooks.errors import CheckpointError, NetworkError, nearest
from sr_hooks.files.regular_files import read_bytes
from sr_hooks.networks.loading.checkpoints import Weights, read_weights
from sr_hooks.networks.loading.loaders import Loaded

__all__ = ["Reconstruction", "from_folder", "is_saved_folder"]

_CONFIG, _PIPELINE = "config.json", "model_index.json"


class Reconstruction:
    """Call a network of transformers for restoration: `pixel_values` in, `reconstruction` out."""

    def __call__(self, module: nn.Module, x: torch.Tensor) -> Any:
        return module(pixel_values=x).reconstruction


def is_saved_folder(path: str | Path) -> bool:
    """Whether a path is a folder with the description that `save_pretrained` writes."""
    return any((Path(path) / name).is_file() for name in (_CONFIG, _PIPELINE))


def from_folder(folder: str | Path) -> Loaded:
    """See Network.load.

    Raises:
        NetworkError: no network for restoration of transformers, or transformers is not installed.
        CheckpointError: no weights in the folder, or weights that do not fit.
    """
    folder = Path(folder)
    if not (folder / _CONFIG).is_file():
        raise NetworkError(
            f"{folder} holds a pipeline of diffusers, not one network: load it there, and give its module"
        )
    config = _config(folder / _CONFIG)
    name = (config.get("architectures") or [None])[0]
    cls = _class(folder, name)
    if not list(folder.glob("*.safetensors")) and not list(folder.glob("pytorch_model*.bin")):
        raise CheckpointError(f"{folder} holds no weights: neither model.safetensors nor pytorch_model.bin")
    with own_streams(seed=0):
        try:
            module, report = cls.from_pretrained(str(folder), local_files_only=True, output_loading_info=True)
        except Exception as error:
            raise CheckpointError(f"transformers cannot load {folder}: {type(error).__name__}: {error}") from error
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *(key for key, *_ in report["mismatched_keys"])]
    if wrong:
        raise CheckpointError(
            f"the weights in {folder} are not those of {name}: {', '.join(sorted(map(str, wrong))[:5])}"
        )
    described = {"scale": "upscale", "channels": "num_channels", "multiple": "window_size"}
    facts = {fact: getattr(module.config, key, None) for fact, key in described.items()}
    named = {fact: value for fact, value in facts.items() if value is not None}
    named |= {"forward": Reconstruction(), "input_range": 1.0}
    return Loaded(module.eval(), f"{name} {folder.resolve().name}", _weights(folder), named)


def _config(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(file))
    except (OSError, ValueError, RecursionError) as error:
        raise NetworkError(f"{file} is not sound JSON: {error}") from None
    if not isinstance(content, dict):
        raise NetworkError(f"{file} describes no network: it holds no mapping")
    return content


def _class(folder: Path, name: Any) -> Any:
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        raise NetworkError(
            f"{folder} was saved by transformers, which is not installed: pip install transformers"
        ) from None
    cls = getattr(transformers, name, None) if isinstance(name, str) else None
    if isinstance(cls, type) and issubclass(cls, nn.Module) and "ImageSuperResolution" in cls.__name__:
        return cls
    known = [each for each in dir(transformers) if each.endswith("ForImageSuperResolution")]
    raise NetworkError(
        f"{folder / _CONFIG}: {name!r} is no network of transformers for restoration; {nearest(str(name), known)}"
    )


def _weights(folder: Path) -> Weights | None:
    """The record of the weights' file; None where they are spread over several files."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return read_weights(folder / name)
    return None
