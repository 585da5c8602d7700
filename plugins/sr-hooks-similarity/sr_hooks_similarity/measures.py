"""The two measures, each with its controls, on any choice of the patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

import sr_hooks
from sr_hooks_similarity.alignment import cka_of_pairs
from sr_hooks_similarity.features import affinities_of, pixel_affinities, places_of

__all__ = ["AffinityMeasure", "CkaMeasure", "Matrices", "Measure", "affinities_with_controls"]


@dataclass(frozen=True)
class Matrices:
    """(L,M) similarities of the layers of one network to those of the other, and of the controls.

    Attributes:
        random: to the layers of the other network with shuffled weights. Of a network alone, also of the two layers
            within the network with shuffled weights: a layer is like the next one in any network.
        pixels: the smaller of the two layers' similarities to the input's pixels.
        permuted: with the patches (or places) of the other in another order.
    """

    similarity: np.ndarray
    random: np.ndarray
    pixels: np.ndarray
    permuted: np.ndarray

    @property
    def excess(self) -> np.ndarray:
        """The similarity less the largest control."""
        controls: np.ndarray = np.maximum(np.maximum(self.random, self.pixels), self.permuted)
        return self.similarity - controls


class Measure(Protocol):
    """Similarities on some of the patches."""

    def on(self, chosen: np.ndarray, rng: np.random.Generator) -> Matrices:
        """The matrices over the patches with these numbers."""


@dataclass(frozen=True)
class CkaMeasure:
    """Unbiased linear CKA over patches, from the centred Gram matrices of layers, (L,n,n) or (M,n,n).

    Attributes:
        one: of the explained network.
        random: of the other network with shuffled weights.
        pixels: (1,n,n) of the patches themselves.
        other: of the other network; None for `one`.
        within: of the explained network with shuffled weights, where a network is compared with itself at other layers.
    """

    one: np.ndarray
    random: np.ndarray
    pixels: np.ndarray
    other: np.ndarray | None = None
    within: np.ndarray | None = None

    def on(self, chosen: np.ndarray, rng: np.random.Generator) -> Matrices:
        one, random, pixels = (
            _centred(grams[:, chosen][:, :, chosen]) for grams in (self.one, self.random, self.pixels)
        )
        other = one if self.other is None else _centred(self.other[:, chosen][:, :, chosen])
        order = rng.permutation(len(chosen))
        shuffled = cka_of_pairs(one, random)
        if self.within is not None:
            within = _centred(self.within[:, chosen][:, :, chosen])
            shuffled = np.maximum(shuffled, cka_of_pairs(within, random))
        elif self.other is None:
            shuffled = np.maximum(shuffled, cka_of_pairs(random, random))
        near = np.minimum(cka_of_pairs(one, pixels), cka_of_pairs(other, pixels).T)
        return Matrices(cka_of_pairs(one, other), shuffled, near, cka_of_pairs(one, other[:, order][:, :, order]))


def _centred(grams: np.ndarray) -> np.ndarray:
    means = grams.mean(axis=1, keepdims=True), grams.mean(axis=2, keepdims=True)
    centred: np.ndarray = grams - means[0] - means[1] + grams.mean(axis=(1, 2))[:, None, None]
    return centred


@dataclass(frozen=True)
class AffinityMeasure:
    """1 - mean |S - S'| of the affinities of places within a patch (DSRL), the mean over patches: (n,L,M) matrices."""

    rows: Matrices

    def on(self, chosen: np.ndarray, rng: np.random.Generator) -> Matrices:
        return Matrices(**{name: values[chosen].mean(axis=0) for name, values in vars(self.rows).items()})


def affinities_with_controls(
    networks: list[sr_hooks.Network], taps: list[list[str]], patches: torch.Tensor, first: int, seed: int, bar: Any
) -> Matrices:
    """(n,L,M) similarities of n patches by affinity.

    Args:
        networks, taps: the explained network, the other one, and the other one with shuffled weights; the layers of the
            explained one and of the other one.
        first: number of the first patch; the order of places that is the control follows from it.
    """
    rng = np.random.default_rng([seed, 1])
    for _ in range(first):
        rng.permutation(places_of(patches))
    rows: list[Matrices] = []
    for patch in patches.split(1):
        one, other, random = (
            affinities_of(network, patch, names) for network, names in zip(networks, [*taps, taps[1]], strict=True)
        )
        if bar is not None:
            bar.update(3)
        pixels, order = pixel_affinities(patch), torch.from_numpy(rng.permutation(places_of(patches)))
        near = np.minimum(_alike(one, pixels), _alike(other, pixels).T)
        shuffled = _alike(one, random)
        if networks[1] is networks[0]:
            within = random if taps[0] == taps[1] else affinities_of(networks[2], patch, taps[0])
            shuffled = np.maximum(shuffled, _alike(within, random))
        rows.append(Matrices(_alike(one, other), shuffled, near, _alike(one, other[:, order][:, :, order])))
    return Matrices(**{name: np.stack([vars(row)[name] for row in rows]) for name in vars(rows[0])})


def _alike(one: torch.Tensor, other: torch.Tensor) -> np.ndarray:
    """(L,M) 1 - mean |S - S'|."""
    return np.array([[1 - float((a - b).abs().mean()) for b in other] for a in one])
