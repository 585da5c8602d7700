"""Principal components from the Gram matrix are scikit-learn's, whatever is held how."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sr_hooks.errors import OptionError
from sr_hooks.statistics.gram_pca import Components, Gram, accumulate, principal_components

COUNT, LENGTH = 60, 5000


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    """(60,5000), rectified, with a large mean and components from strong to weak."""
    generator = torch.Generator().manual_seed(0)
    strengths = torch.logspace(1, -1, 40)
    mixed = torch.randn(COUNT, 40, generator=generator) * strengths @ torch.randn(40, LENGTH, generator=generator)
    return (mixed + 5 + 0.05 * torch.randn(COUNT, LENGTH, generator=generator)).relu()


def gram_of(vectors: torch.Tensor, **options) -> Gram:
    return accumulate(lambda a, b: {"x": vectors[a:b]}, len(vectors), batch=7, **options)["x"]


def difference(found: Components, exact: np.ndarray) -> float:
    """Largest difference of scores up to sign, as a share of the largest score."""
    signs = np.sign((found.scores * exact).sum(axis=0))
    return float(np.abs(found.scores * signs - exact).max() / np.abs(exact).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"store": "int16"}, {"store": "float32"}, {"memory": LENGTH * 2 * 20 / 1e9, "store": "int16"}],
    ids=["auto", "int16", "float32", "three blocks"],
)  # fmt: skip
def test_scores_equal_scikit_learns(vectors: torch.Tensor, options: dict) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is not installed")
    pca = decomposition.PCA(50, svd_solver="full")
    exact = pca.fit_transform(vectors.double().numpy())
    found = principal_components(gram_of(vectors, **options))
    assert found is not None and found.scores.shape == (COUNT, 50)
    assert difference(found, exact) < 1e-4
    assert np.abs(found.explained - pca.explained_variance_ratio_).max() < 1e-6


def test_blocks_are_produced_again_and_no_more(vectors: torch.Tensor) -> None:
    asked: list[int] = []

    def produce(start: int, stop: int) -> dict[str, torch.Tensor]:
        asked.append(stop - start)
        return {"x": vectors[start:stop], "y": vectors[start:stop, :100]}

    both = accumulate(produce, COUNT, batch=5, store="float32")
    assert sum(asked) == COUNT and list(both) == ["x", "y"] and both["y"].dimensions == 100
    asked.clear()
    half = accumulate(produce, COUNT, batch=5, store="float32", memory=(LENGTH + 100) * 4 * 30 / 1e9)
    assert sum(asked) == COUNT * 3 // 2  # two blocks of half
    assert np.allclose(both["x"].matrix, half["x"].matrix, rtol=1e-6, atol=1e-6 * np.abs(both["x"].matrix).max())


def test_it_is_the_same_again(vectors: torch.Tensor) -> None:
    assert np.array_equal(gram_of(vectors).matrix, gram_of(vectors).matrix)


def test_too_little_memory_is_said(vectors: torch.Tensor) -> None:
    with pytest.raises(OptionError, match=r"too much for memory=1e-06 GB: raise it"):
        gram_of(vectors, memory=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 1e4])
def test_constant_vectors_have_no_components(value: float) -> None:
    assert principal_components(gram_of(torch.full((12, 300), value))) is None


def test_directions_without_variance_are_left_out() -> None:
    flat = torch.zeros(12, 300)
    flat[:, 0] = torch.arange(12)
    found = principal_components(gram_of(flat))
    assert found is not None and found.scores.shape == (12, 1) and found.explained[0] == pytest.approx(1)
    assert np.abs(found.scores[:, 0]) == pytest.approx(np.abs(np.arange(12) - 5.5), abs=1e-5)


def test_a_subset_is_as_if_it_had_come_alone(vectors: torch.Tensor) -> None:
    rows = np.random.default_rng(3).permutation(COUNT)[: COUNT // 2]
    part, alone = gram_of(vectors, store="float32").subset(rows), gram_of(vectors[rows], store="float32")
    np.testing.assert_allclose(part.matrix, alone.matrix, atol=1e-5 * alone.matrix.max())
    found, exact = principal_components(part, 10), principal_components(alone, 10)
    assert found is not None and exact is not None
    np.testing.assert_allclose(found.explained, exact.explained, rtol=1e-4)
