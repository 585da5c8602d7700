"""A linear probe that predicts the degradation from features, cross-validated over patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sr_hooks.errors import OptionError

__all__ = ["Identification", "identify"]


@dataclass(frozen=True)
class Identification:
    """How well a linear probe predicts the degradation of patches that it was not trained on in any version.

    Attributes:
        kinds: the predicted types, e.g. ("clean", "blur", "noise").
        accuracy: share of patches whose type is predicted correctly, in [0, 1], averaged over types.
        chance: the accuracy of guessing, 1 / K.
        confusion: (K,K): rows are true types; each row holds the share predicted as each column's type.
        level_r2: type to R2 of its level (blur std, noise std, ...), for types with three levels or more; clean counts
            as level 0. 1 is perfect, 0 no better than the mean, below 0 worse.
        folds: number of parts of the cross-validation; no patch is in two parts.
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

    The probe is linear on purpose: it shows what the features represent openly, not what a deeper model could recover.
    All copies of one patch are in one fold; otherwise the probe could recognise the patch.

    Not for: claims about other networks' features, or about degradations that the probe was not trained on.

    Args:
        scores: (n,k) projected features. The projection has seen all patches, but no label.
        kinds: n type names.
        levels: n strengths; None for a degradation without a strength.
        groups: (n,) equal for copies of one patch.
        folds: the largest number of folds; fewer if there are fewer patches.
        seed: the seed of the division into folds.

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
    # One scale for all components: they keep their relative sizes, and the penalty shrinks small ones first.
    points = scores / max(float(np.std(scores)), 1e-30)
    probe = LogisticRegression(max_iter=2000, class_weight="balanced")
    predicted_kinds = _predicted(probe, {"C": np.logspace(-3, 1, 5)}, points, truth, groups, folds, seed)
    level_r2 = {}
    strengths = np.array([np.nan if level is None else level for level in levels], dtype=np.float64)
    for name in names:
        rows = ((truth == name) | (truth == "clean")) & np.isfinite(strengths)
        if name == "clean" or len(np.unique(strengths[rows])) < 3:
            continue
        grid = {"alpha": np.logspace(-3, 5, 9)}
        predicted = _predicted(Ridge(), grid, points[rows], strengths[rows], groups[rows], folds, seed)
        level_r2[name] = float(r2_score(strengths[rows], predicted))
    confusion = confusion_matrix(truth, predicted_kinds, labels=list(names), normalize="true")
    return Identification(names, float(np.diag(confusion).mean()), 1 / len(names), confusion, level_r2, folds)


def _predicted(
    model: Any,
    grid: dict[str, np.ndarray],
    points: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray,
    folds: int,
    seed: int,
) -> np.ndarray:
    """Predict each fold with a model that is trained on the others; inner folds choose the penalty.

    The inner folds separate patches too: with copies of one patch on both sides, the penalty would be far too small.
    """
    from sklearn.model_selection import GridSearchCV

    predictions = np.empty_like(targets)
    for learn, test in _split(points, targets, groups, folds, seed):
        inner = _split(points[learn], targets[learn], groups[learn], 3, seed)
        search = GridSearchCV(model, grid, cv=inner) if inner else model
        predictions[test] = search.fit(points[learn], targets[learn]).predict(points[test])
    return predictions


def _split(
    points: np.ndarray, targets: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to train and test on: no group is in both, every value of `targets` is in all; [] for a single group."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(folds, len(np.unique(groups)), int(np.unique(targets, return_counts=True)[1].min()))
    if folds < 2:
        return []
    values = np.unique(targets, return_inverse=True)[1]
    return list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(points, values, groups))
