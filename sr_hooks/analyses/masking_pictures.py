"""Pictures for a verification: the first image masked, and with the filters turned down and up."""

from __future__ import annotations

import numpy as np
import torch

from sr_hooks.analyses.faig_inputs import Inputs
from sr_hooks.analyses.faig_result import FaigResult
from sr_hooks.analyses.masking_trial import run
from sr_hooks.analyses.surgery import masked_weights, pick
from sr_hooks.analyses.verification_result import VerifyResult
from sr_hooks.images import upsample
from sr_hooks.network import Network
from sr_hooks.weight_paths import StraightPath, at_weights

__all__ = ["STRENGTHS", "pictures"]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_SIDE = 96


def pictures(result: VerifyResult, network: Network, path: StraightPath, found: FaigResult, inputs: Inputs) -> None:
    """Add `examples` (rows, C, 3, h, w) and `strip` (D, strengths, 3, h, w) to a result: uint8, of the first image.

    Rows of the first: input, baseline, target, one masked network for each degradation, ground truth. The second runs
    each degradation's input through its own filters at theta_b + strength * (theta - theta_b).
    """
    columns, degradations = result.scalars["columns"], result.scalars["degradations"]
    top, gt = min(result.scalars["tops"]), inputs.gt[0]
    chosen = {name: pick(found.ranking(name), top) for name in degradations}

    def restored(name: str, strength: float, column: str) -> torch.Tensor:
        weights = masked_weights(path, found.filters, chosen[name], strength)
        return run(at_weights(network, weights), [inputs.lr[0][columns.index(column)]])[0]

    size = (gt.shape[-2], gt.shape[-1])
    baseline = at_weights(network, path.start)
    rows = {
        "input\n(bicubic)": [upsample(lr, size) for lr in inputs.lr[0]],
        "baseline": [run(baseline, [lr])[0] for lr in inputs.lr[0]],
        "target": [run(network, [lr])[0] for lr in inputs.lr[0]],
        **{f"top {top:.0%} for\n{name} masked": [restored(name, 0.0, c) for c in columns] for name in degradations},
        "ground truth": [gt] * len(columns),
    }
    result.arrays["examples"] = np.stack([np.stack([_centre(p) for p in row]) for row in rows.values()])
    result.scalars["example_rows"] = list(rows)
    strip = [[_centre(restored(name, strength, name)) for strength in STRENGTHS] for name in degradations]
    result.arrays["strip"] = np.stack([np.stack(row) for row in strip])
    result.scalars["strip"] = {
        "rows": [f"{name}\ninput and\nfilters" for name in degradations],
        "strengths": list(STRENGTHS),
    }


def _centre(image: torch.Tensor) -> np.ndarray:
    """(1,C,H,W) in [0, 1] to (3,h,w) uint8, at most 96 pixels a side."""
    height, width = image.shape[-2:]
    top, left = max(0, (height - _SIDE) // 2), max(0, (width - _SIDE) // 2)
    part = image[0, :, top : top + _SIDE, left : left + _SIDE].expand(3, -1, -1)
    return part.clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
