"""Patches that are cut, degraded and shrunk when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from sr_hooks.degradations.parsing import make_lr
from sr_hooks.degradations.step import Degradation
from sr_hooks.images.patch_sets import PatchSet

__all__ = ["DegradedPatches"]

_AT_ONCE = 64  # patches of ground truth in memory


class DegradedPatches:
    """Network inputs made of patches of ground truth: `inputs[a:b]` equals `make_lr(patches, ...)[a:b]`.

    Inputs are made when they are asked for, 64 patches at a time. Randomness goes by the number of the patch, so any
    split into batches gives the same inputs.

    Args:
        patches: squares of ground truth, (n,C,side,side) in [0, 1].
        degradation: what happens to each patch.
        scale: of the network.
        seed: of the randomness.

    Examples:
        >>> from sr_hooks.degradations import DegradedPatches, parse_degradation
        >>> from sr_hooks.demo import photographs
        >>> from sr_hooks.images import PatchSet, image_sources
        >>> patches = PatchSet(image_sources(photographs()[:1]), [(0, 0, 0), (0, 32, 64)], 32)  # image, top, left
        >>> inputs = DegradedPatches(patches, parse_degradation("blur:2"), scale=4, seed=0)
        >>> inputs[0:2].shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, patches: PatchSet, degradation: Degradation, *, scale: float, seed: int) -> None:
        self._patches, self._degradation, self._scale, self._seed = patches, degradation, scale, seed

    def __len__(self) -> int:
        return len(self._patches)

    @property
    def shape(self) -> Sequence[int]:
        """(n,C,h,w)."""
        return (len(self), *self[:1].shape[1:])

    @property
    def contents(self) -> list[Any]:
        """What the inputs are made of, as plain values."""
        return [self._patches.contents, self._degradation.name, self._scale, self._seed]

    def __getitem__(self, rows: Any) -> torch.Tensor:
        numbers = np.arange(len(self))[rows]
        parts = [self._made(numbers[at : at + _AT_ONCE]) for at in range(0, len(numbers), _AT_ONCE)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _made(self, numbers: np.ndarray) -> torch.Tensor:
        patches = self._patches[numbers]
        make = partial(make_lr, degradation=self._degradation, scale=self._scale, seed=self._seed)
        runs = np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(numbers) != 1) + 1)  # of neighbours
        return torch.cat([make(patches[run[0] : run[-1] + 1], first=int(numbers[run[0]])) for run in runs])
