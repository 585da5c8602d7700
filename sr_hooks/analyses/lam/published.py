"""LAM as the public code of its authors computes it, errors included, to compare with papers.

Gradients at the right end of 50 equal steps of sigma from 1.2 to 0 (each with 1e-5 added), 9x9 kernels, the
root of the gradient magnitude taken over the whole output and not smoothed, NaN gradients set to 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch

from sr_hooks.attribution.input_gradients import Gradients, Tally
from sr_hooks.attribution.objectives.objective import Objective
from sr_hooks.attribution.path_integrals import Node, PathIntegral
from sr_hooks.images.windows import Window
from sr_hooks.inference.calibration import ExecutionPlan
from sr_hooks.networks.network import Network

__all__ = ["PublishedGradient", "integrate_as_published"]

SIGMA, KERNEL = 1.2, 9


class PublishedGradient(Objective):
    """Sum over the window of the whole output's sqrt(dy^2 + dx^2); infinite slope wherever the output is flat."""

    name = "gradient"

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        dy = output[..., :-1, :] - output[..., 1:, :]
        dx = output[..., :, :-1] - output[..., :, 1:]
        magnitude = (dy.square()[..., :, :-1] + dx.square()[..., :-1, :]).sqrt()
        return window.crop(magnitude).sum(dim=(1, 2, 3))


def blurred(image: np.ndarray, steps: int) -> list[np.ndarray]:
    """steps + 1 images (h,w,C) from the baseline to the image."""
    axis = np.arange(KERNEL) - KERNEL // 2
    square = axis[:, None] ** 2 + axis[None, :] ** 2
    out = []
    for sigma in np.linspace(SIGMA, 0, steps + 1):
        kernel = np.exp(-square / (2.0 * (sigma + 1e-5) ** 2))
        filtered = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
        out.append(filtered.reshape(image.shape))
    return out


def integrate_as_published(
    network: Network, image: torch.Tensor, window: Window, steps: int, progress: Any
) -> PathIntegral:
    """The right-end sum of gradient times step of the image, one image at a time; without an estimate of its error."""
    gradients = Gradients(network, PublishedGradient(), [window], ExecutionPlan(), "float32")
    images = blurred(np.ascontiguousarray(image[0].permute(1, 2, 0).cpu().numpy()), steps)
    points = [torch.from_numpy(np.ascontiguousarray(i.transpose(2, 0, 1)))[None] for i in images]
    attribution = torch.zeros_like(points[0], dtype=torch.float64)
    nodes, values, tally = list[Node](), list[float](), Tally()
    for step, point in enumerate(points):
        sample = gradients(point, [[0]]).on_cpu()[0][0]
        facts = sample.facts
        tally.add(facts if step else replace(facts, nonfinite=0))  # the baseline's gradient is not summed
        if step:
            attribution += sample.gradient.double() * (point.double() - points[step - 1].double())
            progress.update(1)
        nodes.append(Node(step / steps, point, sample.gradient))
        values.append(facts.value)
    positions = [node.position for node in nodes]
    change = values[-1] - values[0]
    return PathIntegral(attribution.float(), positions, change, None, tally, None, lambda: nodes)
