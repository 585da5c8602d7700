"""The index is scikit-learn's, its p-value is one, its interval covers."""

from __future__ import annotations

import numpy as np
import pytest

from sr_hooks.statistics.separability import calinski_harabasz, permutation_null, separability


def points(rng: np.random.Generator, patches: int = 40, effect: float = 0.0, *, paired: bool = True):
    """(3*patches, 8) points of three labels, with shared content where paired."""
    labels = np.repeat(np.arange(3), patches)
    content = rng.standard_normal((patches if paired else 3 * patches, 8)) * 3
    found = (np.tile(content, (3, 1)) if paired else content) + rng.standard_normal((3 * patches, 8))
    found[:, 0] += effect * labels
    return found, labels, np.tile(np.arange(patches), 3) if paired else np.arange(3 * patches)


@pytest.mark.parametrize("seed", range(5))
def test_index_equals_scikit_learns(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((90, 20)) * 10 ** rng.uniform(-3, 3)
    labels = rng.integers(0, 2 + seed, 90)
    assert calinski_harabasz(x, labels) == pytest.approx(metrics.calinski_harabasz_score(x, labels), rel=1e-6)
    null = permutation_null(x, labels, 3, np.random.default_rng(1))
    again = np.random.default_rng(1).permuted(np.tile(labels, (3, 1)), axis=1)
    assert null == pytest.approx([metrics.calinski_harabasz_score(x, each) for each in again], rel=1e-6)


def test_shuffled_labels_give_uniform_p_values() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    found = []
    for repetition in range(200):
        rng = np.random.default_rng(repetition)
        x, labels, groups = points(rng, 20)
        found.append(separability(x, rng.permutation(labels), groups, permutations=199, subsamples=0, seed=1).p)
    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("effect", [0.0, 0.5, 2.0])
def test_interval_covers_the_mean_index(effect: float, paired: bool) -> None:
    made = [points(np.random.default_rng(seed), effect=effect, paired=paired) for seed in range(60)]
    found = [separability(x, labels, groups, permutations=0, subsamples=60) for x, labels, groups in made]
    mean = np.mean([each.chi for each in found])
    assert np.mean([each.low <= mean <= each.high for each in found]) > 0.85
    assert all(each.low <= each.chi <= each.high for each in found)


def test_separated_points_are_found_and_mixed_ones_are_not() -> None:
    for effect, separates in ((3.0, True), (0.0, False)):
        found = separability(*points(np.random.default_rng(3), effect=effect))
        assert (found.p < 0.01) is separates
        assert (found.chi > found.null_95) is separates
        assert found.share == pytest.approx(1 / (1 + (120 - 3) / (found.chi * 2)), rel=1e-6)


def test_undefined_is_said() -> None:
    labels, groups = np.repeat([0, 1], 5), np.tile(np.arange(5), 2)
    constant = separability(None, labels, groups)
    assert constant.chi is None and "constant" in constant.undefined and constant.p is None
    exact = separability(np.repeat([[0.0, 1.0], [2.0, 3.0]], 5, axis=0), labels, groups)
    assert exact.chi is None and "all the same" in exact.undefined and exact.share == 1
    assert calinski_harabasz(np.repeat([[0.0], [2.0]], 5, axis=0), labels) == np.inf


def test_few_points_have_an_index_but_no_interval() -> None:
    x, labels, groups = points(np.random.default_rng(0), 3, 2.0)
    found = separability(x, labels, groups)
    assert found.chi is not None and found.p is not None and found.low is None


def test_it_is_the_same_again() -> None:
    made = points(np.random.default_rng(0))
    assert separability(*made, seed=4) == separability(*made, seed=4)
    assert separability(*made, seed=4) != separability(*made, seed=5)
