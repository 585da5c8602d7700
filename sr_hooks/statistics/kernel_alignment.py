"""Centred kernel alignment (CKA): how alike two sets of features of the same examples are, up to rotation and scale."""

from __future__ import annotations

import math

import numpy as np
import torch

from sr_hooks.errors import OptionError

__all__ = ["cka", "cka_of_grams"]

Array = np.ndarray | torch.Tensor

_LEAST = 4  # examples that the unbiased estimator needs


def cka(x: Array, y: Array, unbiased: bool = True) -> float:
    """Linear CKA of two sets of features (Kornblith et al. 2019, arXiv 1905.00414, equation 4).

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with the Gram matrices K = x x^T and L = y y^T. It is 1 for features
    that differ by a rotation, a reflection, one scale or one offset.

    Args:
        x, y: (n,d) and (n,e): the features of the same n examples, one a row. d and e may differ.
        unbiased: estimate HSIC without bias (Song et al. 2012, JMLR 13, equation 5), which needs n of at least 4.
            Independent features then come out near 0, and may be slightly negative. The biased estimator comes out
            near 1 for any features, if they are many more than the examples (n 40, d 20,000: above 0.9). Use it to
            repeat a published number only.

    Returns:
        The alignment; NaN if one of the two sets does not vary over the examples.

    Raises:
        OptionError: shapes that do not fit, fewer than four examples (two if biased), or a value that is not finite.

    CKA says nothing about which examples or pixels are alike, and a few directions of large variance decide its value.
    A network that was not trained has much of the same alignment: compare with one before a value is read.

        >>> import numpy as np
        >>> from sr_hooks.statistics import cka
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.standard_normal((2, 40, 20_000))
        >>> abs(cka(x, y)) < 0.02, cka(x, y, unbiased=False) > 0.9, round(cka(x, 3 * x + 1), 6)
        (True, True, 1.0)
    """
    return cka_of_grams(_gram(x, "x"), _gram(y, "y"), unbiased)


def cka_of_grams(k: Array, l: Array, unbiased: bool = True) -> float:  # noqa: E741
    """`cka` from the Gram matrices (n,n) of two sets of features, centred or not.

    Raises:
        OptionError: as for `cka`, or a matrix that is not square.
    """
    k, l = _matrix(k, "k"), _matrix(l, "l")  # noqa: E741
    least = _LEAST if unbiased else 2
    if k.shape != l.shape or k.shape[0] != k.shape[1]:
        raise OptionError(f"Gram matrices of shapes {k.shape} and {l.shape}: both must be (n,n) over the same examples")
    if len(k) < least:
        raise OptionError(f"{len(k)} examples: CKA needs at least {least}")
    # An offset of all features changes no HSIC, and a large one costs all digits: both matrices are centred first.
    k, l = _centred(k), _centred(l)  # noqa: E741
    hsic = _unbiased_hsic if unbiased else _biased_hsic
    own = hsic(k, k), hsic(l, l)
    if min(own) <= 0:
        return math.nan
    return hsic(k, l) / math.sqrt(own[0] * own[1])


def _gram(features: Array, name: str) -> np.ndarray:
    matrix = _matrix(features, name)
    matrix = matrix - matrix.mean(axis=0)
    gram: np.ndarray = matrix @ matrix.T
    return gram


def _matrix(values: Array, name: str) -> np.ndarray:
    array = values.detach().cpu().double().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, float)
    if array.ndim != 2 or not array.size:
        raise OptionError(f"{name} has the shape {array.shape}: it must be (n,d), one example a row")
    if not np.isfinite(array).all():
        raise OptionError(f"{name} has values that are not finite: leave those examples out")
    return array


def _centred(gram: np.ndarray) -> np.ndarray:
    centred: np.ndarray = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    return centred


def _biased_hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    return float((k * l).sum())


def _unbiased_hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    rows = k.sum(axis=0), l.sum(axis=0)
    sums = rows[0].sum() * rows[1].sum() / ((n - 1) * (n - 2))
    return float(((k * l).sum() + sums - 2 * (rows[0] @ rows[1]) / (n - 2)) / (n * (n - 3)))
