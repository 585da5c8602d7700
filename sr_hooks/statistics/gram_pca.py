"""Exact principal components of few, very long vectors from their n x n Gram matrix, computed as the vectors arrive.

Features of a super-resolution network have 10^5 to 10^6 values for each image, and there are some hundred images. The
principal component scores of X (n x d) are U sqrt(L), where Xc Xc^T = U L U^T is only n x n. Vectors are stored as
differences from the mean of the first batch: as float32 if all of them are small enough, else as 16-bit integers with
one step size for each block of 1024 values. Rounding errors are independent and average out over a vector's length: on
real features the scores are as close to a full decomposition as with float32, 4e-5 of the largest score. Products are
summed in float32 over some thousand columns, and in float64 beyond.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from sr_hooks.errors import OptionError

__all__ = ["Components", "Gram", "Store", "accumulate", "leading_eigenvectors", "principal_components"]

Store = Literal["auto", "int16", "float32"]
Produce = Callable[[int, int], Mapping[str, torch.Tensor]]
_BLOCK = 1024  # values that share one step
_TOP = 2.0**15 - 1
_CHUNK = 2**18  # values in one float32 chunk of columns: few, since their products are summed in float32
_LARGE = 2000  # rows of a matrix whose eigenvectors are found one by one
_LITTLE = 256e6  # bytes of all vectors as float32; above, vectors are stored as 16-bit integers


@dataclass(frozen=True)
class Gram:
    """Inner products of n vectors after subtracting their mean.

    Attributes:
        matrix: (n,n) float64, centred.
        dimensions: d, the vectors' length.
        energy: sum of all squared values before centring; a variance far below it is only rounding.
    """

    matrix: np.ndarray
    dimensions: int
    energy: float

    def subset(self, rows: np.ndarray) -> Gram:
        """The Gram matrix of some of the vectors, by their indices, after subtracting those vectors' own mean.

        For splits and resamplings without a second pass. The energy is assumed to be spread evenly.
        """
        return Gram(
            _centred(self.matrix[np.ix_(rows, rows)]), self.dimensions, self.energy * len(rows) / len(self.matrix)
        )


@dataclass(frozen=True)
class Components:
    """Principal components of n vectors.

    Attributes:
        scores: (n,k) float64, in the units of the vectors; each column's largest entry is positive.
        explained: (k,) share of the whole variance, descending.
    """

    scores: np.ndarray
    explained: np.ndarray


class _StoredVectors:
    """The differences of some vectors from a centre, stored as float32 or as 16-bit integers."""

    def __init__(self, rows: int, centre: torch.Tensor, dtype: torch.dtype) -> None:
        self.centre = centre
        blocks = -(-centre.numel() // _BLOCK)
        self.values = torch.zeros(rows, blocks, _BLOCK, dtype=dtype)
        self.steps = torch.ones(rows, blocks, 1) if dtype == torch.int16 else None
        self.energy = 0.0

    def put(self, row: int, vectors: torch.Tensor) -> None:
        for i, vector in enumerate(vectors):  # one at a time: no second copy of the batch
            self.energy += float(vector.dot(vector))
            blocks = torch.zeros(self.values[row + i].shape)
            torch.sub(vector, self.centre, out=blocks.view(-1)[: len(vector)])
            if self.steps is not None:
                step = blocks.abs().amax(dim=1, keepdim=True).div_(_TOP).clamp_(min=1e-30)
                self.steps[row + i] = step
                blocks.div_(step).round_()
            self.values[row + i] = blocks

    def columns(self, start: int, stop: int) -> torch.Tensor:
        """(rows, values of blocks start to stop) float32."""
        values = self.values[:, start:stop].float()
        return (values if self.steps is None else values.mul_(self.steps[:, start:stop])).flatten(1)

    def products(self, other: _StoredVectors, products: torch.Tensor) -> None:
        """Add the inner products to (rows, other's rows) float64."""
        step = max(_CHUNK // (max(len(self.values), len(other.values)) * _BLOCK), 1)
        for start in range(0, self.values.shape[1], step):
            own_columns = self.columns(start, start + step)
            other_columns = own_columns if other is self else other.columns(start, start + step)
            products += own_columns @ other_columns.T


def accumulate(
    produce: Produce, count: int, *, batch: int, memory: float = 1.5, store: Store = "auto"
) -> dict[str, Gram]:
    """The centred Gram matrices of `count` vectors for each of several names, from one pass wherever memory allows.

    Args:
        produce: (start, stop) to name -> (stop - start, d) float tensor of those vectors. It must give the same
            vectors if asked again.
        count: n, the number of vectors.
        batch: how many vectors to ask for at once.
        memory: gigabytes for stored vectors. If not all fit, they are stored block by block, and the rest is produced
            again for each block: two blocks ask for 1.5 times as many vectors, K blocks for (K + 1) / 2 times.
        store: store as float32, as int16 (half the memory), or as "auto" decides (see the module).

    Returns:
        name -> Gram, in the order of `produce`'s answer.

    Raises:
        OptionError: not even two vectors fit in the memory.
    """
    first = {name: _flat(value) for name, value in produce(0, min(batch, count)).items()}
    centres = {name: value.mean(dim=0) for name, value in first.items()}
    size = sum(centre.numel() for centre in centres.values()) * 4
    dtype = torch.int16 if store == "int16" or (store == "auto" and size * count > _LITTLE) else torch.float32
    size = size // 2 if dtype == torch.int16 else size
    block = min(int(memory * 1e9 / size), count)
    if block < min(2, count):
        raise OptionError(
            f"the features of one image take {size / 1e9:.2g} GB, too much for memory={memory:g} GB: raise it, or look "
            "at fewer layers or smaller patches"
        )
    matrices = {name: torch.zeros(count, count, dtype=torch.float64) for name in centres}
    energy = dict.fromkeys(centres, 0.0)
    for start in range(0, count, block):
        stop = min(start + block, count)
        stored = {name: _StoredVectors(stop - start, centre, dtype) for name, centre in centres.items()}
        for low, high, vectors in _batches(produce, start, stop, batch, first if start == 0 else {}):
            for name, value in vectors.items():
                stored[name].put(low - start, value[: high - low])
        first = {}
        for name, part in stored.items():
            part.products(part, matrices[name][start:stop, start:stop])
            energy[name] += part.energy
        for low, high, vectors in _batches(produce, stop, count, batch, {}):
            for name, value in vectors.items():
                passed = _StoredVectors(high - low, centres[name], dtype)
                passed.put(0, value)
                stored[name].products(passed, matrices[name][start:stop, low:high])
                matrices[name][low:high, start:stop] = matrices[name][start:stop, low:high].T
    return {
        name: Gram(_centred(matrix.numpy()), centres[name].numel(), energy[name]) for name, matrix in matrices.items()
    }


def _batches(
    produce: Produce, start: int, stop: int, batch: int, ready: Mapping[str, torch.Tensor]
) -> Iterable[tuple[int, int, Mapping[str, torch.Tensor]]]:
    for low in range(start, stop, batch):
        high = min(low + batch, stop)
        if ready and low == 0:
            yield low, high, ready
        else:
            yield low, high, {name: _flat(value) for name, value in produce(low, high).items()}


def _flat(value: torch.Tensor) -> torch.Tensor:
    return value.detach().float().cpu().flatten(1)


def _centred(matrix: np.ndarray) -> np.ndarray:
    """The matrix made symmetric and centred in its own memory."""
    for start in range(0, len(matrix), _BLOCK):
        rows = matrix[start : start + _BLOCK, start:]
        mean = (rows + matrix[start:, start : start + _BLOCK].T) / 2
        matrix[start : start + _BLOCK, start:] = mean
        matrix[start:, start : start + _BLOCK] = mean.T
    means = matrix.mean(axis=0)
    matrix -= means[None, :]
    matrix -= means[:, None]
    matrix += means.mean()
    return matrix


def principal_components(gram: Gram, count: int = 50) -> Components | None:
    """The first principal components, exactly as scikit-learn's PCA gives them up to sign; None for constant vectors.

    Vectors count as constant where their variance is below what float32 rounding makes of their size. Directions
    without variance are left out, so there may be fewer than `count`, and at most n - 1.
    """
    variance = float(np.trace(gram.matrix))
    if not variance > 1e-12 * gram.energy:
        return None
    values, vectors = leading_eigenvectors(gram.matrix, count)
    keep = min(count, len(gram.matrix) - 1, int((values > 1e-9 * values[0]).sum()))
    values, vectors = values[:keep], vectors[:, :keep]
    scores = vectors * np.sqrt(values)
    largest = scores[np.abs(scores).argmax(axis=0), np.arange(keep)]
    return Components(scores * np.where(largest < 0, -1.0, 1.0), values / variance)


def leading_eigenvectors(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, descending, and eigenvectors: all, or of a large matrix the first `count` if scipy is installed."""
    if len(matrix) > max(_LARGE, 4 * count) and importlib.util.find_spec("scipy") is not None:
        from scipy.sparse.linalg import eigsh

        start = np.random.default_rng(0).standard_normal(len(matrix))  # a fixed start gives equal bits in every run
        values, vectors = eigsh(matrix, k=count, v0=start)
        order = np.argsort(values)[::-1]
        return values[order], vectors[:, order]
    values, vectors = np.linalg.eigh(matrix)
    return values[::-1], vectors[:, ::-1]
