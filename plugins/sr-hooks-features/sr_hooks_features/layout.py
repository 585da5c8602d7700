"""Which layers are looked at, and what passes them as maps (frames,C,h,w)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from sr_hooks import Network
from sr_hooks.errors import TapError
from sr_hooks.hooks import Tap, intervene, layers, parse_layers, parse_tap, resolve

__all__ = ["innermost", "maps_of", "observe", "shrunk", "taps_of"]

_MULTIPLES = 64  # sides of an image are padded to a multiple of at most that, where tokens are laid out on it


def taps_of(network: Network, names: Any, lr: torch.Tensor) -> list[str]:
    """Taps from names; a layer that runs several times in a forward, as in networks over clips, is taken at each run.

    Raises:
        TapError: no such layer, one that does not run, or none at all.
    """
    calls = {layer.name: layer.calls for layer in layers(network.module, lambda: network.feed(lr))}
    wanted: list[Any] = []
    for item in parse_layers(names):
        tap = parse_tap(item)
        if tap.call is None and calls.get(tap.name, 1) > 1:
            wanted += [Tap(tap.name, call, tap.at_input) for call in range(calls[tap.name])]
        else:
            wanted.append(item)
    return _some([str(tap) for tap in resolve(network.module, wanted, lambda: network.feed(lr))], network)


def innermost(network: Network, lr: torch.Tensor) -> list[str]:
    """Every run of every innermost layer whose output has a channel axis, in order of its first run.

    Raises:
        TapError: there is none.
    """
    modules = dict(network.module.named_modules())
    ran = layers(network.module, lambda: network.feed(lr))
    taps = []
    for layer in ran:
        module = modules[layer.name]
        has_parts = next(module.children(), None) is not None
        if not has_parts and not isinstance(module, nn.RNNBase) and len(layer.output_shape or ()) >= 3:
            taps += [layer.name] if layer.calls == 1 else [f"{layer.name}#{call}" for call in range(layer.calls)]
    return _some(taps, network)


def _some(taps: list[str], network: Network) -> list[str]:
    """The taps, refused where there is none: a network that is a single layer has no name for this layer."""
    if not taps:
        raise TapError(
            f"{network.name} has no layers inside whose features have channels: name layers, or wrap a network that is "
            "one layer in torch.nn.Sequential"
        )
    return taps


def observe(network: Network, lr: torch.Tensor, taps: Iterable[str], look: Callable[[str, torch.Tensor], None]) -> None:
    """Call look(tap, feature) as each tap is passed, for one image (1,C,h,w) or clip (1,T,C,h,w).

    One forward pass; no more than one feature is held at a time.
    """

    def watching(tap: str) -> Callable[[torch.Tensor], torch.Tensor]:
        def change(feature: torch.Tensor) -> torch.Tensor:
            look(tap, feature)
            return feature

        return change

    with intervene(network.module, {tap: watching(tap) for tap in taps}):
        network.feed(lr.to(network.device))


def maps_of(feature: torch.Tensor, tap: str, size: Sequence[int], *, strict: bool = True) -> torch.Tensor:
    """A feature as (F,C,h,w), F frames; tokens (1,L,C) lie on the input's grid, padded to what L says.

    Args:
        size: height and width of the input, or the whole shape of the image or clip.
        strict: refuse what has no positions in the image; else windows of tokens (N,L,C) become (N,C,L,1).

    Raises:
        TapError: the feature has no axis of channels, or no positions in the image.
    """
    if feature.ndim == len(size) == 5 and feature.shape[1] != size[1] == feature.shape[2]:  # (N,C,T,h,w), of a Conv3d
        feature = feature.transpose(1, 2)
    if feature.ndim >= 4:
        return feature.flatten(0, -4)
    if feature.ndim == 3:
        grid = _grid(feature.shape[1], size[-2:]) if len(feature) == 1 else None
        if grid is not None:
            return feature.transpose(1, 2).reshape(1, -1, *grid)
        if not strict:
            return feature.transpose(1, 2)[..., None]
    raise TapError(
        f"what passes {tap} has shape {tuple(feature.shape)}: a picture needs (N,C,h,w), or (1,L,C) with a token for "
        "each position of the image; name other layers"
    )


def _grid(tokens: int, size: Sequence[int]) -> tuple[int, int] | None:
    """Height and width of so many tokens on an image of this size, padded or at a fraction of its size."""
    for multiple in range(1, _MULTIPLES + 1):
        height, width = (-(-side // multiple) * multiple for side in size)
        for fraction in (1, 2, 4, 8):
            if height % fraction == width % fraction == 0 and height // fraction * (width // fraction) == tokens:
                return height // fraction, width // fraction
    return None


def shrunk(maps: torch.Tensor, side: int) -> torch.Tensor:
    """(C,h,w) with area means so that no side is longer than `side`."""
    height, width = maps.shape[-2:]
    share = side / max(height, width)
    if share >= 1:
        return maps
    return F.adaptive_avg_pool2d(maps[None], (max(round(height * share), 1), max(round(width * share), 1)))[0]
