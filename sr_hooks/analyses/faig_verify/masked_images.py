"""The pictures of a verification: the part with most edges, restored by masked and by modulated networks."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from sr_hooks.analyses.degraded_pairs import Inputs
from sr_hooks.analyses.faig.baseline import masked_weights, pick
from sr_hooks.analyses.faig.result import FaigResult
from sr_hooks.analyses.faig_verify.masking_trial import gradient_map, run
from sr_hooks.analyses.faig_verify.result import VerifyResult
from sr_hooks.attribution.weight_paths import StraightPath, at_weights
from sr_hooks.images.image import upsample
from sr_hooks.networks.network import Network

__all__ = ["STRENGTHS", "pictures"]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_SIDE = 96


def pictures(
    result: VerifyResult, network: Network, path: StraightPath, faig_result: FaigResult, inputs: Inputs
) -> None:
    """Add `examples` (C, states, 3, h, w) and `strip` (D, strengths, 3, h, w) to a result: uint8, of one image.

    States: input, baseline, target, one masked network for each degradation, ground truth. The strip runs
    each degradation's input through its own filters at theta_b + strength * (theta - theta_b).
    """
    columns, degradations = result.scalars["columns"], result.scalars["degradations"]
    index, corner = _most_edges(inputs)
    top, gt, lrs = min(result.scalars["tops"]), inputs.gt[index], inputs.lr[index]
    chosen = {name: pick(faig_result.ranking(name), top) for name in degradations}

    def restored(name: str, strength: float, column: str) -> torch.Tensor:
        weights = masked_weights(path, faig_result.filters, chosen[name], strength)
        return run(at_weights(network, weights), [lrs[columns.index(column)]])[0]

    size = (gt.shape[-2], gt.shape[-1])
    baseline = at_weights(network, path.start)
    rows = {
        "input, enlarged": [upsample(lr if lr.ndim == 4 else lr[:, lr.shape[1] // 2], size) for lr in lrs],
        "baseline": [run(baseline, [lr])[0] for lr in lrs],
        "target": [run(network, [lr])[0] for lr in lrs],
        **{f"{name} masked": [restored(name, 0.0, c) for c in columns] for name in degradations},
        "ground truth": [gt] * len(columns),
    }
    states = [np.stack([_part(picture, corner) for picture in row]) for row in rows.values()]
    result.arrays["examples"] = np.stack(states, axis=1)
    result.scalars["example_states"] = list(rows)
    strip = [[_part(restored(name, strength, name), corner) for strength in STRENGTHS] for name in degradations]
    result.arrays["strip"] = np.stack([np.stack(row) for row in strip])
    result.scalars["strip"] = {
        "rows": [f"{name}\ninput, its\nfilters" for name in degradations],
        "strengths": list(STRENGTHS),
    }


def _most_edges(inputs: Inputs) -> tuple[int, tuple[int, int]]:
    """The image, and top and left of its window of at most 96 x 96 pixels, where the truth has most edges."""
    best = (-1.0, 0, (0, 0))
    for index, gt in enumerate(inputs.gt):
        edges = gradient_map(gt)
        window = [min(_SIDE - 2, side) for side in edges.shape[-2:]]
        means = F.avg_pool2d(edges, window, stride=8)[0, 0]
        position = int(means.argmax())
        top, left = divmod(position, means.shape[1])
        best = max(best, (float(means.max()), index, (8 * top, 8 * left)), key=lambda candidate: candidate[0])
    return best[1], best[2]


def _part(image: torch.Tensor, corner: tuple[int, int]) -> np.ndarray:
    """(1,C,H,W) in [0, 1] to (3,h,w) uint8, at most 96 pixels a side."""
    part = image[0, :, corner[0] : corner[0] + _SIDE, corner[1] : corner[1] + _SIDE].expand(3, -1, -1)
    return part.clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
