"""The work of DDR in parts: features of some samples, which do not depend on any other part.

Up to 20,000 samples, a part holds features whole, and Gram matrices are made of all parts. Above, a part holds
sketches, and the first part holds exact principal components of 10,000 samples, to state the error.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch

from sr_hooks.analyses.ddr.features import exact_components, sketched_part, tables_of
from sr_hooks.analyses.ddr.measure import Projected, conclude, features_of, projected_exactly, projected_tables
from sr_hooks.analyses.ddr.options import DdrOptions
from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.analyses.ddr.samples import Samples
from sr_hooks.analyses.parts import Part
from sr_hooks.networks.network import Network
from sr_hooks.statistics.gram_pca import Components, Gram, accumulate
from sr_hooks.statistics.sketched_pca import Sketcher, checked_rows, sketch_size

__all__ = ["DdrParts"]

_PART = 256  # samples of a part whose features are held whole


class DdrParts:
    """See `sr_hooks.analyses.parts.Parts`."""

    def __init__(self, network: Network, samples: Samples, options: DdrOptions) -> None:
        count = len(samples.labels)
        self.samples, self.options = samples, options
        self.features = features_of(network, samples, options, measured=False)
        self.size = sketch_size(options.sketch, count, options.memory, len(self.features.wanted))
        self._checked = checked_rows(samples.groups, options.seed)
        self._sketcher = Sketcher(self.size, options.seed)
        numbers = np.arange(count)
        self._rows = (
            [self._checked, *samples.parts()]
            if self.size
            else [numbers[at : at + _PART] for at in range(0, count, _PART)]
        )

    @property
    def labels(self) -> list[str]:
        """The name of each part, for messages."""
        names = [f"samples {rows[0]} to {rows[-1]}" for rows in self._rows]
        return [f"exact features of {len(self._checked)} samples", *names[1:]] if self.size else names

    def compute(self, number: int) -> Mapping[str, np.ndarray]:
        """Features, sketches or exact principal components of some samples, for the i-th tap under its number."""
        rows, taps = self._rows[number], self.features.wanted
        if not self.size:
            values = self.features.of_rows(rows)
            return {f"features_{i}": values[tap].numpy() for i, tap in enumerate(taps)}
        if number:
            return sketched_part(self.features, rows, self._sketcher)
        memory, count = self.options.memory / 2, self.options.components
        exact = exact_components(self.features, rows, components=count, memory=memory)
        arrays: dict[str, np.ndarray] = {}
        for index, tap in enumerate(taps):
            components = exact[tap]
            if components is not None:
                arrays |= {f"scores_{index}": components.scores, f"explained_{index}": components.explained}
        return arrays

    def combine(self, part: Part) -> DdrResult:
        """The result, from all parts in their order."""
        taps = self.features.wanted
        if not self.size:
            return self._concluded(projected_exactly(self._grams(part), self.options))
        arrays = part(0)
        exact = {
            tap: Components(arrays[f"scores_{i}"], arrays[f"explained_{i}"]) if f"scores_{i}" in arrays else None
            for i, tap in enumerate(taps)
        }
        tables = tables_of(self.samples, taps, lambda number: part(number + 1))
        return self._concluded(projected_tables(tables, exact, self._checked, self.samples, self.options))

    def _concluded(self, projected: Mapping[str, Projected]) -> DdrResult:
        result = conclude(self.samples, self.options, projected, self.features)
        result.arrays["thumbnails"] = self.samples.thumbnails()
        return result

    def _grams(self, part: Part) -> dict[str, Gram]:
        held: dict[int, Mapping[str, np.ndarray]] = {}

        def of(number: int) -> Mapping[str, np.ndarray]:
            if number not in held:
                held.clear()
                held[number] = part(number)
            return held[number]

        def produce(start: int, stop: int) -> dict[str, torch.Tensor]:
            cuts = [start, *range((start // _PART + 1) * _PART, stop, _PART), stop]
            values: dict[str, list[torch.Tensor]] = {tap: [] for tap in self.features.wanted}
            for low, high in pairwise(cuts):
                arrays, first = of(low // _PART), low // _PART * _PART
                for index, tap in enumerate(self.features.wanted):
                    values[tap].append(torch.from_numpy(arrays[f"features_{index}"][low - first : high - first]))
            return {tap: torch.cat(several) for tap, several in values.items()}

        memory, store = self.options.memory, self.options.store
        return accumulate(produce, len(self.samples.labels), batch=self.features.batch, memory=memory, store=store)
