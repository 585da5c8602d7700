"""What is compared: features of a network's layers, or the affinity of places within each patch."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

import sr_hooks
from sr_hooks.errors import NetworkError, TapError
from sr_hooks.inference import stream

__all__ = ["affinities_of", "features_of", "pixel_affinities", "places_of"]

_SIDE = 16  # places a side at which affinity is taken


def features_of(
    network: sr_hooks.Network, patches: torch.Tensor, taps: list[str], batch: int, bar: Any = None
) -> dict[str, torch.Tensor]:
    """Tap to (n,d) float32 features of n patches.

    Raises:
        TapError: a tap that mixes the patches of a batch.
        NetworkError: features that are not finite.
    """
    parts: dict[str, list[torch.Tensor]] = {tap: [] for tap in taps}
    for seen in stream(network, patches, taps, batch=batch, bar=bar):
        for tap, value in seen.features.items():
            parts[tap].append(_apart(network, tap, value, len(seen.images)).flatten(1).float().cpu())
    return {tap: torch.cat(values) for tap, values in parts.items()}


def affinities_of(network: sr_hooks.Network, patch: torch.Tensor, taps: list[str]) -> torch.Tensor:
    """(L,P,P) the cosines S_ij of the features at P places of one patch (DSRL's affinity), at L taps.

    Every feature is first averaged to at most 16 x 16 places, so that layers of other sizes can be compared.
    """
    (seen,) = stream(network, patch, taps, batch=1)
    height, width = patch.shape[-2:]
    rows = []
    for tap in taps:
        value = _apart(network, tap, seen.features[tap], 1)
        if value.ndim == 3 and value.shape[1] == height * width:
            value = value.transpose(1, 2).reshape(1, -1, height, width)
        if value.ndim != 4:
            raise TapError(f"what passes {tap} has shape {tuple(value.shape)}: affinity needs (N,C,h,w)")
        rows.append(_affinity(value.float(), (height, width)))
    return torch.stack(rows)


def places_of(patches: torch.Tensor) -> int:
    """P, at how many places of a patch affinity is taken."""
    return min(_SIDE, patches.shape[-2]) * min(_SIDE, patches.shape[-1])


def pixel_affinities(patch: torch.Tensor) -> torch.Tensor:
    """(1,P,P) the affinity of the patch's own pixels."""
    return _affinity(patch.float(), (patch.shape[-2], patch.shape[-1]))[None]


def _affinity(value: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    vectors = F.adaptive_avg_pool2d(value, tuple(min(_SIDE, side) for side in size))[0].flatten(1).T
    vectors = F.normalize(vectors, dim=1)
    return (vectors @ vectors.T).cpu()


def _apart(network: sr_hooks.Network, tap: str, value: torch.Tensor, count: int) -> torch.Tensor:
    if len(value) != count:
        raise TapError(f"{tap} passes a batch of {len(value)} for {count} patches: name another layer")
    if not bool(torch.isfinite(value).all()):
        raise NetworkError(f"{tap} of {network.name} has values that are NaN or infinite")
    return value
