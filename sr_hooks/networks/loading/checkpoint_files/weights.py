"""The weights of one network, read from a file, and the text that names a file and the weights in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

__all__ = ["CHECKPOINT_SUFFIXES", "Weights", "named_weights", "split_name"]

CHECKPOINT_SUFFIXES = (
    *(".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".tar", ".pkl", ".pickle", ".pt2"),
    *(".onnx", ".gguf", ".h5", ".npz", ".npy", ".html"),  # which are named as what they are
)
"""How names of checkpoint files end, and of other files that people take for some."""

_BETWEEN = "::"


@dataclass(frozen=True)
class Weights:
    """The weights of one network, read from a file.

    Attributes:
        state: name to tensor, on the CPU, with the prefix taken off.
        key: the dotted key of the file under which they are ("params_ema", "model.sd"), or "" at the top of the file.
        prefix: what was stripped from every name ("module.", ...).
        path: the file.
        other_keys: other keys of the file with weights of the same names ("params" beside "params_ema").
        names: name to the name in the file, where that is another one than prefix and name.
        left_out: what the file has beside the weights under the same key: counters of tools and averages.
        beside: other weights of the network in the file, by key or prefix, that were not taken.
        remarks: sentences about what was chosen, left out and converted.
        settings: numbers of LoRA beside the weights.
    """

    state: dict[str, torch.Tensor]
    key: str
    prefix: str
    path: Path
    other_keys: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, torch.Tensor] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """What a result records of them: the key or the prefix, and what else there was."""
        return {
            "weights": self.key or self.prefix.rstrip(".") or "bare",
            "file": self.path.name,
            **({"weights_beside": list(self.beside)} if self.beside else {}),
            **({"weights_remarks": list(self.remarks)} if self.remarks else {}),
        }


def named_weights(path: str | Path, key: str | None, prefix: str | None) -> str:
    """A file, with the key and the prefix of the weights in it, as one text: `file.ckpt::net_g_ema`."""
    return _BETWEEN.join([str(path), *([key or ""] if key or prefix else []), *([prefix] if prefix else [])])


def split_name(name: str | Path) -> tuple[Path, str | None, str | None]:
    """The file, the key and the prefix in such a text; None for what is not named."""
    text = str(name)
    if _BETWEEN not in text or Path(text).exists():
        return Path(text), None, None
    file, *rest = text.split(_BETWEEN)
    key, prefix = [*rest, "", ""][:2]
    return Path(file), key or None, prefix or None
