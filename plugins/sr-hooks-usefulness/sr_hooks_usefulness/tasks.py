"""Two tasks that need no labels: find the ground truth's edges in the output, and its patches."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sr_hooks.images import luma

__all__ = ["edge_f_measure", "template_match"]

_EDGES = 0.9  # quantile of the ground truth's gradient above which a pixel is an edge
_SIDE, _TEMPLATES, _SEARCH = 12, 24, 6


def edge_f_measure(output: torch.Tensor, target: torch.Tensor) -> float:
    """The F-measure, in [0, 1], of the output's edges against the ground truth's, to a pixel.

    Edges are pixels whose luma gradient is above the ground truth's 90 % quantile, in both images.

    Args:
        output, target: (1,C,H,W) in [0, 1].
    """
    strengths = [_gradient(image) for image in (output, target)]
    limit = torch.quantile(strengths[1].flatten()[:: max(1, strengths[1].numel() // 1_000_000)], _EDGES)
    output_edges, wanted = (strength > limit for strength in strengths)
    near = [F.max_pool2d(edges.float(), 3, stride=1, padding=1) > 0 for edges in (output_edges, wanted)]
    precision = float((output_edges & near[1]).sum()) / max(float(output_edges.sum()), 1.0)
    recall = float((wanted & near[0]).sum()) / max(float(wanted.sum()), 1.0)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def template_match(output: torch.Tensor, target: torch.Tensor) -> float:
    """How well patches of the ground truth are found again in the output, in [0, 1].

    Of the 24 patches of 12x12 pixels with the most contrast, the best place within 6 pixels is searched by normalised
    cross-correlation. A patch counts with its correlation if that place is its own to a pixel, else 0; the mean of all.

    Args:
        output, target: (1,C,H,W) in [0, 1], at least 24 pixels on each side.
    """
    position, wanted = (_standardised(image) for image in (output, target))
    reach = _SIDE + 2 * _SEARCH
    places = [
        (top, left)
        for top in range(_SEARCH, target.shape[-2] - _SIDE - _SEARCH + 1, _SIDE)
        for left in range(_SEARCH, target.shape[-1] - _SIDE - _SEARCH + 1, _SIDE)
    ]
    contrast = {(t, left): float(wanted[..., t : t + _SIDE, left : left + _SIDE].std()) for t, left in places}
    chosen = sorted(places, key=lambda place: -contrast[place])[:_TEMPLATES]
    scores = []
    for top, left in chosen:
        patch = wanted[0, 0, top : top + _SIDE, left : left + _SIDE].flatten()
        area = position[:, :, top - _SEARCH : top - _SEARCH + reach, left - _SEARCH : left - _SEARCH + reach]
        windows = F.unfold(area, _SIDE)[0].T
        windows, patch = windows - windows.mean(1, keepdim=True), patch - patch.mean()
        values = windows @ patch / (windows.norm(dim=1) * patch.norm()).clamp(min=1e-9)
        best = int(values.argmax())
        row, column = divmod(best, 2 * _SEARCH + 1)
        own = max(abs(row - _SEARCH), abs(column - _SEARCH)) <= 1
        scores.append(max(float(values[best]), 0.0) if own else 0.0)
    return sum(scores) / len(scores) if scores else 0.0


def _grey(image: torch.Tensor) -> torch.Tensor:
    return (luma(image) if image.shape[1] == 3 else image.mean(dim=1, keepdim=True)).double()


def _gradient(image: torch.Tensor) -> torch.Tensor:
    grey = F.pad(_grey(image), (1, 1, 1, 1), mode="replicate")
    dy, dx = grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1], grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]
    return (dy * dy + dx * dx).sqrt()


def _standardised(image: torch.Tensor) -> torch.Tensor:
    grey = _grey(image)
    return (grey - grey.mean()) / grey.std().clamp(min=1e-9)
