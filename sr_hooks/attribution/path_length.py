"""The length of a path of images, and the times at which equal shares of the length are reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional as F

from sr_hooks.attribution.image_paths import ImagePath

__all__ = ["path_lengths", "time_at"]


def path_lengths(path: ImagePath, image: torch.Tensor, pieces: int = 32) -> torch.Tensor:
    """The path's length up to equally spread times, (pieces + 1,) float64 on the image's device, 0 first.

    Length is the distance between images.
    """
    times = [i / pieces for i in range(pieces + 1)]
    previous, steps = path(image, times[:1]), []
    for start in range(1, pieces + 1, 8):
        points = torch.cat([previous, path(image, times[start : start + 8])])
        steps.append((points[1:] - points[:-1]).flatten(1).double().norm(dim=1))
        previous = points[-1:]
    return F.pad(torch.cat(steps).cumsum(0), (1, 0))


def time_at(lengths: Sequence[float]) -> Callable[[float], float]:
    """The map from a share s of the path's length, in [0, 1], to the time t at which it is reached.

    Nodes at equal s are spread by how much the image changes. `lengths` are those of `path_lengths`.
    """
    total, pieces = lengths[-1], len(lengths) - 1

    def time_of(share: float) -> float:
        if share <= 0 or share >= 1 or not total > 0:
            return min(max(share, 0.0), 1.0)
        wanted = share * total
        i = next(i for i in range(1, len(lengths)) if lengths[i] >= wanted)
        step = lengths[i] - lengths[i - 1]
        return (i - 1 + ((wanted - lengths[i - 1]) / step if step > 0 else 0.0)) / pieces

    return time_of
