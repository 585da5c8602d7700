"""Principal components of sketches: those of the vectors where these are short, near them where they are long."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from sr_hooks.errors import OptionError
from sr_hooks.statistics import permutation_null, separability
from sr_hooks.statistics.gram_pca import accumulate, principal_components
from sr_hooks.statistics.random_projection import Sketch
from sr_hooks.statistics.separability import some_groups
from sr_hooks.statistics.sketched_pca import FeatureTable, Sketcher, sketch_size


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    """(80,3000) with a large mean and components from strong to weak."""
    generator = torch.Generator().manual_seed(0)
    strengths = torch.logspace(1, -1, 30)
    return 5 + torch.randn(80, 30, generator=generator) * strengths @ torch.randn(30, 3000, generator=generator)


def of_gram(vectors: torch.Tensor, count: int) -> np.ndarray:
    gram = accumulate(lambda a, b: {"x": vectors[a:b]}, len(vectors), batch=9)["x"]
    return principal_components(gram, count).scores


def table_of(vectors: torch.Tensor, size: int) -> FeatureTable:
    sketcher = Sketcher(size, 0)
    return FeatureTable(torch.cat([sketcher(part) for part in vectors.split(7)]), vectors.shape[1])


@pytest.mark.parametrize("length", [60, 3000], ids=["fewer values than vectors", "more"])
def test_short_vectors_lose_nothing(vectors, length):
    vectors = vectors[:, :length].contiguous()
    scores = table_of(vectors, 4096).components(10).scores
    np.testing.assert_allclose(scores, of_gram(vectors, 10), atol=2e-5 * np.abs(scores).max())
    rows = np.arange(0, 80, 2)
    some = table_of(vectors, 4096).components(10, rows).scores
    np.testing.assert_allclose(some, of_gram(vectors[::2], 10), atol=2e-5 * np.abs(some).max())


def test_sketches_come_nearer_with_their_size(vectors):
    exact = (of_gram(vectors, 5) ** 2).sum(axis=0)
    errors = [
        np.abs((table_of(vectors, size).components(5).scores ** 2).sum(axis=0) / exact - 1).max() for size in (64, 1024)
    ]
    assert errors[1] < 0.2 and errors[1] < errors[0] / 1.5


def test_a_sketch_is_one_linear_map(vectors):
    """Written out as a matrix with one sign in each row, however the vectors are divided into batches."""
    sketch = Sketch(3000, 3, size=100)
    matrix = torch.zeros(3000, 100)
    matrix[torch.arange(3000), sketch.bins] = 2.0 * sketch.signs - 1
    torch.testing.assert_close(sketch(vectors), vectors @ matrix, rtol=1e-4, atol=1e-2)
    assert torch.equal(sketch(vectors), torch.cat([sketch(one) for one in vectors.split(3)]))


def test_constant_vectors_have_no_components():
    assert FeatureTable(torch.full((20, 8), 0.3), 8).components(3) is None


def test_the_size_follows_from_the_memory():
    assert sketch_size(None, 20_000, 1.5) == 0 == sketch_size(0, 90_000, 1.5)
    assert sketch_size(None, 20_001, 1.5) == 4096 and sketch_size(None, 100_000, 1.5) == 3750
    assert sketch_size(None, 100_000, 1.5, layers=3) == 1250 and sketch_size(512, 300, 1.5) == 512
    with pytest.raises(OptionError, match="raise memory"):
        sketch_size(None, 1_000_000, 0.1)
    with pytest.raises(OptionError, match="4096 values of 100000 samples at 2 layers take 3"):
        sketch_size(4096, 100_000, 1.5, layers=2)


def test_permutations_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch):
    points, labels = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    whole = permutation_null(points, labels, 20, np.random.default_rng(1))
    monkeypatch.setattr(sys.modules["sr_hooks.statistics.separability"], "_AT_ONCE", 7)
    np.testing.assert_allclose(permutation_null(points, labels, 20, np.random.default_rng(1)), whole, rtol=1e-12)


def test_groups_stay_together():
    groups = np.tile(np.arange(40), 3)
    rows = some_groups(groups, 50, 0)
    assert len(rows) == 48 and set(np.bincount(groups[rows])) <= {0, 3}
    assert np.array_equal(some_groups(groups, 120, 0), np.arange(120))


def test_very_many_groups_are_no_matrix():
    """30,000 groups of two would be a matrix of 60,000 x 30,000."""
    groups, labels = np.repeat(np.arange(30_000), 2), np.tile([0, 1], 30_000)
    points = np.random.default_rng(0).normal(size=(60_000, 1)) + labels[:, None]
    result = separability(points, labels, groups, permutations=2, subsamples=3)
    assert result.low < result.chi < 1.1 * result.high
