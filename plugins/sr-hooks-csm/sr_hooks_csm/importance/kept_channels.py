"""PSNR with only the first channels of an order: do fitted weights choose a better set than one-by-one rankings?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sr_hooks import Network
from sr_hooks.analyses import Inputs
from sr_hooks.attribution import RecordedTail
from sr_hooks.core import generator
from sr_hooks.hooks import Tap
from sr_hooks.inference import ExecutionPlan, Tail, in_batches
from sr_hooks_csm.ablation import Metric, Tails, quality, tail_batch
from sr_hooks_csm.importance.summary import effect
from sr_hooks_csm.saliency import channel_axis

__all__ = ["ORDERS", "psnr_of_kept"]

ORDERS = ("importance", "ablation", "saliency", "random")
_SHARES = (0.125, 0.25, 0.5, 0.75)
_DRAWS = 5


def psnr_of_kept(
    network: Network,
    inputs: Inputs,
    taps: Sequence[Tap],
    plan: ExecutionPlan,
    arrays: dict[str, np.ndarray],
    options: Any,
    border: int,
) -> list[tuple[np.ndarray, dict[str, list[Any]]]]:
    """For each tap the mean PSNR (orders, counts) in dB over all images, with the names of the orders and the counts.

    Args:
        arrays: of the result; an order is that of the mean over images, from the largest.
    """
    counts, masks = zip(*(_masks(arrays, index, str(tap), options) for index, tap in enumerate(taps)), strict=True)
    tails, sums = Tails(network, taps, plan), [np.zeros(mask.shape[:2]) for mask in masks]
    for (lr,), gt in zip(inputs.lr, inputs.gt, strict=True):
        with network.channels_last(plan.channels_last), torch.no_grad():
            x, batch = plan.lay_out(lr.to(network.device)), tail_batch(plan, lr, network.device)
            tails.start(x, network(x), batch)
            for tap, mask, total in zip(taps, masks, sums, strict=True):
                if mask.size:  # a tap of one channel has no part to keep
                    total += _measure(tails.tail(tap, rescale=False), mask, gt, plan, batch, options.metric, border)
    answers = []
    for some, total in zip(counts, sums, strict=True):
        mean = total / len(inputs)
        chosen = len(ORDERS) - 1
        table = np.concatenate([mean[:chosen], mean[chosen:].mean(axis=0, keepdims=True)])
        answers.append((table, {"orders": list(ORDERS), "counts": some}))
    return answers


def _masks(arrays: dict[str, np.ndarray], index: int, tap: str, options: Any) -> tuple[list[int], np.ndarray]:
    """The counts, and (orders, counts, C) masks; the random order several times, at the end."""
    effects = effect(arrays, index, options.keep)
    count = effects.shape[1]
    counts = sorted({max(1, round(share * count)) for share in _SHARES} - {count})
    scores = (arrays["importance"][:, index, :count], effects, arrays["saliency"][:, index, :count])
    orders = [np.argsort(-values.mean(axis=0), kind="stable") for values in scores]
    rng = generator(options.seed, "kept", tap)
    orders += [rng.permutation(count) for _ in range(_DRAWS)]
    masks = np.zeros((len(orders), len(counts), count), np.float32)
    for row, order in enumerate(orders):
        for column, some in enumerate(counts):
            masks[row, column, order[:some]] = 1
    return counts, masks


def _measure(
    tail: Tail | RecordedTail, masks: np.ndarray, gt: torch.Tensor, plan: ExecutionPlan, batch: int, metric: Metric,
    border: int,
) -> np.ndarray:  # fmt: skip
    """(orders, counts) PSNR of one image."""
    flat = torch.from_numpy(masks.reshape(-1, masks.shape[-1])).to(tail.feature)
    shape = [1] * tail.feature.ndim
    shape[channel_axis(tail.feature, tail.tap)] = flat.shape[-1]

    def compute(part: slice) -> torch.Tensor:
        features = torch.cat([tail.feature * mask.view(shape) for mask in flat[part]])
        features = plan.lay_out(features) if features.ndim == 4 else features
        return quality(tail(features), gt, border, metric).cpu()

    values = torch.cat([some for _, some in in_batches(len(flat), compute, batch=batch)])
    return values.view(masks.shape[:2]).numpy()
