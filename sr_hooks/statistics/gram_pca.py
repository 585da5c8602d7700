"""Exact principal components of few, very long vectors, from their n x n Gram matrix, without a second copy of them.

Features of a super-resolution network have 10^5 to 10^6 values an image and there are some hundred images. The
principal component scores of X (n x d) are U sqrt(L), where Xc Xc^T = U L U^T is only n x n. So vectors are taken as
they come and their difference from a first mean is held: as float32 where all of them take little room, beyond that
as whole numbers of 16 bits, in steps that each block of 1024 values has for itself. Rounding is independent from value
to value and averages out over a vector's length: on real features scores are as near to a full decomposition's as
with float32, 4e-5 of the largest. Products are summed in float32 over some thousand columns, in float64 beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from sr_hooks.errors import OptionError

__all__ = ["Components", "Gram", "Store", "accumulate", "principal_components"]

Store = Literal["auto", "int16", "float32"]
Produce = Callable[[int, int], Mapping[str, torch.Tensor]]
_BLOCK = 1024  # values that share one step
_TOP = 2.0**15 - 1
_CHUNK = 2**18  # values in one float32 chunk of columns: few, since their products are summed in float32
_LITTLE = 256e6  # bytes that all vectors may take as float32 before they are held in half of it


@dataclass(frozen=True)
class Gram:
    """Inner products of n vectors after subtracting their mean.

    Attributes:
        matrix: (n,n) float64, centred.
        dimensions: d, the vectors' length.
        energy: sum of all squared values before centring, against which a variance of rounding is told from one.
    """

    matrix: np.ndarray
    dimensions: int
    energy: float

    def subset(self, rows: np.ndarray) -> Gram:
        """The Gram matrix of some of the vectors, by their numbers, after subtracting those vectors' own mean.

        For splits and resamplings of what was streamed once. The energy is taken to be spread evenly.
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


class _Held:
    """Some vectors' differences from a centre, as float32 or in half the room."""

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

    def products(self, other: _Held) -> torch.Tensor:
        """(rows, other's rows) float64."""
        out = torch.zeros(len(self.values), len(other.values), dtype=torch.float64)
        step = max(_CHUNK // (max(len(self.values), len(other.values)) * _BLOCK), 1)
        for start in range(0, self.values.shape[1], step):
            mine = self.columns(start, start + step)
            theirs = mine if other is self else other.columns(start, start + step)
            out += mine @ theirs.T
        return out


def accumulate(
    produce: Produce, count: int, *, batch: int, memory: float = 1.5, store: Store = "auto"
) -> dict[str, Gram]:
    """The centred Gram matrices of `count` vectors for each of several names, from one pass wherever memory allows.

    Args:
        produce: (start, stop) to name -> (stop - start, d) float tensor of those vectors. It must give the same
            vectors if asked again.
        count: n.
        batch: how many vectors to ask for at once.
        memory: gigabytes for held vectors. Where not all fit, they are held block by block and the rest is produced
            again for each block: two blocks ask for 1.5 times as many, K blocks for (K + 1) / 2 times.
        store: hold as float32, as int16 in half the room, or as "auto" decides (see the module).

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
    found = {name: torch.zeros(count, count, dtype=torch.float64) for name in centres}
    energy = dict.fromkeys(centres, 0.0)
    for start in range(0, count, block):
        stop = min(start + block, count)
        held = {name: _Held(stop - start, centre, dtype) for name, centre in centres.items()}
        for low, high, vectors in _batches(produce, start, stop, batch, first if start == 0 else {}):
            for name, value in vectors.items():
                held[name].put(low - start, value[: high - low])
        first = {}
        for name, part in held.items():
            found[name][start:stop, start:stop] = part.products(part)
            energy[name] += part.energy
        for low, high, vectors in _batches(produce, stop, count, batch, {}):
            for name, value in vectors.items():
                passing = _Held(high - low, centres[name], dtype)
                passing.put(0, value)
                products = held[name].products(passing)
                found[name][start:stop, low:high], found[name][low:high, start:stop] = products, products.T
    return {name: Gram(_centred(matrix.numpy()), centres[name].numel(), energy[name]) for name, matrix in found.items()}


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
    matrix = (matrix + matrix.T) / 2
    mean = matrix.mean(axis=0)
    return matrix - mean[None, :] - mean[:, None] + mean.mean()


def principal_components(gram: Gram, count: int = 50) -> Components | None:
    """The first principal components, exactly as scikit-learn's PCA gives them up to sign; None for constant vectors.

    Vectors count as constant where their variance is below what float32 rounding makes of their size. Directions
    without variance are left out, so there may be fewer than `count`, and at most n - 1.
    """
    variance = float(np.trace(gram.matrix))
    if not variance > 1e-12 * gram.energy:
        return None
    values, vectors = np.linalg.eigh(gram.matrix)
    values, vectors = values[::-1], vectors[:, ::-1]
    keep = min(count, len(values) - 1, int((values > 1e-9 * values[0]).sum()))
    values, vectors = values[:keep], vectors[:, :keep]
    scores = vectors * np.sqrt(values)
    largest = scores[np.abs(scores).argmax(axis=0), np.arange(keep)]
    return Components(scores * np.where(largest < 0, -1.0, 1.0), values / variance)
