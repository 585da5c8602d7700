"""What is compared: Gram matrices of a network's layers over patches, or the affinity of places within each patch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import sr_hooks
from sr_hooks.errors import NetworkError, TapError
from sr_hooks.inference import stream
from sr_hooks.statistics import accumulate

__all__ = ["affinities_of", "grams_of", "pixel_affinities", "pixel_gram"]

_SIDE = 16  # places a side at which affinity is taken


def grams_of(network: sr_hooks.Network, patches: torch.Tensor, taps: list[str], options: Any, bar: Any) -> np.ndarray:
    """(L,n,n) centred Gram matrices of the features at L taps; features stream, none are held as a whole.

    Raises:
        TapError: a tap that mixes the patches of a batch.
        NetworkError: features that are not finite.
    """

    def produce(start: int, stop: int) -> dict[str, torch.Tensor]:
        parts: dict[str, list[torch.Tensor]] = {tap: [] for tap in taps}
        for seen in stream(network, patches[start:stop], taps, batch=options.batch, bar=bar):
            for tap, value in seen.features.items():
                parts[tap].append(_apart(network, tap, value, len(seen.images)).flatten(1).float().cpu())
        return {tap: torch.cat(values) for tap, values in parts.items()}

    grams = accumulate(produce, len(patches), batch=options.batch, memory=options.memory)
    return np.stack([grams[tap].matrix for tap in taps])


def pixel_gram(patches: torch.Tensor) -> np.ndarray:
    """(1,n,n) the centred Gram matrix of the patches' own pixels."""
    return accumulate(lambda a, b: {"pixels": patches[a:b]}, len(patches), batch=64)["pixels"].matrix[None]


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


def pixel_affinities(patch: torch.Tensor) -> torch.Tensor:
    """(1,P,P) the affinity of the patch's own pixels."""
    return _affinity(patch.float(), (patch.shape[-2], patch.shape[-1]))[None]


def _affinity(value: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    places = tuple(min(_SIDE, side) for side in size)
    vectors = F.adaptive_avg_pool2d(value, places)[0].flatten(1).T
    vectors = F.normalize(vectors, dim=1)
    return (vectors @ vectors.T).cpu()


def _apart(network: sr_hooks.Network, tap: str, value: torch.Tensor, count: int) -> torch.Tensor:
    if len(value) != count:
        raise TapError(f"{tap} passes a batch of {len(value)} for {count} patches: name another layer")
    if not bool(torch.isfinite(value).all()):
        raise NetworkError(f"{tap} of {network.name} has values that are NaN or infinite")
    return value
