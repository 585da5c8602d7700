"""From the features of sets to indices: fits of all patches, of halves, and the error that sketches make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sr_hooks.core import generator
from sr_hooks.errors import NetworkError
from sr_hooks.statistics import FeatureTable, Gram, principal_components
from sr_hooks_srga.gaussian import GeneralisedGaussian, fit, index_of, kl_divergence

__all__ = ["Measured", "components_of", "fit_of", "measure", "sketch_error"]

_BINS = 160
Features = Gram | FeatureTable


@dataclass(frozen=True)
class Measured:
    """What was measured of T test sets.

    Attributes:
        fits: of the reference, then of each test set, all patches.
        indices: T, of all patches: SRGA as published.
        floor: (splits,) the index between two halves of the reference.
        halves: (T, splits) the index between one half of the reference and the other half of each test set.
        components: principal components taken.
        edges, counts: histogram of each set's coordinates, (bins + 1,) and (T + 1, bins).
        sketch: of sketched features, their size and error; empty for exact ones.
    """

    fits: list[GeneralisedGaussian]
    indices: list[float]
    floor: np.ndarray
    halves: np.ndarray
    components: int
    edges: np.ndarray
    counts: np.ndarray
    sketch: Mapping[str, Any] = field(default_factory=dict)


def components_of(count: int, options: Any) -> int:
    """Principal components of sets of `count` patches: those of the options, at most half the patches less one."""
    return int(min(options.components, count // 2 - 1))


def measure(features: Sequence[Features], names: Sequence[str], count: int, tap: str, options: Any) -> Measured:
    """Indices, floor and halves from the features of sets of `count` patches each, the reference first.

    Raises:
        NetworkError: features that are constant.
    """
    components = components_of(count, options)

    def half_of(index: int, rows: np.ndarray) -> GeneralisedGaussian:
        return fit_of(features[index], components, names[index], tap, options, rows)

    fits = [fit_of(each, components, name, tap, options) for each, name in zip(features, names, strict=True)]
    indices = [index_of(kl_divergence(fits[0], other)) for other in fits[1:]]
    rng = generator(options.seed, "halves")
    table = []
    for _ in range(options.splits):
        order = rng.permutation(count)
        one, other = order[: count // 2], order[count // 2 : 2 * (count // 2)]
        half = half_of(0, one)
        table.append([index_of(kl_divergence(half, half_of(index, other))) for index in range(len(features))])
    by_set = np.array(table).T
    width = 4 * max(each.sigma for each in fits)
    edges = np.linspace(-width, width, _BINS + 1)
    coordinates = (_coordinates(each, components, name, tap) for each, name in zip(features, names, strict=True))
    counts = np.stack([np.histogram(values, edges)[0] for values in coordinates])
    return Measured(fits, indices, by_set[0], by_set[1:], components, edges, counts)


def fit_of(
    features: Features, components: int, name: str, tap: str, options: Any, rows: np.ndarray | None = None
) -> GeneralisedGaussian:
    """The fit of all coordinates of a set, or of those of some patches on their own principal components."""
    return fit(_coordinates(features, components, name, tap, rows), sigmas=options.sigmas)


def sketch_error(
    fits: Sequence[tuple[GeneralisedGaussian, GeneralisedGaussian]], names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Test set to the index from sketches, the exact one, and their difference, of the same patches.

    Args:
        fits: of each set, the reference first: from sketches, and exact.
    """
    rows = {}
    for name, own in zip(names[1:], fits[1:], strict=True):
        sketched, exact = (index_of(kl_divergence(fits[0][i], own[i])) for i in (0, 1))
        rows[name] = {"srga": sketched, "exact": exact, "error": sketched - exact}
    return rows


def _coordinates(
    features: Features, components: int, name: str, tap: str, rows: np.ndarray | None = None
) -> np.ndarray:
    """All coordinates on the set's own principal components, together."""
    if isinstance(features, Gram):
        projected = principal_components(features if rows is None else features.subset(rows), components)
    else:
        projected = features.components(components, rows)
    if projected is None:
        raise NetworkError(f"the features at {tap} are constant over the patches of {name}: they have no distribution")
    return projected.scores.ravel()
