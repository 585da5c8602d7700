"""`Step`, one operation of a degradation, and `Degradation`, a named chain of steps."""

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
    """One operation on one image. A factory of the hook `register_degradations` returns a Step.

    Attributes:
        kind: the name without the argument.
        apply: (image (1,C,H,W), NumPy generator, LR size (h,w)) to image. All randomness comes from that generator.
        stage: "hr" before the downsampling, "lr" after it, "down" if the step replaces the downsampling.
        argument: the argument in one fixed form ("2" also for "2.0"), because the argument is part of the seed.
        level: the strength, 0 for none; None if the strength is no single number.
        moved: whether the stage differs from the kind's usual stage.

    Examples:
        >>> import torch
        >>> from sr_hooks.degradations import Step, make_lr
        >>> invert = Step("invert", lambda image, rng, size: 1 - image, "hr")
        >>> float(make_lr(torch.ones(1, 3, 8, 8), invert, scale=2).max())
        0.0
    """

    kind: str
    apply: Apply
    stage: Literal["hr", "lr", "down"]
    argument: str = ""
    level: float | None = None
    moved: bool = False

    @property
    def name(self) -> str:
        """The step as it is written, e.g. `noise:20@hr`."""
        return self.kind + (f":{self.argument}" if self.argument else "") + (f"@{self.stage}" if self.moved else "")


@dataclass(frozen=True)
class Degradation:
    """A named chain of steps. A chain without steps is `clean`.

    Examples:
        >>> from sr_hooks.degradations import Degradation, parse_degradation
        >>> Degradation().name, parse_degradation("blur:2.0+noise:10").name, parse_degradation("blur:2+noise:10").kind
        ('clean', 'blur:2+noise:10', 'blur+noise')
    """

    steps: tuple[Step, ...] = ()

    @property
    def name(self) -> str:
        """The chain as it is written. Two degradations of one name give the same images for the same seed."""
        return "+".join(step.name for step in self.steps) or "clean"

    @property
    def kind(self) -> str:
        """The kinds without arguments, e.g. `blur+noise`."""
        return "+".join(step.kind for step in self.steps) or "clean"

    @property
    def level(self) -> float | None:
        """The strength: 0 for clean, the step's own level for one step, None for a chain."""
        if not self.steps:
            return 0.0
        return self.steps[0].level if len(self.steps) == 1 else None

    def __str__(self) -> str:
        return self.name
