"""The Calinski-Harabasz index of labelled points, with its interval and its null distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sr_hooks.core.seeds import generator

__all__ = ["Separability", "calinski_harabasz", "permutation_null", "separability", "some_groups", "subsampled"]

_AT_ONCE = 128


@dataclass(frozen=True)
class Separability:
    """The index of one set of points.

    Attributes:
        chi: Calinski-Harabasz index; None if it is undefined.
        low, high: central 95 % of the index over half-samples; None if there are too few points.
        p: share of label permutations whose index is at least as large, the given labels counted as one; the smallest
            possible value is 1 / (permutations + 1).
        null_median, null_95: median and 95 % quantile of the permutations' indices.
        share: share of the points' variance between the labels' means, B / (B + W), in [0, 1].
        undefined: the reason why chi is None; empty if chi is defined.
    """

    chi: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    null_median: float | None = None
    null_95: float | None = None
    share: float | None = None
    undefined: str = ""


def calinski_harabasz(points: np.ndarray, labels: np.ndarray) -> float:
    """B (N - K) / (W (K - 1)): scatter between the K labels' means against scatter within, (N,k) points.

    Equal to `sklearn.metrics.calinski_harabasz_score`, but for W = 0, where this is infinite and that is 1. It grows
    in proportion to N: compare only indices of equal N, or compare B / W.

    Not for: labels of one point each (K = N), clusters that are not blobs.
    """
    return float(_indices(_centred(points), labels[None, :])[0])


def _centred(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    centred: np.ndarray = points - points.mean(axis=0)
    return centred


def _between(centred: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(P,N) labellings of N centred points to (P,) scatter between labels."""
    classes, counts = np.unique(labels[0], return_counts=True)
    belongs = labels[:, None, :] == classes[None, :, None]
    sums = belongs.reshape(-1, labels.shape[1]).astype(np.float64) @ centred
    squares = np.square(sums).sum(axis=1).reshape(len(labels), len(classes))
    scatter: np.ndarray = (squares / counts).sum(axis=1)
    return scatter


def _between_groups(centred: np.ndarray, groups: np.ndarray) -> float:
    """`_between` of one labelling with very many labels."""
    order = np.argsort(groups, kind="stable")
    firsts = np.unique(groups[order], return_index=True)[1]
    counts = np.diff([*firsts, len(groups)])
    sums = np.add.reduceat(centred[order], firsts, axis=0)
    return float((np.square(sums).sum(axis=1) / counts).sum())


def _indices(centred: np.ndarray, labels: np.ndarray) -> np.ndarray:
    n, k = labels.shape[1], len(np.unique(labels[0]))
    total = np.square(centred).sum()
    between = np.concatenate([_between(centred, labels[i : i + _AT_ONCE]) for i in range(0, len(labels), _AT_ONCE)])
    within = np.maximum(total - between, 0)
    exact = within > 1e-12 * total
    return np.where(exact, between * (n - k) / (np.where(exact, within, 1) * (k - 1)), np.inf)


def permutation_null(points: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) indices of the same points under labels shuffled among all of them."""
    centred = _centred(points)
    steps = [min(_AT_ONCE, count - done) for done in range(0, count, _AT_ONCE)]
    parts = [_indices(centred, rng.permuted(np.tile(labels, (step, 1)), axis=1)) for step in steps]
    return np.concatenate(parts) if parts else np.empty(0)


def subsampled(
    points: np.ndarray, labels: np.ndarray, groups: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """(count,) indices of half-samples, rescaled to the size of the whole; empty if a half has too few points.

    Points of one group (the copies of one patch) are drawn together. Half-samples drawn without replacement spread as
    the index itself does. Drawing with replacement would repeat points, which look like tight clusters and bias the
    index upward. The rescaled part is the excess over the index that labels without effect would give.
    """
    n, k = len(labels), len(np.unique(labels))
    signatures: dict[tuple[int, ...], list[int]] = {}
    order = np.lexsort((labels, groups))
    names, firsts = np.unique(groups[order], return_index=True)
    for group, own in zip(names, np.split(labels[order], firsts[1:]), strict=True):
        signatures.setdefault(tuple(own.tolist()), []).append(int(group))
    paired = len(signatures) == 1 and len(next(iter(signatures))) == k
    floor = _without_effect(_centred(points), labels, groups) if paired else 1.0
    indices = []
    for _ in range(count if all(len(s) >= 4 for s in signatures.values()) else 0):
        drawn_groups = [rng.choice(s, len(s) // 2, replace=False) for s in signatures.values()]
        rows = np.isin(groups, np.concatenate(drawn_groups))
        half = calinski_harabasz(points[rows], labels[rows])
        indices.append(floor + (half - floor) * (n - k) / (int(rows.sum()) - k))
    return np.array(indices)


def _without_effect(centred: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    """The expected index of labels without effect, if each group has each label once.

    The expected index is 1 for unrelated points. Here all labels share the groups' content, which adds nothing between
    the labels. As in an analysis of variance of complete blocks, the expected index is the residual's mean square
    divided by the mean square within labels.
    """
    n, k, g = len(labels), len(np.unique(labels)), len(np.unique(groups))
    total = np.square(centred).sum()
    between, blocks = _between(centred, labels[None, :])[0], _between_groups(centred, groups)
    within = (total - between) / (n - k)
    return float(max(total - between - blocks, 0) / ((k - 1) * (g - 1)) / within) if within > 0 else 0.0


def separability(
    points: np.ndarray | None,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    permutations: int = 999,
    subsamples: int = 200,
    seed: int = 0,
) -> Separability:
    """Compute the index with its interval and its null distribution.

    Args:
        points: (N,k) coordinates, or None if all points are the same.
        labels: (N,) integers.
        groups: (N,) integers, equal for the degraded copies of one patch.
        permutations: number of label permutations, 0 for none.
        subsamples: number of half-samples for the interval, 0 for none.
    """
    if points is None:
        return Separability(None, undefined="the features are constant: they are the same for every image")
    centred = _centred(points)
    chi = float(_indices(centred, labels[None, :])[0])
    if not np.isfinite(chi):
        return Separability(None, share=1.0, undefined="within each degradation the features are all the same")
    share = float(_between(centred, labels[None, :])[0] / np.square(centred).sum())
    shuffling, halving = (np.random.default_rng([seed, purpose]) for purpose in (1, 2))
    p = median = upper = low = high = None
    if permutations:
        null = permutation_null(points, labels, permutations, shuffling)
        # A tie within rounding counts as an exact tie: it raises p.
        p = float((1 + (null >= chi * (1 - 1e-12)).sum()) / (1 + permutations))
        median, upper = float(np.median(null)), float(np.quantile(null, 0.95))
    halves = subsampled(points, labels, groups, subsamples, halving)
    if len(halves):
        low, high = (float(q) for q in np.quantile(halves, [0.025, 0.975]))
    return Separability(chi, low, high, p, median, upper, share)


def some_groups(groups: np.ndarray, most: int, seed: int) -> np.ndarray:
    """The numbers of at most `most` samples, ascending: all of each group that the seed draws; or of all samples."""
    if len(groups) <= most:
        return np.arange(len(groups))
    names, sizes = np.unique(groups, return_counts=True)
    order = generator(seed, "some groups").permutation(len(names))
    return np.flatnonzero(np.isin(groups, names[order[np.cumsum(sizes[order]) <= most]]))
