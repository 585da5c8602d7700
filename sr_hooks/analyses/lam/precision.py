"""The error of a reduced precision: the largest contribution to a map is computed again in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from sr_hooks.attribution.input_gradients import Sample
from sr_hooks.attribution.quadrature import Node
from sr_hooks.statistics import measures

__all__ = ["Deviation", "deviation_of"]


@dataclass(frozen=True)
class Deviation:
    """From float32, of the part of the map that the weightiest node contributes.

    Attributes:
        map: relative L2 distance.
        diffusion_index: the difference of that part's diffusion index.
    """

    map: float
    diffusion_index: float


def deviation_of(nodes: Sequence[Node], exactly: Callable[[torch.Tensor], Sample]) -> Deviation:
    """Of nodes whose gradients were taken in a reduced precision; `exactly` takes one in float32."""
    ends = zip([nodes[0], *nodes[:-1]], [*nodes[1:], nodes[-1]], strict=True)
    strides = [after.point - before.point for before, after in ends]
    shares = [node.gradient * stride for node, stride in zip(nodes, strides, strict=True)]
    heaviest = max(range(len(nodes)), key=lambda i: float(shares[i].norm()))
    share = exactly(nodes[heaviest].point).gradient * strides[heaviest]
    size = float(share.norm())
    ginis = [measures.gini(measures.attribution_map(part[0].numpy())) for part in (shares[heaviest], share)]
    return Deviation(float((shares[heaviest] - share).norm()) / size if size > 0 else 0.0, 100 * (ginis[1] - ginis[0]))
