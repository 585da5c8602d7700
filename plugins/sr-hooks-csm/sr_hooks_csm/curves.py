"""What a dropout probe's curves say: the PSNR lost by rate, with intervals, and how degradations differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sr_hooks.core import generator

__all__ = ["judge_curves", "summarise_curves"]

_RESAMPLES = 1000
_FEWEST = 3  # images, or draws, of which resampling says something


def summarise_curves(psnr: np.ndarray, rates: np.ndarray, names: Sequence[str], seed: int) -> dict[str, Any]:
    """Of each degradation: the mean curve with its 95 % interval, and the loss averaged over rates.

    Intervals resample images and draws, each with replacement; with fewer than three of both there is none. `contrast`
    is the mean loss less that of the first degradation, resampled in pairs, since all see the same images and draws.

    Args:
        psnr: (D,R,N,K) in dB, rate 0 first and rate 1 last.
    """
    lost = psnr[:, :1] - psnr
    resampled = _resampled(lost, generator(seed, "dropout", "intervals"))
    weights = _area(rates)
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        curve = lost[index].mean(axis=(1, 2))
        row: dict[str, Any] = {
            "degradation": name,
            "psnr": float(psnr[index, 0].mean()),
            "floor": float(psnr[index, -1].mean()),
            "lost": curve.tolist(),
            "mean_loss": float(curve @ weights),
        }
        if resampled is not None:
            row["lost_interval"] = np.percentile(resampled[:, index], [2.5, 97.5], axis=0).T.tolist()
            row["mean_loss_interval"] = np.percentile(resampled[:, index] @ weights, [2.5, 97.5]).tolist()
            if index:
                contrast = (resampled[:, index] - resampled[:, 0]) @ weights
                row["contrast_interval"] = np.percentile(contrast, [2.5, 97.5]).tolist()
        if index:
            row["contrast"] = row["mean_loss"] - rows[0]["mean_loss"]
        rows.append(row)
    scalars: dict[str, Any] = {"images": psnr.shape[2], "draws": psnr.shape[3], "curves": rows, "rates": rates.tolist()}
    return scalars | {f"{row['degradation']} lost": row["mean_loss"] for row in rows}


def _area(rates: np.ndarray) -> np.ndarray:
    """Weights of the trapezoid rule for the mean over rates, from 0 to the last below 1: the floor is no dropout."""
    inside = rates[:-1]
    steps = np.diff(inside)
    weights = np.zeros(len(rates))
    weights[: len(inside) - 1] += steps / 2
    weights[1 : len(inside)] += steps / 2
    return weights / weights.sum() if weights.sum() > 0 else weights


def _resampled(lost: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """(S,D,R) mean curves of resampled images and draws; None with too few of each."""
    images, draws = lost.shape[2:]
    if max(images, draws) < _FEWEST:
        return None
    out = []
    for _ in range(_RESAMPLES):
        n, k = rng.integers(images, size=images), rng.integers(draws, size=draws)
        out.append(lost[:, :, n][:, :, :, k].mean(axis=(2, 3)))
    return np.stack(out)


def judge_curves(scalars: dict[str, Any]) -> str:
    """The sentence; it begins "told apart", "not told apart", "measured", "untested" or "no effect"."""
    rows = scalars["curves"]
    if all(max(map(abs, row["lost"])) < 1e-6 for row in rows):
        return f"no effect: the output does not depend on {scalars['layer']}."
    counts = f"{scalars['images']} images, {scalars['draws']} draws"
    sentence = "; ".join(f"{row['degradation']} {_with_interval(row)}" for row in rows)
    facts = f"dropping {scalars['layer']} by {scalars['unit']} costs, averaged over rates, {sentence} ({counts})"
    if scalars["images"] < _FEWEST:
        over = "; intervals are over draws alone" if "mean_loss_interval" in rows[0] else ", and no interval"
        return f"untested: {facts}; so few images say nothing of others{over}."
    if len(rows) == 1:
        return f"measured: {facts}."
    apart = [row for row in rows[1:] if row["contrast_interval"][0] > 0 or row["contrast_interval"][1] < 0]
    if not apart:
        return f"not told apart: {facts}; no degradation differs from {rows[0]['degradation']} beyond chance."
    ways = ", ".join(
        f"{'less' if row['contrast'] < 0 else 'more'} on {row['degradation']} ({row['contrast']:+.2f} dB)"
        for row in apart
    )
    return f"told apart: {facts}; against {rows[0]['degradation']} it costs {ways}, beyond chance."


def _with_interval(row: dict[str, Any]) -> str:
    text = f"{row['mean_loss']:.2f} dB"
    if "mean_loss_interval" in row:
        low, high = row["mean_loss_interval"]
        text += f" [{low:.2f}, {high:.2f}]"
    return text
