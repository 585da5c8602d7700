"""What fitted weights say: how they rank channels beside exact ablation, and whether saliency ranks them as well."""

from __future__ import annotations

from typing import Any

import numpy as np

from sr_hooks.core import generator
from sr_hooks.statistics import rank_correlation

__all__ = ["PREDICTORS", "effect", "judge", "summarise"]

PREDICTORS = ("importance", "saliency", "activation", "first_order")
"""What may foretell the effect of an ablation: the fitted weights, the saliency, and two controls."""

_RESAMPLES = 500
_FEWEST = 3  # images of which resampling says something
_OPEN = 0.5  # weight from which on a channel counts as kept


def effect(arrays: dict[str, np.ndarray], index: int, keep: str) -> np.ndarray:
    """(N,C) of a tap: |dB changed| by zeroing each channel; dB lost, with its sign, where the fit keeps the PSNR."""
    psnr = arrays["psnr"][:, index]
    lost = arrays["base_psnr"][:, None] - psnr[:, ~np.isnan(psnr).all(axis=0)]
    return lost if keep == "truth" else np.abs(lost)


def summarise(arrays: dict[str, np.ndarray], taps: list[str], options: Any) -> dict[str, Any]:
    """Numbers of each tap, in `taps`, and their means over taps.

    `correlation` and `correlation_<other>` are Spearman's between a predictor and the effect of the ablation, over
    channels, both averaged over images. `difference` is that of the fitted weights less that of saliency, with the 95 %
    interval `low` to `high` of resampled images and channels: None for fewer than three images.
    """
    tables = []
    for index in range(len(taps)):
        effects = effect(arrays, index, options.keep)
        tables.append({"effect": effects} | {n: arrays[n][:, index, : effects.shape[1]] for n in PREDICTORS})
    images = len(arrays["base_psnr"])
    every = np.arange(images)
    whole = [_correlations(table, every, np.arange(table["effect"].shape[1])) for table in tables]
    drawn = _resampled(tables, images, options.seed)
    rows = []
    for index, (tap, table, rhos) in enumerate(zip(taps, tables, whole, strict=True)):
        weights = arrays["weights"][:, index, :, : table["effect"].shape[1]]
        rows.append(
            {"tap": tap, "channels": table["effect"].shape[1]}
            | {_key(name): value for name, value in rhos.items()}
            | _contrast(rhos, None if drawn is None else drawn[:, index])
            | {
                "most_important": int(table["importance"].mean(axis=0).argmax()),
                "largest_effect": float(table["effect"].mean(axis=0).max()),
                "open": (weights >= _OPEN).mean(axis=(0, 2)).tolist(),
                "moved": bool(np.ptp(table["importance"].mean(axis=0)) > 1e-6),
            }
        )
    scalars: dict[str, Any] = {
        "images": images,
        "channels": sum(row["channels"] for row in rows),
        "base_psnr": float(arrays["base_psnr"].mean()),
        "penalties": list(options.penalties),
        "keep": options.keep,
        "gradients": images * len(taps) * len(options.penalties) * options.steps,
        "taps": rows,
    }
    known = [index for index, row in enumerate(rows) if row["difference"] is not None]
    means = {name: float(np.mean([whole[i][name] for i in known])) if known else np.nan for name in PREDICTORS}
    scalars |= {_key(name): None if np.isnan(value) else value for name, value in means.items()}
    together = None if drawn is None or not known else drawn[:, known].mean(axis=1)
    return scalars | _contrast(means, together)


def _key(name: str) -> str:
    return "correlation" if name == "importance" else f"correlation_{name}"


def _correlations(table: dict[str, np.ndarray], images: np.ndarray, channels: np.ndarray) -> dict[str, float]:
    """Spearman's of each predictor with the effect, over these channels, averaged over these images; or NaN."""
    means = {name: values[images].mean(axis=0)[channels] for name, values in table.items()}
    return {name: rank_correlation(means[name], means["effect"]) for name in PREDICTORS}


def _resampled(tables: list[dict[str, np.ndarray]], images: int, seed: int) -> np.ndarray | None:
    """(resamples, taps) differences; images are drawn together for all taps, channels for each."""
    if images < _FEWEST:
        return None
    rng = generator(seed, "importance", "intervals")
    out = np.full((_RESAMPLES, len(tables)), np.nan)
    for row in out:
        some = rng.integers(images, size=images)
        for index, table in enumerate(tables):
            count = table["effect"].shape[1]
            rhos = _correlations(table, some, rng.integers(count, size=count))
            row[index] = rhos["importance"] - rhos["saliency"]
    return out


def _contrast(rhos: dict[str, float], drawn: np.ndarray | None) -> dict[str, float | None]:
    difference = rhos["importance"] - rhos["saliency"]
    if np.isnan(difference):
        return {"difference": None, "low": None, "high": None}
    if drawn is None or np.isnan(drawn).all():
        return {"difference": float(difference), "low": None, "high": None}
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return {"difference": float(difference), "low": float(low), "high": float(high)}


def judge(scalars: dict[str, Any]) -> str:
    """The sentence; it begins "better than saliency", "no better than saliency", "cannot tell" or "degenerate"."""
    rows = scalars["taps"]
    if all(row["largest_effect"] <= 0 for row in rows):
        return "degenerate: zeroing a channel changes nothing anywhere, so there is nothing to rank."
    if not any(row["moved"] for row in rows):
        return "degenerate: all weights of a tap are equal; give penalties between the present ones, or more steps."
    if scalars["difference"] is None:
        return "degenerate: saliency or the effect of ablation is equal for all channels, so there is nothing to rank."
    low, high = scalars["low"], scalars["high"]
    where = rows[0]["tap"] if len(rows) == 1 else f"{len(rows)} taps (mean)"
    facts = (
        f"at {where} the fitted weights have a rank correlation of {scalars['correlation']:.2f} with exact ablation, "
        f"saliency {scalars['correlation_saliency']:.2f}"
    )
    if low is None:
        few = f"{scalars['images']} images are too few for an interval, which takes 3"
        return f"cannot tell: {facts}; {few}{_notes(scalars)}."
    facts += f"; difference {scalars['difference']:+.2f} [{low:.2f}, {high:.2f}], 95 % over images and channels"
    begin = "better than saliency" if low > 0 else "no better than saliency" if high < 0 else "cannot tell"
    covers = "; the interval covers 0" if begin == "cannot tell" else ""
    return f"{begin}: {facts}{covers}{_notes(scalars)}."


def _notes(scalars: dict[str, Any]) -> str:
    """Controls that do as well, and penalties that choose nothing."""
    controls = {name: scalars[f"correlation_{name}"] for name in PREDICTORS[2:]}
    known = {name: value for name, value in controls.items() if value is not None}
    text = "; controls: " + ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in known.items())
    better = [name.replace("_", " ") for name, value in known.items() if value >= scalars["correlation"]]
    if better:
        need, rank = ("needs", "ranks") if len(better) == 1 else ("need", "rank")
        text += f"; {' and '.join(better)}, which {need} no fit, {rank} at least as well"
    opens = np.mean([row["open"] for row in scalars["taps"]], axis=0)
    if opens[-1] > 0.9:
        text += f"; the strongest penalty keeps {opens[-1]:.0%} of the channels: give stronger ones"
    elif opens[0] < 0.1:
        text += f"; the weakest penalty keeps {opens[0]:.0%} of the channels: give weaker ones"
    return text
