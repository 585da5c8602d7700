"""Can the degradation be read off the features? A linear probe, cross-validated over patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sr_hooks.errors import OptionError

__all__ = ["Identification", "identify"]


@dataclass(frozen=True)
class Identification:
    """How well a linear probe tells the degradation of a patch that it has not been shown in any version.

    Attributes:
        kinds: the types told apart, e.g. ("clean", "blur", "noise").
        accuracy: share of patches whose type is right, in [0, 1], averaged over types, whatever their numbers.
        chance: what guessing gives, 1 / K.
        confusion: (K,K), true type by row, share of each row named as each column.
        level_r2: type to R2 of its level (blur std, noise std, ...), where it comes in three levels or more, clean
            counting as level 0. 1 is perfect, 0 no better than the mean, below 0 worse.
        folds: parts of the cross-validation; no patch is in two.
    """

    kinds: tuple[str, ...]
    accuracy: float
    chance: float
    confusion: np.ndarray
    level_r2: dict[str, float]
    folds: int


def identify(
    scores: np.ndarray,
    kinds: Sequence[str],
    levels: Sequence[float | None],
    groups: np.ndarray,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Identification:
    """Cross-validate logistic regression for the type and ridge regression for the level.

    The probe is linear on purpose: it says what lies open in the features, not what could be dug out of them. All
    copies of one patch stand in one fold; otherwise the probe could know the patch.

    Not for: claims about other networks' features from one network's probe, or about degradations it was not shown.

    Args:
        scores: (n,k) projected features. The projection has seen all patches, but no label.
        kinds: n type names.
        levels: n strengths, None where there is none.
        groups: (n,) equal for copies of one patch.
        folds: at most; fewer where there are fewer patches.
        seed: of the division into folds.

    Raises:
        OptionError: one type only, or fewer than two patches; or scikit-learn is missing.
    """
    try:
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.metrics import confusion_matrix, r2_score
    except ImportError:
        raise OptionError("the probe needs scikit-learn: pip install 'sr_hooks[ddr]'") from None
    names, truth = tuple(dict.fromkeys(kinds)), np.array(kinds)
    folds = min(folds, len(np.unique(groups)))
    if len(names) < 2 or folds < 2:
        raise OptionError("identification needs two types of degradation and two patches or more")
    # One scale for all: components keep their weights, and those of little variance are shrunk first.
    points = scores / max(float(np.std(scores)), 1e-30)
    probe = LogisticRegression(max_iter=2000, class_weight="balanced")
    named = _predicted(probe, {"C": np.logspace(-3, 1, 5)}, points, truth, groups, folds, seed)
    level_r2 = {}
    strengths = np.array([np.nan if level is None else level for level in levels], dtype=np.float64)
    for name in names:
        rows = ((truth == name) | (truth == "clean")) & np.isfinite(strengths)
        if name == "clean" or len(np.unique(strengths[rows])) < 3:
            continue
        grid = {"alpha": np.logspace(-3, 5, 9)}
        found = _predicted(Ridge(), grid, points[rows], strengths[rows], groups[rows], folds, seed)
        level_r2[name] = float(r2_score(strengths[rows], found))
    confusion = confusion_matrix(truth, named, labels=list(names), normalize="true")
    return Identification(names, float(np.diag(confusion).mean()), 1 / len(names), confusion, level_r2, folds)


def _predicted(
    model: Any,
    grid: dict[str, np.ndarray],
    points: np.ndarray,
    wanted: np.ndarray,
    groups: np.ndarray,
    folds: int,
    seed: int,
) -> np.ndarray:
    """What a model says of each fold after learning from the others, its penalty chosen by folds within those.

    The inner folds part patches too: a penalty chosen with a patch's copies on both sides is far too small.
    """
    from sklearn.model_selection import GridSearchCV

    found = np.empty_like(wanted)
    for learn, test in _split(points, wanted, groups, folds, seed):
        inner = _split(points[learn], wanted[learn], groups[learn], 3, seed)
        search = GridSearchCV(model, grid, cv=inner) if inner else model
        found[test] = search.fit(points[learn], wanted[learn]).predict(points[test])
    return found


def _split(
    points: np.ndarray, wanted: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to learn from and to test on, no group in both, every value of `wanted` in all; [] for a single group."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(folds, len(np.unique(groups)), int(np.unique(wanted, return_counts=True)[1].min()))
    if folds < 2:
        return []
    values = np.unique(wanted, return_inverse=True)[1]
    return list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(points, values, groups))
