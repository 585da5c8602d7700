"""The work of similarity in parts: features, or affinities, of some patches, which do not depend on any other part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import Part
from sr_hooks.faithfulness import shuffled
from sr_hooks.images import Inputs
from sr_hooks.statistics import accumulate
from sr_hooks_similarity.features import features_of
from sr_hooks_similarity.measures import AffinityMeasure, CkaMeasure, Matrices, Measure, affinities_with_controls

__all__ = ["SimilarityParts"]

_PART = 256  # patches of a part, at most
_SHARE = 4  # the features of a part take this share of the memory at most

Conclude = Callable[[Measure, int], sr_hooks.Result]
Rows = Callable[[str, int, int], Mapping[str, np.ndarray]]
"""What is needed, first patch and end, to the arrays of these patches."""


class SimilarityParts:
    """Parts in a fixed order: the pixels of the patches; then features, network by network, or affinities.

    Gram matrices of the features are made when all parts are there. See `sr_hooks.analyses.Parts`.
    """

    def __init__(
        self, networks: tuple[sr_hooks.Network, sr_hooks.Network], taps: list[list[str]], patches: Inputs,
        options: Any, conclude: Conclude, bar: Any = None,
    ) -> None:  # fmt: skip
        """
        Args:
            networks, taps: the explained network and the other one (may be the same), with their layers.
            conclude: makes the result of the measure and of how many patches differ.
            bar: counts the patches that went through a network.
        """
        self.network, self.other = networks
        self.taps, self.patches, self.options, self._conclude, self._bar = taps, patches, options, conclude, bar
        with self.other.prepared():
            self._random = shuffled(self.other, options.seed)
        self._is_affinity = options.measure == "affinity"
        own = f"features of {self.network.name}"
        self._names = {"pixels": "pixels"}
        if self._is_affinity:
            self._names["affinity"] = "affinities"
        else:
            self._names |= {"one": own, "other": f"features of {self.other.name}"}
            self._names |= {"random": f"features of {self.other.name} with shuffled weights"}
            if self._is_alone and self._same_taps:
                del self._names["other"]
            elif self._is_alone:
                self._names["within"] = f"{own} with shuffled weights"

    @property
    def labels(self) -> list[str]:
        """The name of each part, for messages."""
        return [f"{self._names[kind]}, patches {start} to {stop - 1}" for kind, start, stop in self._work]

    @property
    def runs(self) -> int:
        """How many networks each patch goes through."""
        return 3 if self._is_affinity else len(self._names) - 1

    def compute(self, number: int) -> Mapping[str, np.ndarray]:
        """The pixels of some patches, their features at the i-th layer under its number, or their affinities."""
        return self._computed(*self._work[number])

    def combine(self, part: Part) -> sr_hooks.Result:
        """The result, from all parts; where memory is short, `part` is asked for features repeatedly."""
        return self._result(self._from_parts(part))

    def at_once(self) -> sr_hooks.Result:
        """The result in one process: batches of patches are computed as they are needed, and no part is held."""
        return self._result(self._computed)

    def _computed(self, kind: str, start: int, stop: int) -> Mapping[str, np.ndarray]:
        patches = self.patches[start:stop]
        if kind == "pixels":
            return {"pixels": patches.numpy()}
        with self.other.prepared():
            if kind == "affinity":
                networks = [self.network, self.other, self._random]
                rows = affinities_with_controls(networks, self.taps, patches, start, self.options.seed, self._bar)
                return vars(rows)
            network, taps = self._seen(kind)
            values = features_of(network, patches, taps, self.options.batch, self._bar)
        return {f"features_{i}": value.numpy() for i, value in enumerate(values.values())}

    def _from_parts(self, part: Part) -> Rows:
        numbers = {(kind, start): number for number, (kind, start, _) in enumerate(self._work)}
        held: dict[int, Mapping[str, np.ndarray]] = {}

        def rows(kind: str, start: int, stop: int) -> Mapping[str, np.ndarray]:
            step, pieces = self._step(kind), []
            for low, high in pairwise([start, *range((start // step + 1) * step, stop, step), stop]):
                first = low // step * step
                number = numbers[kind, first]
                if number not in held:
                    held.clear()
                    held[number] = part(number)
                pieces.append({name: values[low - first : high - first] for name, values in held[number].items()})
            return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

        return rows

    def _result(self, rows: Rows) -> sr_hooks.Result:
        count = len(self.patches)
        pixels = (rows("pixels", at, min(at + _PART, count))["pixels"] for at in range(0, count, _PART))
        distinct = len({hash(patch.tobytes()) for patches in pixels for patch in patches})
        if self._is_affinity:
            return self._conclude(AffinityMeasure(Matrices(**rows("affinity", 0, count))), distinct)
        batch, memory = self.options.batch, self.options.memory
        grams = {kind: self._grams(kind, rows, batch, memory) for kind in self._names if kind != "pixels"}
        return self._conclude(CkaMeasure(**grams, pixels=self._grams("pixels", rows, batch=64, memory=1.5)), distinct)

    def _grams(self, kind: str, rows: Rows, batch: int, memory: float) -> np.ndarray:
        """(L,n,n) centred Gram matrices of the features at L layers of a network, or (1,n,n) of the pixels."""

        def produce(start: int, stop: int) -> dict[str, torch.Tensor]:
            return {name: torch.from_numpy(values) for name, values in rows(kind, start, stop).items()}

        grams = accumulate(produce, len(self.patches), batch=batch, memory=memory)
        return np.stack([gram.matrix for gram in grams.values()])

    @cached_property
    def _work(self) -> list[tuple[str, int, int]]:
        """What each part holds: of which patches, first and end."""
        count = len(self.patches)
        return [
            (kind, at, min(at + self._step(kind), count))
            for kind in self._names
            for at in range(0, count, self._step(kind))
        ]

    def _step(self, kind: str) -> int:
        return _PART if kind in ("pixels", "affinity") else self._features_step

    @cached_property
    def _features_step(self) -> int:
        """Patches of a part of features: whole batches, as many as a share of the memory holds."""
        largest = 0
        with self.other.prepared():
            for kind in [kind for kind in ("one", "other") if kind in self._names]:
                values = features_of(self._seen(kind)[0], self.patches[:1], self._seen(kind)[1], batch=1)
                largest = max(largest, sum(value.nbytes for value in values.values()))
        fitting = min(int(self.options.memory * 1e9 / _SHARE / largest), _PART)
        return max(fitting // self.options.batch, 1) * self.options.batch

    def _seen(self, kind: str) -> tuple[sr_hooks.Network, list[str]]:
        """The network and the layers of a part of features."""
        taps = self.taps[0 if kind in ("one", "within") else 1]
        return {"one": self.network, "other": self.other}.get(kind) or self._random, taps

    @property
    def _is_alone(self) -> bool:
        return self.other is self.network

    @property
    def _same_taps(self) -> bool:
        return self.taps[0] == self.taps[1]
