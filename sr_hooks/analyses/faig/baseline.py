"""What FAIG compares the target with: its baseline, from wherever it is."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from sr_hooks.errors import CheckpointError, NetworkError, OptionError, SRHooksError
from sr_hooks.networks.loading.checkpoints import load_weights, read_weights
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import deep_copy

__all__ = ["baseline_of"]

_FILES = (".pth", ".pt", ".ckpt", ".safetensors", ".bin")


def baseline_of(given: Any, target: Network) -> Network:
    """The baseline as a Network: one, a module, a weights file for the target's architecture, or a model's name.

    Raises:
        OptionError: none given.
        SRHooksError: it cannot be loaded, or belongs to another architecture.
    """
    if isinstance(given, Network):
        return given
    if isinstance(given, torch.nn.Module):
        return Network.of(given)
    if not isinstance(given, (str, Path)) or not str(given):
        raise OptionError(
            "baseline must be a Network, a torch module, a weights file of the target's architecture, or a model"
        )
    if not str(given).endswith(_FILES):
        return Network.load(str(given))
    weights = read_weights(given)
    twin = copy.copy(target)
    twin.module = deep_copy(target.module)
    try:
        load_weights(twin.module, weights)
    except CheckpointError as mismatch:
        try:  # a file whose names its loader changes, as spandrel does for some architectures
            return Network.load(str(given))
        except SRHooksError:
            raise mismatch from None
    twin.name, twin.weights = f"{type(target.module).__name__} {weights.path.stem}", weights
    if sum(p.numel() for p in twin.module.parameters()) == 0:
        raise NetworkError(f"{target.name} has no parameters")
    return twin
