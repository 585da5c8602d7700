"""CKA of all pairs of layers at once, from the Gram matrices of their features."""

from __future__ import annotations

import numpy as np

__all__ = ["cka_of_pairs"]


def cka_of_pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(L,M) unbiased linear CKA of centred Gram matrices (L,n,n) and (M,n,n), as `sr_hooks.statistics.cka`.

    NaN where the features of a layer do not vary over the n examples; n is at least 4.
    """
    first, second = _without_diagonal(one), _without_diagonal(other)
    own, others = (np.array([_hsic(k[None], k[None])[0, 0] for k in kernels]) for kernels in (first, second))
    size = np.sqrt(np.where(own > 0, own, np.nan))[:, None] * np.sqrt(np.where(others > 0, others, np.nan))
    alignment: np.ndarray = _hsic(first, second) / size
    return alignment


def _without_diagonal(grams: np.ndarray) -> np.ndarray:
    kernels = np.array(grams, dtype=np.float64)
    kernels[:, np.arange(kernels.shape[1]), np.arange(kernels.shape[1])] = 0
    return kernels


def _hsic(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(L,M) HSIC without bias (Song et al. 2012, JMLR 13, equation 5) of matrices whose diagonal is 0."""
    n = first.shape[1]
    products = first.reshape(len(first), -1) @ second.reshape(len(second), -1).T
    rows, columns = first.sum(axis=1), second.sum(axis=1)
    sums = rows.sum(axis=1)[:, None] * columns.sum(axis=1) / ((n - 1) * (n - 2))
    hsic: np.ndarray = (products + sums - 2 * (rows @ columns.T) / (n - 2)) / (n * (n - 3))
    return hsic
