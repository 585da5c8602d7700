"""FAIG's integral of gradients along the straight line between two networks' weights, image by image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sr_hooks.analyses.degraded_pairs import Inputs
from sr_hooks.analyses.faig.filters import Filters
from sr_hooks.attribution.weight_paths import WeightGradients, inner_product
from sr_hooks.attribution.weight_quadrature import Level, Settling, levels, published_nodes
from sr_hooks.errors import NetworkError, OptionError
from sr_hooks.inference.calibration import to_cpu, to_device

__all__ = ["Integral", "integrate"]

_SWAPPED = 2.0  # a target whose loss is so many times the baseline's, on every degradation, is taken for the baseline


@dataclass(frozen=True)
class Integral:
    """The integral over N images.

    Attributes:
        scores: (D,F) mean over images of the filters' scores, float64.
        halves: the same of the images of even and of odd number; None for one image.
        attributed: (D,) signed sum over all parameters and images; what the loss's change should be.
        baseline_loss, target_loss: (N,D) losses, by default sums of squared differences.
        counts: nodes taken, image by image.
        gradients: computed in all.
        broken: of these, how many had entries that were not finite and count as 0.
        error, overlap: estimated, see Settling; None where no estimate is possible.
    """

    scores: torch.Tensor
    halves: tuple[torch.Tensor, torch.Tensor] | None
    attributed: torch.Tensor
    baseline_loss: torch.Tensor
    target_loss: torch.Tensor
    counts: tuple[int, ...]
    gradients: int
    broken: int
    error: float | None
    overlap: float | None


@dataclass(frozen=True)
class _Image:
    """One image's scores (D,F) after each level, the signed sums (D,), and the losses at both ends."""

    history: list[tuple[int, torch.Tensor]]
    attributed: torch.Tensor
    baseline_loss: list[float]
    target_loss: list[float]


def integrate(
    engine: WeightGradients,
    filters: Filters,
    inputs: Inputs,
    *,
    steps: int | None,
    tolerance: float,
    published: bool,
    any_order: bool,
    progress: Any,
) -> Integral:
    """Scores of all filters: |integral of the loss's gradient times the weights' change|, summed per kernel.

    FAIG's definition (arXiv 2108.01070): the absolute value comes after the path sum and before the sum over the
    kernel, image by image. Beyond the weights it holds one sum of gradients a degradation and some vectors of one
    number a filter, however many nodes and images there are.

    Args:
        steps: exactly so many nodes an image; None for as many as the tolerance needs.
        published: the published left rule of `steps` nodes.
        any_order: take a target that does far worse than its baseline.

    Raises:
        NetworkError: the loss is not finite somewhere on the path.
        OptionError: the two networks look swapped.
    """
    plan = [published_nodes(steps or 100)] if published else levels(steps)
    settling = Settling(tolerance, len(inputs))
    halves = [torch.zeros(len(inputs.names), filters.count, dtype=torch.float64) for _ in range(2)]
    attributed = torch.zeros(len(inputs.names), dtype=torch.float64)
    ends: tuple[list[list[float]], list[list[float]]] = ([], [])
    counts = []
    for index in range(len(inputs)):
        image = _one(
            engine, filters, inputs, index, plan, settling if steps is None and not published else None, progress
        )
        if not any_order:
            _refuse_swapped(engine, inputs, image)
        settling.take(image.history)
        halves[index % 2] += image.history[-1][1]
        attributed += image.attributed
        ends[0].append(image.baseline_loss)
        ends[1].append(image.target_loss)
        counts.append(image.history[-1][0])
    even, odd = (len(inputs) + 1) // 2, len(inputs) // 2
    return Integral(
        scores=(halves[0] + halves[1]) / len(inputs),
        halves=(halves[0] / even, halves[1] / odd) if odd else None,
        attributed=attributed,
        baseline_loss=torch.tensor(ends[0], dtype=torch.float64),
        target_loss=torch.tensor(ends[1], dtype=torch.float64),
        counts=tuple(counts),
        gradients=engine.count,
        broken=engine.broken,
        error=settling.error,
        overlap=settling.overlap,
    )


def _one(
    engine: WeightGradients,
    filters: Filters,
    inputs: Inputs,
    index: int,
    plan: Sequence[Level],
    settling: Settling | None,
    progress: Any,
) -> _Image:
    """One image's integral. Gradients that are not finite are rare, so they are looked for once a level."""
    count, arguments = engine.count, (engine, filters, inputs, index, plan, settling, progress)
    image = _integrated(*arguments, clean=False)
    if image is None:
        engine.count = count
        image = _integrated(*arguments, clean=True)
    assert image is not None
    return image


