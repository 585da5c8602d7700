"""One step of a degradation, and a named chain of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

__all__ = ["Degradation", "Step"]

Apply = Callable[[torch.Tensor, np.random.Generator, "tuple[int, int]"], torch.Tensor]


@dataclass(frozen=True)
class Step:
    """One act on one image; what a factory of the hook `register_degradations` returns.

    Attributes:
        kind: its name without the argument.
        apply: (image (1,C,H,W), NumPy generator, LR size (h,w)) to image. All randomness from that generator.
        place: "hr" before the downsampling, "lr" after it, "down" in place of it.
        argument: as results write it, in one form for "2" and "2.0", since it is part of the seed.
        level: how strong, 0 being not at all; None where that is no one number.
    """

    kind: str
    apply: Apply
    place: Literal["hr", "lr", "down"]
    argument: str = ""
    level: float | None = None
    moved: bool = False

    @property
    def name(self) -> str:
        """As it is written."""
        return self.kind + (f":{self.argument}" if self.argument else "") + (f"@{self.place}" if self.moved else "")


@dataclass(frozen=True)
class Degradation:
    """A named chain of steps. No step at all is `clean`."""

    steps: tuple[Step, ...] = ()

    @property
    def name(self) -> str:
        """As it is written; two of one name give the same images for the same seed."""
        return "+".join(step.name for step in self.steps) or "clean"

    @property
    def kind(self) -> str:
        """The kinds without arguments, e.g. `blur+noise`."""
        return "+".join(step.kind for step in self.steps) or "clean"

    @property
    def level(self) -> float | None:
        """How strong: 0 for clean, the step's own level for one step, None for a chain."""
        if not self.steps:
            return 0.0
        return self.steps[0].level if len(self.steps) == 1 else None

    def __str__(self) -> str:
        return self.name
