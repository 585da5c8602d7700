"""The verdict of FAIG in words: whether the integral has settled, and what to be careful about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from sr_hooks.networks.network import Network

__all__ = ["judge", "notes_on", "relative_gap"]

_GAP = 0.02
_STABLE = 0.5


def judge(scalars: dict[str, Any], notes: Sequence[str], tolerance: float) -> str:
    """The sentence; it begins with "identical", "swapped?", "published procedure", "not settled" or "sound"."""
    tail = "".join(f"; {note}" for note in (*_notes_on_scores(scalars), *notes)) + "."
    if scalars["identical"]:
        return (
            "identical: baseline and target have the same weights, so every score is zero and no ranking means anything"
            + tail
        )
    before, after = scalars["baseline_loss"], scalars["target_loss"]
    if all(a > b for a, b in zip(after, before, strict=True)):
        return (
            "swapped? the target does worse than the baseline on every degradation, so it removes none of them" + tail
        )
    facts = f"{scalars['steps']} gradients an image and degradation, completeness gap {scalars['completeness_gap']:.2g}"
    error, overlap = scalars["error"], scalars["top_overlap"]
    if scalars["compat"]:
        return f"published procedure: {facts}, no error estimate" + tail
    if error is None:
        return f"not judged: {facts}; this number of steps allows no error estimate" + tail
    estimates = f"estimated error {error:.1%}, top 1 % settled to {overlap:.1%}"
    if error > tolerance:
        return f"not settled: {estimates}, against a tolerance of {tolerance:.1%}, after {facts}" + tail
    if scalars["completeness_gap"] > _GAP:
        return f"not settled: {estimates}, but {facts} is large" + tail
    return (
        f"sound: the integral has settled ({estimates}; {facts}); whether the filters matter, sr_hooks.verify says"
        + tail
    )


def _notes_on_scores(scalars: dict[str, Any]) -> list[str]:
    out = []
    names, before, after = scalars["degradations"], scalars["baseline_loss"], scalars["target_loss"]
    worse = [n for n, b, a in zip(names, before, after, strict=True) if a > b]
    if worse and len(worse) < len(names):
        out.append(f"the target does not remove {', '.join(worse)}: its error there is no smaller than the baseline's")
    if len(names) == 1:
        out.append("one degradation only: scores say what the fine-tuning changed, not what is particular to it")
    split = scalars["split_half_overlap"]
    if split is not None and split < _STABLE:
        out.append(f"two halves of the images share only {split:.0%} of their top 1 %: take more images")
    if scalars["images"] == 1:
        out.append("one image only: another may rank otherwise")
    experimental = sum(1 for layer in scalars["layers"] if layer["experimental"])
    if experimental:
        out.append(
            f"{experimental} of {len(scalars['layers'])} layers are Linear rows or biases, experimental and of "
            "another size than 2-D kernels"
        )
    return out


def relative_gap(attributed: float, change: float) -> float:
    """|attributed - change| / |change|; 0 where neither is, infinite where only the change is not."""
    if change:
        return abs(attributed - change) / abs(change)
    return 0.0 if abs(attributed) < 1e-12 else math.inf


def notes_on(network: Network, baseline: Network) -> list[str]:
    """Facts of the two networks that a reader of the scores should know."""
    notes = []
    if network.clones_outputs:
        notes.append("the network writes in place, so its layers' outputs were cloned to differentiate it")
    theirs = dict(baseline.module.named_buffers())
    moved = [
        name
        for name, value in network.module.named_buffers()
        if value.is_floating_point() and name in theirs and not torch.equal(theirs[name].to(value), value)
    ]
    if moved:
        notes.append(f"{len(moved)} buffers differ ({moved[0]}, ...) and stay the target's all along the path")
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    derived = [n for n, p in network.module.named_modules() if isinstance(p, kinds) and "weight" not in p._parameters]
    if derived:
        notes.append(f"{len(derived)} layers compute their weights from others ({derived[0]}, ...) and are not scored")
    return notes