def _integrated(
    engine: WeightGradients,
    filters: Filters,
    inputs: Inputs,
    index: int,
    plan: Sequence[Level],
    settling: Settling | None,
    progress: Any,
    *,
    clean: bool,
) -> _Image | None:
    """One image's integral; None where entries of a gradient are not finite. With `clean` such entries count as 0.

    Sums stay on the device, which is waited for once a level.
    """
    path, device = engine.path, engine.network.device
    lrs, gt = [to_device(lr, device) for lr in inputs.lr[index]], to_device(inputs.gt[index], device)
    difference = [path.difference(name).float() for name in path.moving]
    sums = [[torch.zeros_like(d) for d in difference] for _ in lrs]
    losses: dict[float, list[float]] = {}
    history: list[tuple[int, torch.Tensor]] = []
    weight = 0.0
    for level in plan:
        met: list[torch.Tensor] = []
        for t, share in level.new if difference else ():
            engine.move_to(t)
            for row, lr in zip(sums, lrs, strict=True):
                loss, gradients = engine(lr, gt)
                gradients = [g.float() for g in gradients]
                met += [loss.double(), _largest(gradients)]
                if clean:
                    gradients = [torch.nan_to_num(g, 0.0, 0.0, 0.0) for g in gradients]
                torch._foreach_add_(row, gradients, alpha=share)
                progress.update(1)
            weight += share
        if met:
            values, sizes = to_cpu(torch.stack(met))[0].view(-1, len(lrs), 2).unbind(-1)
            losses |= dict(zip([t for t, _ in level.new], values.tolist(), strict=True))
            _demand_finite(engine, index, {t: losses[t] for t, _ in level.new})
            broken = int((~sizes.isfinite()).sum())
            if broken and not clean:
                return None
            engine.broken += broken
        history.append((level.count, _scores(filters, path.moving, difference, sums, weight or 1.0)))
        if not difference or (settling is not None and settling.enough(history)):
            break
    signed = [inner_product(row, difference) for row in sums]
    attributed = to_cpu(torch.stack(signed))[0] / (weight or 1.0)
    return _Image(history, attributed, *(losses.get(t) or _losses(engine, inputs, index, t) for t in (0.0, 1.0)))


def _largest(gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    """0-d float64: the largest norm of some tensors, which is not finite where an entry is not."""
    return torch.stack(torch._foreach_norm(list(gradients))).max().double()


def _demand_finite(engine: WeightGradients, index: int, losses: Mapping[float, Sequence[float]]) -> None:
    for t, values in losses.items():
        if not all(map(math.isfinite, values)):
            raise NetworkError(
                f"{engine.network.name}: the loss of image {index} is not finite at t={t:.3f} of the way from "
                "the baseline to the target; look at the weights, at input_range and at precision"
            )


def _scores(
    filters: Filters,
    names: Sequence[str],
    difference: Sequence[torch.Tensor],
    sums: Sequence[Sequence[torch.Tensor]],
    weight: float,
) -> torch.Tensor:
    """(D,F) float64, on the CPU."""
    rows = [
        filters.reduce({name: (s * d).abs() for name, s, d in zip(names, row, difference, strict=True)}) for row in sums
    ]
    return torch.stack(rows) / weight


def _losses(engine: WeightGradients, inputs: Inputs, index: int, t: float) -> list[float]:
    engine.move_to(t)
    losses: list[float] = to_cpu(torch.stack([engine.loss(lr, inputs.gt[index]) for lr in inputs.lr[index]]))[
        0
    ].tolist()
    return losses


def _refuse_swapped(engine: WeightGradients, inputs: Inputs, image: _Image) -> None:
    def swapped(baseline: Sequence[float], target: Sequence[float]) -> bool:
        return all(after > _SWAPPED * before for before, after in zip(baseline, target, strict=True))

    if not swapped(image.baseline_loss, image.target_loss):
        return
    before, after = ([_losses(engine, inputs, i, t) for i in range(len(inputs))] for t in (0.0, 1.0))
    totals = [[sum(column) for column in zip(*rows, strict=True)] for rows in (before, after)]
    if swapped(*totals):
        losses = ", ".join(f"{n} {b:.4g} to {a:.4g}" for n, b, a in zip(inputs.names, *totals, strict=True))
        raise OptionError(
            f"baseline and target look swapped: the loss rises from the baseline to the target on every "
            f"degradation ({losses}). Swap them, or pass any_order=True if this is meant"
        )
