"""The work of SRGA in parts: features of some patches of one set, which do not depend on any other part.

Up to 20,000 patches a set, features are exact: a part holds them whole, and Gram matrices are made of all parts. Above,
a part holds their sketches, and one part of each set holds exact features' fit of 10,000 patches, to state the error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import sr_hooks
from sr_hooks.errors import NetworkError, TapError
from sr_hooks.inference import stream
from sr_hooks.statistics import FeatureTable, Gram, Sketcher, accumulate, checked_rows, sketch_size
from sr_hooks_srga.gaussian import GeneralisedGaussian
from sr_hooks_srga.measure import Measured, components_of, fit_of, measure, sketch_error
from sr_hooks_srga.sets import Set

__all__ = ["SrgaParts"]

_PART = 256  # patches of a part
Part = Callable[[int], Mapping[str, np.ndarray]]


class SrgaParts:
    """Parts in a fixed order: set by set its patches, 256 at a time; before them, of sketches, the exact fits."""

    def __init__(
        self, network: sr_hooks.Network, sets: list[Set], tap: str, options: Any,
        conclude: Callable[[Measured], sr_hooks.Result], bar: Any = None,
    ) -> None:  # fmt: skip
        self.network, self.sets, self.tap, self.options, self._conclude, self._bar = (
            network, sets, tap, options, conclude, bar,
        )  # fmt: skip
        self.count = len(sets[0].inputs)
        self.size = sketch_size(options.sketch, self.count, options.memory)
        self.components = components_of(self.count, options)
        self._checked = checked_rows(np.arange(self.count), options.seed)
        self._sketcher = Sketcher(self.size, options.seed)
        starts = range(0, self.count, _PART)
        self._work: list[tuple[str, int, np.ndarray]] = []
        if self.size:
            self._work += [("exact fit", index, self._checked) for index in range(len(sets))]
        for index in range(len(sets)):
            self._work += [("patches", index, np.arange(at, min(at + _PART, self.count))) for at in starts]

    @property
    def labels(self) -> list[str]:
        """The name of each part, for messages."""
        return [f"{kind} {rows[0]} to {rows[-1]} of {self.sets[index].name}" for kind, index, rows in self._work]

    def compute(self, number: int) -> dict[str, np.ndarray]:
        """One part, as arrays."""
        kind, index, rows = self._work[number]
        if kind == "exact fit":
            fitted = self._exact_fit(index, rows)
            return {"fit": np.array([fitted.sigma, fitted.shape, fitted.dropped])}
        features = self._features(index, rows)
        values = self._sketcher(features) if self.size else features
        return {"features": values.numpy(), "dimensions": np.array(features.shape[1])}

    def combine(self, part: Part) -> sr_hooks.Result:
        """The result, from all parts; `part` is asked for each in the order of the parts, for exact ones repeatedly."""
        names = [each.name for each in self.sets]
        if not self.size:
            grams = [self._gram(index, part) for index in range(len(self.sets))]
            return self._conclude(measure(grams, names, self.count, self.tap, self.options))
        tables, fits = [], []
        for index, name in enumerate(names):
            exact = GeneralisedGaussian(*part(index)["fit"].tolist())
            table = self._table(index, part)
            how = (self.components, name, self.tap, self.options)
            fits.append((fit_of(table, *how, self._checked), exact))
            tables.append(table.reduced(2 * self.components))
            size = table.rows.shape[1]
            del table
        measured = measure(tables, names, self.count, self.tap, self.options)
        sketch = {"size": size, "patches": len(self._checked), "sets": sketch_error(fits, names)}
        return self._conclude(replace(measured, sketch=sketch))

    def _numbers(self, index: int) -> list[int]:
        return [n for n, (kind, own, _) in enumerate(self._work) if kind == "patches" and own == index]

    def _table(self, index: int, part: Part) -> FeatureTable:
        held, dimensions = torch.empty(0), 0
        for number in self._numbers(index):
            arrays, rows = part(number), self._work[number][2]
            if not len(held):
                held = torch.empty(self.count, arrays["features"].shape[1])
                dimensions = int(arrays["dimensions"])
            held[int(rows[0]) : int(rows[-1]) + 1] = torch.from_numpy(arrays["features"])
        return FeatureTable(held, dimensions)

    def _gram(self, index: int, part: Part) -> Gram:
        """The Gram matrix of a set's features, from its parts."""
        first = self._numbers(index)[0]
        held: dict[int, torch.Tensor] = {}

        def of(number: int) -> torch.Tensor:
            if number not in held:
                held.clear()
                held[number] = torch.from_numpy(part(first + number)["features"])
            return held[number]

        def produce(start: int, stop: int) -> dict[str, torch.Tensor]:
            return {self.tap: torch.cat([of(n // _PART)[n % _PART][None] for n in range(start, stop)])}

        return self._accumulate(produce, self.count)

    def _exact_fit(self, index: int, rows: np.ndarray) -> GeneralisedGaussian:
        def produce(start: int, stop: int) -> dict[str, torch.Tensor]:
            return {self.tap: self._features(index, rows[start:stop])}

        gram = self._accumulate(produce, len(rows), memory=self.options.memory / 2)
        return fit_of(gram, self.components, self.sets[index].name, self.tap, self.options)

    def _accumulate(self, produce: Any, count: int, memory: float | None = None) -> Gram:
        room = self.options.memory if memory is None else memory
        return accumulate(produce, count, batch=self.options.batch, memory=room)[self.tap]

    def _features(self, index: int, rows: np.ndarray) -> torch.Tensor:
        """(rows,d) float32 features of some patches of a set, flattened whole.

        Raises:
            TapError: what passes the tap is not kept apart image by image.
            NetworkError: values that are not finite.
        """
        each, parts = self.sets[index], []
        for seen in stream(self.network, each.inputs[rows], [self.tap], batch=self.options.batch, bar=self._bar):
            value = seen.features[self.tap]
            if len(value) != len(seen.images):
                raise TapError(
                    f"{self.tap} passes a batch of {len(value)} for {len(seen.images)} images: take another layer"
                )
            if not bool(torch.isfinite(value).all()):
                raise NetworkError(
                    f"{self.tap} of {self.network.name} has values that are NaN or infinite for {each.name}"
                )
            parts.append(value.flatten(1).float().cpu())
        return torch.cat(parts)
