"""The two measures, each with its controls, on any choice of the patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

import sr_hooks
from sr_hooks_similarity.alignment import cka_of_pairs
from sr_hooks_similarity.features import affinities_of, grams_of, pixel_affinities, pixel_gram

__all__ = ["AffinityMeasure", "CkaMeasure", "Matrices", "Measure"]


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


class CkaMeasure:
    """Unbiased linear CKA over patches."""

    def __init__(
        self, networks: list[sr_hooks.Network], taps: list[list[str]], patches: torch.Tensor, options: Any, bar: Any
    ) -> None:
        """`networks` and `taps`: the explained network, the other one, and the other one with shuffled weights."""
        self.one = grams_of(networks[0], patches, taps[0], options, bar)
        alone, same = networks[1] is networks[0], taps[1] == taps[0]
        self.other = self.one if alone and same else grams_of(networks[1], patches, taps[1], options, bar)
        self.random = grams_of(networks[2], patches, taps[2], options, bar)
        self.within: np.ndarray | None = None
        if alone:
            self.within = self.random if same else grams_of(networks[2], patches, taps[0], options, bar)
        self.pixels = pixel_gram(patches)

    def on(self, chosen: np.ndarray, rng: np.random.Generator) -> Matrices:
        one, other, random, pixels = (
            _centred(grams[:, chosen][:, :, chosen]) for grams in (self.one, self.other, self.random, self.pixels)
        )
        order = rng.permutation(len(chosen))
        shuffled = cka_of_pairs(one, random)
        if self.within is not None:
            within = random if self.within is self.random else _centred(self.within[:, chosen][:, :, chosen])
            shuffled = np.maximum(shuffled, cka_of_pairs(within, random))
        near = np.minimum(cka_of_pairs(one, pixels), cka_of_pairs(other, pixels).T)
        return Matrices(cka_of_pairs(one, other), shuffled, near, cka_of_pairs(one, other[:, order][:, :, order]))


def _centred(grams: np.ndarray) -> np.ndarray:
    means = grams.mean(axis=1, keepdims=True), grams.mean(axis=2, keepdims=True)
    centred: np.ndarray = grams - means[0] - means[1] + grams.mean(axis=(1, 2))[:, None, None]
    return centred


class AffinityMeasure:
    """1 - mean |S - S'| of the affinities of places within a patch (DSRL), the mean over patches."""

    def __init__(
        self, networks: list[sr_hooks.Network], taps: list[list[str]], patches: torch.Tensor, options: Any, bar: Any
    ) -> None:
        rng = np.random.default_rng([options.seed, 1])
        rows: list[Matrices] = []
        for patch in patches.split(1):
            one, other, random = (
                affinities_of(network, patch, names) for network, names in zip(networks, taps, strict=True)
            )
            bar.update(3)
            pixels, order = pixel_affinities(patch), torch.from_numpy(rng.permutation(one.shape[1]))
            near = np.minimum(_alike(one, pixels), _alike(other, pixels).T)
            shuffled = _alike(one, random)
            if networks[1] is networks[0]:
                within = random if taps[0] == taps[2] else affinities_of(networks[2], patch, taps[0])
                shuffled = np.maximum(shuffled, _alike(within, random))
            rows.append(Matrices(_alike(one, other), shuffled, near, _alike(one, other[:, order][:, :, order])))
        self.rows = rows

    def on(self, chosen: np.ndarray, rng: np.random.Generator) -> Matrices:
        names = ("similarity", "random", "pixels", "permuted")
        return Matrices(*(np.mean([getattr(self.rows[i], name) for i in chosen], axis=0) for name in names))


def _alike(one: torch.Tensor, other: torch.Tensor) -> np.ndarray:
    """(L,M) 1 - mean |S - S'|."""
    return np.array([[1 - float((a - b).abs().mean()) for b in other] for a in one])
