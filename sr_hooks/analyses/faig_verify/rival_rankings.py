"""The rankings that FAIG is compared with: weight change, relative change, integrated gradients of inputs, random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch

from sr_hooks.analyses.degraded_pairs import Inputs
from sr_hooks.analyses.faig.filters import Filters
from sr_hooks.analyses.faig_verify.masking_trial import Choice
from sr_hooks.analyses.faig_verify.published import INPUT_STEPS
from sr_hooks.analyses.faig_verify.result import RANDOM
from sr_hooks.attribution.weight_paths import StraightPath, at_weights
from sr_hooks.inference.calibration import autocast
from sr_hooks.networks.network import Network

__all__ = ["controls", "input_ig_scores", "random_ranking", "relative_change_scores", "weight_change_scores"]


def weight_change_scores(path: StraightPath, filters: Filters) -> np.ndarray:
    """(F,) float64: sum over each filter of |theta - theta_b|. One list for all degradations."""
    return filters.reduce({name: path.difference(name).abs() for name in path.moving}).numpy()


def relative_change_scores(path: StraightPath, filters: Filters) -> np.ndarray:
    """(F,) float64: sum |theta - theta_b| / sum |theta_b|, the paper's control; 0 where theta_b is 0."""
    change = weight_change_scores(path, filters)
    size = filters.reduce({name: value.abs() for name, value in path.start.items()}).numpy()
    return cast("np.ndarray", np.divide(change, size, out=np.zeros_like(change), where=size > 0))


def random_ranking(filters: Filters, seed: int) -> np.ndarray:
    """(F,) filter numbers in an order drawn from the seed."""
    return np.random.default_rng(seed).permutation(filters.count)


def input_ig_scores(
    target: Network,
    filters: Filters,
    inputs: Inputs,
    clean: Sequence[torch.Tensor],
    *,
    points: int,
    progress: Any,
    offset: float = 0.5,
) -> np.ndarray:
    """(D,F) float64: integrated gradients along the line of *inputs*, the paper's control that ignores the baseline.

    From the clean LR image to the degraded one, the gradient of the sum of the output with respect to the target's
    weights at `points` midpoints (the public code: left ends, `offset` 0), averaged; then the sum of absolute values
    over each filter, and the mean over images.

    Args:
        clean: the clean LR (1,C,h,w) of each image.
    """
    names = sorted({layer.parameter for layer in filters.layers})
    state = dict(target.module.named_parameters())
    weights = {name: state[name].detach().requires_grad_() for name in names}
    view = at_weights(target, weights)
    total = torch.zeros(len(inputs.names), filters.count, dtype=torch.float64)
    for index in range(len(inputs)):
        start = clean[index].to(target.device)
        for row, lr in enumerate(inputs.lr[index]):
            end = lr.to(target.device)
            sums = [torch.zeros_like(value) for value in weights.values()]
            for point in range(points):
                x = start + (point + offset) / points * (end - start)
                torch._foreach_add_(sums, _output_gradients(view, x, list(weights.values())))
                progress.update(1)
            total[row] += filters.reduce({n: (s / points).abs() for n, s in zip(names, sums, strict=True)})
    return (total / len(inputs)).numpy()


def _output_gradients(view: Network, x: torch.Tensor, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    def compute() -> list[torch.Tensor]:
        with torch.enable_grad(), autocast(x.device, "float32"):
            total = view(x).float().sum()
            return list(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True))

    return view.differentiate(compute)


def controls(
    network: Network,
    path: StraightPath,
    filters: Filters,
    inputs: Inputs,
    degradations: Sequence[str],
    options: Any,
    progress: Any,
) -> list[Choice]:
    """Rankings that FAIG has to beat; `options` are those of the verification."""

    def order(scores: np.ndarray) -> np.ndarray:
        return np.argsort(-scores, kind="stable")

    out = [
        Choice("weight change", None, order(weight_change_scores(path, filters))),
        Choice("relative change", None, order(relative_change_scores(path, filters))),
    ]
    if "clean" in inputs.names and options.input_points and degradations != ["clean"]:
        images = len(inputs) if options.compat else options.input_images
        some = Inputs(
            tuple(n for n in inputs.names if n in degradations and n != "clean"),
            inputs.gt[:images],
            tuple(
                tuple(lr for n, lr in zip(inputs.names, row, strict=True) if n in degradations and n != "clean")
                for row in inputs.lr[:images]
            ),
        )
        clean = [row[inputs.names.index("clean")] for row in inputs.lr]
        points, offset = (INPUT_STEPS, 0.0) if options.compat else (options.input_points, 0.5)
        scores = input_ig_scores(network, filters, some, clean, points=points, progress=progress, offset=offset)
        for row, name in enumerate(some.names):
            others = [scores[i] for i in range(len(scores)) if i != row and not options.compat]
            out.append(
                Choice("input-IG", name, order(scores[row] - np.mean(others, axis=0) if others else scores[row]))
            )
    seeds = [options.seed + i for i in range(options.random_seeds)]
    return out + [Choice(RANDOM, None, random_ranking(filters, seed), seed) for seed in seeds]
