"""CKA: what leaves it at 1, what must bring it to 0, and the estimator against its definition by sums."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from sr_hooks.errors import OptionError
from sr_hooks.statistics import cka, cka_of_grams


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_independent_features_are_not_alike():
    x, y = rng().standard_normal((2, 40, 20_000))
    assert abs(cka(x, y)) < 0.02
    assert cka(x, y, unbiased=False) > 0.9, "this is why the biased estimator is not the default"


@pytest.mark.parametrize("unbiased", [True, False])
def test_rotation_scale_and_offset_leave_one(unbiased):
    x = rng().standard_normal((30, 12))
    rotation, _ = np.linalg.qr(rng().standard_normal((12, 12)))
    for other in (x @ rotation, -2.5 * x, x + 1e4, np.hstack([x, np.zeros((30, 5))])):
        assert cka(x, other, unbiased) == pytest.approx(1, abs=1e-6)
    assert cka(x, x * np.linspace(0.1, 3, 12), unbiased) < 0.95, "a scale for each feature is no similarity"


def test_the_unbiased_estimator_is_the_mean_over_distinct_examples():
    """Song et al. (2012): HSIC is the mean of k_ij (l_ij + l_qr - 2 l_iq) over all distinct i, j, q, r."""
    x, y = rng().standard_normal((6, 3)), rng().standard_normal((6, 4)) ** 2

    def hsic(k, l):  # noqa: E741
        fours = list(itertools.permutations(range(6), 4))
        return sum(k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in fours) / len(fours)

    k, l = x @ x.T, y @ y.T  # noqa: E741
    expected = hsic(k, l) / math.sqrt(hsic(k, k) * hsic(l, l))
    assert cka(x, y) == pytest.approx(expected, rel=1e-9)
    assert cka_of_grams(k, l) == pytest.approx(expected, rel=1e-9)


def test_torch_and_numpy_agree_and_nothing_varies_is_nan():
    x, y = rng().standard_normal((2, 10, 7)).astype(np.float32)
    assert cka(torch.from_numpy(x), torch.from_numpy(y)) == cka(x, y)
    assert math.isnan(cka(x, np.ones((10, 3))))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((5, 2)), np.ones((6, 2)), "same examples"),
        (np.eye(3), np.eye(3), "at least 4"),
        (np.ones(5), np.ones((5, 2)), "one example a row"),
        (np.full((5, 2), np.nan), np.ones((5, 2)), "not finite"),
    ],
)
def test_mistakes_are_named(x, y, message):
    with pytest.raises(OptionError, match=message):
        cka(x, y)
