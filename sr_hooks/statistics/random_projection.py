"""A fixed random projection (count sketch) from features of any length to few numbers, determined by the seed."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["SIZE", "Sketch", "principal_frame"]

SIZE = 512


class Sketch:
    """Count sketch (Charikar, Chen and Farach-Colton, 2002): each entry is added, with a random sign, to a random bin.

    The sketch is linear, so features of different iterations lie in one space. It depends only on the seed and the
    length, so a resumed run needs no stored projection. Inner products have an error of about 1 / sqrt(size) of the
    vectors' norms: 512 numbers are precise enough for a picture, not for an index.
    """

    def __init__(self, length: int, seed: int, *, size: int = SIZE) -> None:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + length)
        self.size = size
        self.bins = torch.randint(size, (length,), generator=generator)
        self.signs = torch.randint(2, (length,), generator=generator, dtype=torch.int8)

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """(n,d) float32 to (n,size) float32."""
        signs = self.signs.float().mul_(2).sub_(1)
        return torch.zeros(len(features), self.size).index_add_(1, self.bins, features * signs)


def principal_frame(sketches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (SIZE,) and two principal axes (SIZE,2) of (n,SIZE) points, each axis's largest entry positive."""
    mean = sketches.mean(axis=0)
    _, _, axes = np.linalg.svd(sketches - mean, full_matrices=False)
    axes = np.pad(axes[:2], ((0, max(2 - len(axes), 0)), (0, 0))).T
    largest = axes[np.abs(axes).argmax(axis=0), [0, 1]]
    return mean, axes * np.where(largest < 0, -1.0, 1.0)
