"""Principal components of very many vectors, from a count sketch of each: no n x n matrix, and no vector is held.

Of n vectors of d values, a table of n x size values is held, size at most 4096 and chosen by the memory. Vectors of no
more than `size` values are held as they are, and then nothing is lost.
"""

from __future__ import annotations

import numpy as np
import torch

from sr_hooks.errors import OptionError
from sr_hooks.statistics.gram_pca import Components, accumulate, leading_eigenvectors, principal_components
from sr_hooks.statistics.random_projection import Sketch
from sr_hooks.statistics.separability import some_groups

__all__ = ["FeatureTable", "Sketcher", "are_many", "checked_rows", "sketch_size"]

ABOVE = 20_000
"""Above so many vectors they are sketched by default; below, principal components are exact."""
CHECKED = 10_000
"""So many of the vectors, at most, are decomposed exactly too, to state the error."""
_LARGEST, _LEAST = 4096, 64  # values of a sketch
_ROWS = 2048


def are_many(count: int) -> bool:
    """Whether so many vectors are sketched by default."""
    return count > ABOVE


def checked_rows(groups: np.ndarray, seed: int) -> np.ndarray:
    """The numbers of the vectors, 10,000 at most, that are decomposed exactly too, to state the sketches' error.

    Args:
        groups: (n,) equal for vectors that stay together.
    """
    return some_groups(groups, CHECKED, seed)


def sketch_size(wanted: int | None, count: int, memory: float, layers: int = 1) -> int:
    """The number of values of each sketch; 0 where vectors are not sketched.

    Args:
        wanted: 0 for never, a number of values, or None: sketches above 20,000 vectors, as large as the memory allows
            and of 4096 values at most.
        count: n, the number of vectors.
        memory: gigabytes for all sketches.
        layers: the number of tables that are held at once.

    Raises:
        OptionError: the sketches do not fit in the memory.
    """
    if wanted == 0 or (wanted is None and not are_many(count)):
        return 0
    room = int(memory * 1e9 / (4 * count * layers))
    size = min(wanted or _LARGEST, max(room, 0))
    if size < min(wanted or _LEAST, _LEAST) or (wanted and size < wanted):
        least = wanted or _LEAST
        needed = 4e-9 * count * layers * least
        raise OptionError(
            f"sketches of {least} values of {count} samples at {layers} layers take {needed:.2g} GB, and memory is "
            f"{memory:g} GB: raise memory, or look at fewer layers"
        )
    return size


class Sketcher:
    """(n,d) float32 to (n, size) float32: count sketches, or the vectors themselves where d is at most `size`."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self._sketches: dict[int, Sketch] = {}

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        length = vectors.shape[1]
        if length <= self._size:
            return vectors.float()
        if length not in self._sketches:
            self._sketches[length] = Sketch(length, self._seed, size=self._size)
        return self._sketches[length](vectors)


class FeatureTable:
    """Sketches (n,size) float32 of n vectors of `dimensions` values, and their principal components.

    The mean and the covariance are summed over rows in their order, so that equal rows give equal bits.
    """

    def __init__(self, rows: torch.Tensor, dimensions: int) -> None:
        self.rows, self.dimensions = rows, dimensions

    def components(self, count: int, chosen: np.ndarray | None = None) -> Components | None:
        """The first principal components of all rows, or of those with these numbers; None for constant vectors.

        Directions without variance are left out. A column's largest entry is positive.
        """
        rows = self.rows if chosen is None else self.rows[torch.from_numpy(chosen)]
        if len(rows) < rows.shape[1]:  # their Gram matrix is the smaller one
            gram = accumulate(lambda start, stop: {"": rows[start:stop]}, len(rows), batch=_ROWS, store="float32")[""]
            return principal_components(gram, count)
        return _components(rows, count, torch.float64)

    def reduced(self, count: int) -> FeatureTable:
        """The table of the first `count` principal components' scores, in float32, to free this one."""
        if len(self.rows) < self.rows.shape[1]:
            components = self.components(count)
        else:
            components = _components(self.rows, count, torch.float32)
        rows = torch.zeros(len(self.rows), 1) if components is None else torch.from_numpy(components.scores).float()
        return FeatureTable(rows, self.dimensions)


def _components(rows: torch.Tensor, count: int, dtype: torch.dtype) -> Components | None:
    """Principal components from the covariance; the scores alone grow with the number of rows."""
    mean, covariance, energy = _moments(rows)
    variance = float(covariance.trace())
    if not variance > 1e-12 * energy:
        return None
    values, axes = leading_eigenvectors(covariance.numpy(), count)
    keep = min(count, len(rows) - 1, int((values > 1e-9 * values[0]).sum()))
    scores = _projected(rows, mean, torch.from_numpy(axes[:, :keep].copy()), dtype).numpy()
    scores *= np.where(-scores.min(axis=0) > scores.max(axis=0), -1.0, 1.0).astype(scores.dtype)
    return Components(scores, values[:keep] / variance)


def _moments(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Mean (m,) float64, scatter (m,m) float64 around the mean, and the sum of all squares."""
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    energy = 0.0
    for part in rows.split(_ROWS):
        total += part.sum(dim=0, dtype=torch.float64)
        energy += float(part.double().square().sum())
    mean = total / len(rows)
    scatter = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for part in rows.split(_ROWS):
        centred = part - mean.float()
        scatter += centred.T @ centred
    offset = len(rows) * (mean - mean.float().double())[:, None] * (mean - mean.float().double())[None, :]
    return mean, scatter - offset, energy


def _projected(rows: torch.Tensor, mean: torch.Tensor, axes: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    scores = torch.empty(len(rows), axes.shape[1], dtype=dtype)
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        scores[start : start + len(part)] = (part.double() - mean) @ axes
    return scores
