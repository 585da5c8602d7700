"""From sets of inputs to indices: each set's features streamed once to their Gram matrix, everything else from that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import sr_hooks
from sr_hooks.core import generator, progress_bar
from sr_hooks.errors import NetworkError, TapError
from sr_hooks.inference import stream
from sr_hooks.statistics import Gram, accumulate, principal_components
from sr_hooks_srga.gaussian import GeneralisedGaussian, fit, index_of, kl_divergence
from sr_hooks_srga.sets import Set

__all__ = ["Measured", "measure"]

_BINS = 160


@dataclass(frozen=True)
class Measured:
    """What was found of T test sets.

    Attributes:
        fits: of the reference, then of each test set, all patches.
        indices: T, of all patches: SRGA as published.
        floor: (splits,) the index between two halves of the reference.
        halves: (T, splits) the index between one half of the reference and the other half of each test set.
        components: principal components taken.
        edges, counts: histogram of each set's coordinates, (bins + 1,) and (T + 1, bins).
    """

    fits: list[GeneralisedGaussian]
    indices: list[float]
    floor: np.ndarray
    halves: np.ndarray
    components: int
    edges: np.ndarray
    counts: np.ndarray


def measure(network: sr_hooks.Network, sets: list[Set], tap: str, options: Any) -> Measured:
    """Indices, floor and halves for sets of equal size, at one tap; no set's features are ever held as a file.

    Raises:
        NetworkError: features that are constant, or not finite.
        TapError: what passes the tap is not kept apart image by image.
    """
    count = len(sets[0].inputs)
    components = min(options.components, count // 2 - 1)
    with progress_bar("srga", count * len(sets), unit="patches") as bar:
        grams = [_gram(network, each, tap, options, bar) for each in sets]
    pooled = [_coordinates(gram, components, each.name, tap) for gram, each in zip(grams, sets, strict=True)]
    fits = [fit(values, sigmas=options.sigmas) for values in pooled]
    indices = [index_of(kl_divergence(fits[0], other)) for other in fits[1:]]
    rng = generator(options.seed, "halves")
    table = []
    for _ in range(options.splits):
        order = rng.permutation(count)
        one, other = order[: count // 2], order[count // 2 : 2 * (count // 2)]
        half = _fit_of(grams[0], one, components, sets[0].name, tap, options)
        against = [_fit_of(g, other, components, s.name, tap, options) for g, s in zip(grams, sets, strict=True)]
        table.append([index_of(kl_divergence(half, each)) for each in against])
    found = np.array(table).T
    width = 4 * max(each.sigma for each in fits)
    edges = np.linspace(-width, width, _BINS + 1)
    counts = np.stack([np.histogram(values, edges)[0] for values in pooled])
    return Measured(fits, indices, found[0], found[1:], components, edges, counts)


def _gram(network: sr_hooks.Network, each: Set, tap: str, options: Any, bar: Any) -> Gram:
    """The Gram matrix of a set's features, flattened whole, streamed."""

    def produce(start: int, stop: int) -> dict[str, torch.Tensor]:
        parts = []
        for seen in stream(network, each.inputs[start:stop], [tap], batch=options.batch, bar=bar):
            value = seen.features[tap]
            if len(value) != len(seen.images):
                raise TapError(
                    f"{tap} passes a batch of {len(value)} for {len(seen.images)} images: take another layer"
                )
            if not bool(torch.isfinite(value).all()):
                raise NetworkError(f"{tap} of {network.name} has values that are NaN or infinite for {each.name}")
            parts.append(value.flatten(1).float().cpu())
        return {tap: torch.cat(parts)}

    return accumulate(produce, len(each.inputs), batch=options.batch, memory=options.memory)[tap]


def _coordinates(gram: Gram, components: int, name: str, tap: str) -> np.ndarray:
    """All coordinates on the set's own principal components, together."""
    found = principal_components(gram, components)
    if found is None:
        raise NetworkError(f"the features at {tap} are constant over the patches of {name}: they have no distribution")
    return found.scores.ravel()


def _fit_of(gram: Gram, rows: np.ndarray, components: int, name: str, tap: str, options: Any) -> GeneralisedGaussian:
    return fit(_coordinates(gram.subset(rows), components, name, tap), sigmas=options.sigmas)
