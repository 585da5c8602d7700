"""Run one masked network on all inputs, and measure PSNR and the error of gradient maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sr_hooks.analyses.degraded_pairs import Inputs
from sr_hooks.attribution.weight_paths import at_weights
from sr_hooks.images.metrics import psnr
from sr_hooks.inference.batches import in_batches
from sr_hooks.networks.network import Network

__all__ = ["Choice", "Measured", "gradient_map", "measure", "run"]


@dataclass(frozen=True)
class Choice:
    """A ranking of the filters by a method, for a degradation (None: any), drawn from a seed (None: not drawn)."""

    method: str
    degradation: str | None
    ranking: np.ndarray
    seed: int | None = None


@dataclass(frozen=True)
class Measured:
    """Of one network: PSNR in dB (C,N), C inputs and N images, and its outputs, C lists of N (1,c,H,W)."""

    psnr: np.ndarray
    outputs: list[list[torch.Tensor]]

    def gradient_error(
        self, reference: Measured, of: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> np.ndarray:
        """(C,N): 1000 * mean squared difference of gradient-magnitude maps, the paper's measure of what was lost.

        `of` makes a map of an output (1,C,H,W); `gradient_map` where nothing is given.
        """
        of = of or gradient_map
        return np.array(
            [
                [1000 * float((of(a) - of(b)).square().mean()) for a, b in zip(outputs, expected, strict=True)]
                for outputs, expected in zip(self.outputs, reference.outputs, strict=True)
            ]
        )


def gradient_map(image: torch.Tensor) -> torch.Tensor:
    """(N,C,H,W) to (N,1,H-2,W-2): sqrt(dx^2 + dy^2 + 1e-6) of the grey image, central differences x(i+1) - x(i-1)."""
    if image.shape[1] == 3:
        weights = image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        image = (image * weights).sum(dim=1, keepdim=True)
    dx = image[..., 1:-1, 2:] - image[..., 1:-1, :-2]
    dy = image[..., 2:, 1:-1] - image[..., :-2, 1:-1]
    return (dx.square() + dy.square() + 1e-6).sqrt()


def measure(network: Network, weights: Mapping[str, torch.Tensor] | None, inputs: Inputs, progress: Any) -> Measured:
    """The network (at other weights, where given) on every input, outputs clipped to [0, 1]; PSNR over all of RGB."""
    view = at_weights(network, weights) if weights is not None else network
    values = np.zeros((len(inputs.names), len(inputs)))
    outputs: list[list[torch.Tensor]] = []
    for column in range(len(inputs.names)):
        restored = run(view, [row[column] for row in inputs.lr])
        for index, (output, gt) in enumerate(zip(restored, inputs.gt, strict=True)):
            values[column, index] = float(psnr(output, gt))
        outputs.append(restored)
    progress.update(1)
    return Measured(values, outputs)


def run(network: Network, lrs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Outputs for a list of inputs, clipped to [0, 1], on the CPU; one by one there, so that memory stays small.

    An accelerator takes all inputs of one size together, or as many as fit into its memory.
    """
    together = network.device.type != "cpu" and len({lr.shape for lr in lrs}) == 1

    def compute(part: slice) -> list[torch.Tensor]:
        x = torch.cat(list(lrs[part])).to(network.device)
        return list(network(x).float().clamp(0, 1).cpu().split(1))

    batches = in_batches(len(lrs), compute, batch=max(len(lrs), 1) if together else 1)
    return [output for _, outputs in batches for output in outputs]
