"""Sketches of the features of very many samples, part by part; and exact principal components of some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from sr_hooks.analyses.ddr.features.stream import Features, Look
from sr_hooks.analyses.ddr.samples import Samples
from sr_hooks.statistics.gram_pca import Components, accumulate, principal_components
from sr_hooks.statistics.sketched_pca import FeatureTable, Sketcher

__all__ = ["exact_components", "sketched_part", "tables_of"]

Part = Mapping[str, np.ndarray]
"""Of the i-th tap `sketch_i` (rows,size) float32 and `dimensions_i` ()."""


def sketched_part(features: Features, rows: np.ndarray, sketcher: Sketcher, look: Look | None = None) -> Part:
    """The sketches of the samples with these numbers, at every tap."""
    part: dict[str, list[torch.Tensor]] = {tap: [] for tap in features.wanted}
    dimensions: dict[str, int] = {}
    for at in range(0, len(rows), 64):
        for tap, values in features.of_rows(rows[at : at + 64]).items():
            part[tap].append(sketcher(values))
            dimensions[tap] = values.shape[1]
            if look is not None:
                for number, value in zip(rows[at : at + 64], values, strict=True):
                    look(tap, int(number), value[None])
    arrays: dict[str, np.ndarray] = {}
    for index, tap in enumerate(features.wanted):
        arrays[f"sketch_{index}"] = torch.cat(part[tap]).numpy()
        arrays[f"dimensions_{index}"] = np.array(dimensions[tap])
    return arrays


def tables_of(samples: Samples, taps: Sequence[str], part: Callable[[int], Part]) -> dict[str, FeatureTable]:
    """The sketches of all samples at each tap, from the parts of `Samples.parts`."""
    held: dict[str, torch.Tensor] = {}
    dimensions: dict[str, int] = {}
    for number, rows in enumerate(samples.parts()):
        arrays = part(number)
        for index, tap in enumerate(taps):
            sketches = torch.from_numpy(arrays[f"sketch_{index}"])
            if tap not in held:
                held[tap] = torch.empty(len(samples.labels), sketches.shape[1])
                dimensions[tap] = int(arrays[f"dimensions_{index}"])
            held[tap][torch.from_numpy(rows)] = sketches
    return {tap: FeatureTable(held[tap], dimensions[tap]) for tap in taps}


def exact_components(
    features: Features, rows: np.ndarray, *, components: int, memory: float
) -> dict[str, Components | None]:
    """The exact principal components of the features of some samples, from their Gram matrix."""
    grams = accumulate(
        lambda start, stop: features.of_rows(rows[start:stop]), len(rows), batch=64, memory=memory, store="auto"
    )
    return {tap: principal_components(gram, components) for tap, gram in grams.items()}
