"""`compat="faig"`: the verification as FAIG's public code has it, for comparing values with the paper's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from sr_hooks.analyses.degraded_pairs import Inputs
from sr_hooks.images.metrics.fidelity import quantise

if TYPE_CHECKING:
    from sr_hooks.analyses.faig_verify.result import VerifyResult

__all__ = ["FAULTS", "INPUT_STEPS", "published_gradient_map", "published_inputs", "published_pick", "published_verdict"]

INPUT_STEPS = 100
"""Gradients of the input-IG control, at the left end of each step."""

FAULTS = (
    "gradient maps are of the blue channel, where grey was meant",
    "beyond the image they count 0, which draws a frame",
    "inputs and outputs are of 8 bits",
    "shares of filters are rounded down",
    "input-IG ranks a degradation's own scores, not their difference, at the left ends of 100 steps",
    "not repeated: the comparison with a target whose weights were not averaged (the target is the network given)",
)


def published_inputs(inputs: Inputs, *, made: bool) -> Inputs:
    """Inputs that were made from images, rounded to 8 bits as in image files; ready-made ones as they are."""
    return replace(inputs, lr=tuple(tuple(quantise(lr) for lr in row) for row in inputs.lr)) if made else inputs


def published_pick(ranking: np.ndarray, top: float) -> np.ndarray:
    """(F,) boolean: the first int(F * percent / 100) of a ranking."""
    chosen = np.zeros(len(ranking), dtype=bool)
    chosen[ranking[: int(len(ranking) * round(100 * top, 9) / 100)]] = True
    return chosen


def published_gradient_map(image: torch.Tensor) -> torch.Tensor:
    """(N,C,H,W) to (N,1,H,W): sqrt(dx^2 + dy^2 + 1e-6) of the last channel in 8 bits, 0 beyond the image."""
    blue = torch.nn.functional.pad(quantise(image[:, -1:]), (1, 1, 1, 1))
    dx, dy = blue[..., 1:-1, 2:] - blue[..., 1:-1, :-2], blue[..., 2:, 1:-1] - blue[..., :-2, 1:-1]
    return (dx.square() + dy.square() + 1e-6).sqrt()


def published_verdict(result: VerifyResult) -> str:
    """The published measure at the smallest share, each degradation's filters on each degraded input."""
    top, columns = min(result.scalars["tops"]), result.scalars["columns"]
    parts = []
    for name in result.scalars["degradations"]:
        errors = result.gradient_error("FAIG", top, degradation=name).mean(axis=1)
        values = ", ".join(f"{errors[columns.index(each)]:.4f} on {each}" for each in result.scalars["degradations"])
        parts.append(f"{name}'s filters {values}")
    return (
        f"Published procedure: masking the top {top:.0%} changes gradient maps by (x 1000) {'; '.join(parts)}; "
        f"faults that stay: {'; '.join(FAULTS)}."
    )
