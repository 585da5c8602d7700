"""What a CSM's numbers say: whether salient channels are those whose loss is felt, tap by tap, and beyond chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from sr_hooks.core import generator
from sr_hooks.statistics import gini, interval, rank_correlation, ranks

__all__ = ["PREDICTORS", "judge", "summarise"]

PREDICTORS = ("saliency", "activation", "first_order")
"""What may foretell a channel's worth: the map's sum, and two controls."""

_PERMUTATIONS, _RESAMPLES, _LEVEL = 999, 500, 0.05


def summarise(arrays: dict[str, np.ndarray], taps: list[str], seed: int) -> dict[str, Any]:
    """Numbers of all taps: `taps`, a mapping each, and their medians.

    Of each tap: `correlation` and, of the controls, `correlation_activation`, `correlation_first_order`: Spearman's
    between the predictor and |dB changed by zeroing|, over channels, both averaged over images; `low`, `high`, its 95 %
    interval over images (None for one image); `p`, the share of permutations of the channels that correlate as much.
    """
    rows = [_of_tap(arrays, index, tap, seed) for index, tap in enumerate(taps)]
    scalars: dict[str, Any] = {
        "images": len(arrays["base_psnr"]),
        "channels": sum(row["channels"] for row in rows),
        "base_psnr": float(arrays["base_psnr"].mean()),
        "taps": rows,
    }
    if "psnr" in arrays:
        for name in ("correlation", "correlation_activation", "correlation_first_order"):
            known = [row[name] for row in rows if row[name] is not None]
            scalars[name] = float(np.median(known)) if known else None
        scalars["largest_loss"] = max(row["largest_loss"] for row in rows)
    return scalars


def _of_tap(arrays: dict[str, np.ndarray], index: int, tap: str, seed: int) -> dict[str, Any]:
    saliency = _present(arrays["saliency"][:, index])
    row: dict[str, Any] = {
        "tap": tap,
        "channels": saliency.shape[1],
        "most_salient": int(saliency.mean(axis=0).argmax()),
        "saliency_gini": gini(saliency.mean(axis=0)),
    }
    if "psnr" not in arrays:
        return row
    loss = arrays["base_psnr"][:, None] - _present(arrays["psnr"][:, index])
    worst = int(loss.mean(axis=0).argmax())
    low, high = interval(loss[:, worst], seed)
    row |= {
        "largest_loss": float(loss[:, worst].mean()),
        "largest_loss_interval": [low, high] if len(loss) > 1 else None,
        "largest_loss_channel": worst,
        "mean_loss": float(loss.mean()),
        "raised": int((loss.mean(axis=0) < 0).sum()),
        "loss_gini": gini(loss.mean(axis=0).clip(min=0)),
    }
    for name in PREDICTORS:
        rho = _correlation(_present(arrays[name][:, index]), loss)
        row["correlation" if name == "saliency" else f"correlation_{name}"] = None if np.isnan(rho) else rho
    return row | _certainty(saliency, loss, generator(seed, "csm", tap))


def _present(values: np.ndarray) -> np.ndarray:
    """(N,C) of a tap, without the padding of taps with fewer channels."""
    return values[:, ~np.isnan(values).all(axis=0)]


def _correlation(predictor: np.ndarray, loss: np.ndarray) -> float:
    return rank_correlation(predictor.mean(axis=0), np.abs(loss).mean(axis=0))


def _certainty(saliency: np.ndarray, loss: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """p against shuffled channels, and the interval over resampled images."""
    rho = _correlation(saliency, loss)
    if np.isnan(rho):
        return {"p": None, "low": None, "high": None}
    order = np.array([rng.permutation(saliency.shape[1]) for _ in range(_PERMUTATIONS)])
    of_saliency, of_loss = ranks(saliency.mean(axis=0)), ranks(np.abs(loss).mean(axis=0))
    shuffled = of_saliency[order] @ of_loss / np.sqrt((of_saliency @ of_saliency) * (of_loss @ of_loss))
    p = float((1 + (shuffled >= rho - 1e-12).sum()) / (1 + _PERMUTATIONS))
    if len(loss) < 2:
        return {"p": p, "low": None, "high": None}
    drawn = rng.integers(len(loss), size=(_RESAMPLES, len(loss)))
    resampled = np.array([_correlation(saliency[rows], loss[rows]) for rows in drawn])
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return {"p": p, "low": float(low), "high": float(high)}


def judge(scalars: dict[str, Any], *, rescaled: bool) -> str:
    """The sentence; `rescaled` tells that the channels left were scaled.

    It begins "predictive", "in part predictive", "not predictive", "untested" or "degenerate".
    """
    rows = scalars["taps"]
    broken = f"; {scalars['nonfinite']} gradient entries were not finite and count as 0" if scalars["nonfinite"] else ""
    dead = [row["tap"] for row in rows if row["saliency_gini"] == 0 and row["channels"] > 1]
    if len(dead) == len(rows):
        return (
            f"degenerate: no gradient, or the same everywhere, reaches the channels of {', '.join(dead[:3])}{broken}."
        )
    if "correlation" not in scalars:
        return (
            "untested: saliency says where the output's detail reacts to a channel; whether the channel matters takes "
            f"its ablation (ablate){broken}{_faults(scalars)}."
        )
    known = [row for row in rows if row["correlation"] is not None]
    if not known:
        return f"degenerate: zeroing a channel changes nothing anywhere, so there is nothing to foretell{broken}."
    beyond = [row for row in known if row["p"] <= _LEVEL / len(known)]
    begin = "predictive" if len(beyond) == len(known) else "in part predictive" if beyond else "not predictive"
    controls = {name: scalars[f"correlation_{name}"] for name in PREDICTORS[1:]}
    listed = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in controls.items() if value is not None)
    better = [name.replace("_", " ") for name, value in controls.items() if (value or -1) > scalars["correlation"]]
    where = f"at {len(beyond)} of {len(known)} taps" if len(known) > 1 else f"at {known[0]['tap']}"
    where = f"at no tap of {len(known)}" if len(known) > 1 and not beyond else where
    beyond_chance = "beyond chance" if beyond else "no more than chance would have it"
    few = "; one image, so no interval over images" if scalars["images"] == 1 else ""
    simpler = f"; {' and '.join(better)} foretell{'s' if len(better) == 1 else ''} it better" if better else ""
    raised = _raised(rows, rescaled)
    return (
        f"{begin}: {where} salient channels are those whose loss is felt, {beyond_chance} (median rank correlation "
        f"{scalars['correlation']:.2f}; controls: {listed}){simpler}{raised}{_faults(scalars)}{few}{broken}."
    )


def _raised(rows: list[dict[str, Any]], rescaled: bool) -> str:
    """For how many channels zeroing raises the PSNR, and what the published code has instead."""
    fewest, most = min(row["raised"] for row in rows), max(row["raised"] for row in rows)
    count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    channels = max(row["channels"] for row in rows)
    text = f"; zeroing a channel raises the PSNR for {count} of {channels} channels a tap"
    if rescaled:
        return text + ", the rest scaled as the published code does"
    return text + "; the published code scales the rest, which can turn the sign (compat='rdsr')"


def _faults(scalars: dict[str, Any]) -> str:
    if "compat" not in scalars:
        return ""
    return f"; published procedure, faults that stay: {'; '.join(scalars['faults'])}"
