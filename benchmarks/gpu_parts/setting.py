"""How large everything in benchmarks/gpu.py is, and on which device."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import Any

import torch

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How large everything is: of the table, or of a quick run that only shows that everything runs."""

    side: int = 64
    steps: int = 21
    published: int = 50
    reference: int = 128
    lams: int = 100
    patches: int = 300
    faig_images: int = 14
    faig_side: int = 40
    faig_timed: tuple[int, int] = (2, 10)
    csm_side: int = 96
    csm_channels: int = 8
    cem_side: int = 320
    cem_share: int = 400
    train_steps: int = 60
    repeats: int = 3


QUICK = Sizes(24, 5, 6, 12, 4, 12, 2, 16, (1, 2), 32, 1, 64, 40, 6, 1)


@dataclass(frozen=True)
class Bench:
    """The device and the sizes that the rows are measured with."""

    device: torch.device
    quick: bool

    @property
    def sizes(self) -> Sizes:
        return QUICK if self.quick else Sizes()


def own_cache() -> None:
    """Calibrations of this run alone."""
    os.environ["SR_HOOKS_CACHE"] = tempfile.mkdtemp(prefix="sr_hooks_benchmark_")
