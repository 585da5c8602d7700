"""Numbers of a map."""

from __future__ import annotations

import numpy as np
import pytest

from sr_hooks.statistics.measures import diffusion_index, gini, interval, kde, rank_correlation


def test_gini_of_known_maps():
    assert gini(np.ones((4, 4))) == pytest.approx(0)
    one = np.zeros(100)
    one[3] = 5
    assert gini(one) == pytest.approx(0.99)
    assert gini(np.array([1, 2, 3, 4])) == pytest.approx(0.25)
    assert gini(np.zeros(9)) == 0 and diffusion_index(np.zeros(9)) == 100


@pytest.mark.parametrize(("shape", "bandwidth"), [((9, 13), 0.25), ((24, 16), 0.25), ((16, 16), 1.0), ((20, 20), 0.05)])
def test_kde_equals_scipy(shape, bandwidth):
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    rng = np.random.default_rng(0)
    values = rng.random(shape) ** 6
    y, x = np.mgrid[: shape[0], : shape[1]]
    pixels = np.stack([y.ravel(), x.ravel()])
    expected = stats.gaussian_kde(pixels, bw_method=bandwidth, weights=values.ravel())(pixels).reshape(shape)
    assert np.abs(kde(values, bandwidth) - expected).max() < 1e-10


def test_kde_of_maps_without_extent():
    assert kde(np.zeros((5, 5))).sum() == 0
    point = np.zeros((5, 5))
    point[2, 3] = 7
    assert kde(point)[2, 3] == 1
    line = np.zeros((5, 5))
    line[2] = 1
    assert np.isfinite(kde(line)).all()


def test_rank_correlation_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for a in (rng.normal(size=50), rng.integers(0, 5, 50), np.r_[np.zeros(40), np.arange(10)]):
        b = rng.normal(size=50) + a
        assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
        assert rank_correlation(a, -np.asarray(a)) == pytest.approx(-1)
    assert np.isnan(rank_correlation(np.ones(5), np.arange(5))) and np.isnan(rank_correlation([1, np.nan], [1, 2]))


def test_the_interval_of_a_mean():
    values = np.random.default_rng(1).normal(3, 2, size=400)
    low, high = interval(values, seed=0)
    assert low < values.mean() < high and high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert interval(values[:1], seed=0) == (-np.inf, np.inf) and interval(values, seed=0) == (low, high)
