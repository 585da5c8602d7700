"""The answer: every metric beside the score, as a result with its table, its figure and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.errors import OptionError
from sr_hooks_usefulness.agreement import FEWEST, agreement, holm
from sr_hooks_usefulness.numbers import Numbers, of_grid, read_scores

__all__ = ["answer_of", "usefulness"]


def usefulness(grid: str | Path, scores: str | Path, *, draws: int = 2000, seed: int = 0) -> sr_hooks.Result:
    """Which numbers of a grid rank its networks as scores of a task, or of people, do?

    Args:
        grid: the folder of `sr-hooks grid`; every number of its table.csv is compared.
        scores: a CSV with the columns network and score, and image where scores are by image; higher is better.
        draws: of the bootstrap and of the permutations.
        seed: of both.

    Raises:
        SRHooksError: one of the two cannot be read, or a network has no score.
    """
    numbers = of_grid(grid)
    scored = read_scores(scores, numbers.networks, numbers.images)
    return answer_of(numbers, scored, Path(scores).stem, draws=draws, seed=seed)


def answer_of(
    numbers: Numbers, score: np.ndarray, name: str, *, draws: int, seed: int, facts: Mapping[str, Any] | None = None
) -> sr_hooks.Result:
    """The agreement of all numbers (N,M) with a score (N,M)."""
    if len(numbers.networks) < 2:
        raise OptionError(f"networks are compared, and there is one alone: {numbers.networks[0]}")
    rows = {
        metric: agreement(values, score, draws=draws, rng=np.random.default_rng([seed, 0]))
        for metric, values in numbers.values.items()
    }
    told = {metric: row["p"] for metric, row in rows.items() if row["spearman"] is not None}
    table = [
        {"metric": metric, **row, **({"p_holm": corrected} if (corrected := holm(told).get(metric)) else {})}
        for metric, row in rows.items()
    ]
    table.sort(key=lambda row: -abs(row["spearman"] or 0))
    metrics = [row["metric"] for row in table]
    arrays = {"score": score} | {f"values_{i}": numbers.values[metric] for i, metric in enumerate(metrics)}
    scalars = {
        "score": name,
        "metrics": table,
        "networks": list(numbers.networks),
        "images": list(numbers.images),
        "draws": draws,
    } | {f"spearman/{row['metric']}": row["spearman"] for row in table if row["spearman"] is not None}
    return sr_hooks.Result("usefulness", arrays, scalars, {"seed": seed, **(facts or {})}, verdict_of(scalars))


def verdict_of(scalars: Mapping[str, Any]) -> str:
    """Which metrics rank the networks as the score does, which against it, and which cannot be told."""
    count, name = len(scalars["networks"]), scalars["score"]
    if count < FEWEST:
        return f"cannot tell: {count} networks, and a rank correlation needs {FEWEST} at least."
    rows = [row for row in scalars["metrics"] if row["spearman"] is not None]
    if not rows:
        return f"cannot tell: every metric, or {name} itself, is equal for all networks."
    clear = [row for row in rows if row["p_holm"] <= 0.05 and not row["low"] <= 0 <= row["high"]]
    parts = [
        f"{row['metric']} {'agrees with' if row['spearman'] > 0 else 'runs against'} {name} "
        f"({row['spearman']:+.2f}, {row['low']:+.2f} to {row['high']:+.2f})"
        for row in clear
    ]
    rest = [row["metric"] for row in rows if row not in clear]
    if rest:
        parts.append(f"cannot tell for {', '.join(rest)}")
    return f"over {count} networks: {'; '.join(parts)}."
