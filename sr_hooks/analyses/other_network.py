"""Other networks beside the explained one: before fine-tuning, of another iteration, or of another architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sr_hooks.errors import CheckpointError, NetworkError, OptionError, SRHooksError
from sr_hooks.networks.loading.checkpoint_files.weights import CHECKPOINT_SUFFIXES, split_name
from sr_hooks.networks.loading.checkpoints import load_weights, read_weights
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import deep_copy

__all__ = ["other_network", "other_networks"]


def other_network(other: Any, network: Network, *, what: str = "other") -> Network:
    """Another network: a Network, a module, a weights file for the same architecture, or a model's name.

    Args:
        network: the explained one, whose architecture a file of weights is loaded into (a copy).
        what: how errors call the other network.

    Raises:
        OptionError: none given.
        SRHooksError: it cannot be loaded, or belongs to another architecture.
    """
    if isinstance(other, Network):
        return other
    if isinstance(other, torch.nn.Module):
        return Network.of(other)
    if not isinstance(other, (str, Path)) or not str(other):
        raise OptionError(
            f"{what} must be a Network, a torch module, a weights file of the network's architecture, or a model"
        )
    if not split_name(other)[0].name.lower().endswith(CHECKPOINT_SUFFIXES):
        return Network.load(str(other), device=network.device)
    weights = read_weights(other)
    twin = network.with_module(deep_copy(network.module))
    try:
        weights = load_weights(twin.module, weights)
    except CheckpointError as mismatch:
        try:  # a file whose names its loader changes, as spandrel does for some architectures
            return Network.load(str(other), device=network.device)
        except SRHooksError:
            raise mismatch from None
    twin.name, twin.weights = f"{type(network.module).__name__} {weights.path.stem}", weights
    if sum(p.numel() for p in twin.module.parameters()) == 0:
        raise NetworkError(f"{network.name} has no parameters")
    return twin


def other_networks(others: Any, network: Network, *, what: str = "others") -> dict[str, Network]:
    """The explained network and the others by name, the explained one first. Equal names are numbered.

    Args:
        others: None, one network, or a sequence of networks; each as `other_network` takes it.
        network: the explained one.
        what: how errors call the others.

    Raises:
        OptionError: a network of another scale.
        SRHooksError: a network cannot be loaded.

    Examples:
        >>> import torch
        >>> from sr_hooks import Network
        >>> from sr_hooks.analyses import other_networks
        >>> list(other_networks([torch.nn.Conv2d(3, 3, 1)], Network(torch.nn.Conv2d(3, 3, 3, padding=1), scale=1)))
        ['Conv2d', 'Conv2d (2)']
    """
    several = [] if others is None else others if isinstance(others, (list, tuple)) else [others]
    networks = {network.name: network}
    for other in several:
        loaded = other_network(other, network, what=what)
        if loaded.scale != network.scale:
            raise OptionError(f"{loaded.name} has scale {loaded.scale:g}, and {network.name} {network.scale:g}")
        name, number = loaded.name, 2
        while name in networks:
            name, number = f"{loaded.name} ({number})", number + 1
        networks[name] = loaded
    return networks
