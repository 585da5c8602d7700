"""What an objective is: a scalar of the output window; and an objective made of a function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from sr_hooks.errors import OptionError
from sr_hooks.images.windows import Window

__all__ = ["Custom", "Objective"]


class Objective(ABC):
    """A scalar of an output window for each image of a batch.

    Attributes:
        name: how results call it.
        margin: how many output pixels around the window it looks at.
        takes_regions: whether it sums over a region's mask alone, as `sr_hooks.images.inside` does; else it is refused
            for windows that are no rectangles.
        runs_foreign_code: whether its errors are those of a function or module of the caller.
    """

    name = "objective"
    margin = 0
    takes_regions = False
    runs_foreign_code = False

    @abstractmethod
    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        """(N,C,H,W) outputs, the (N,C,h,w) inputs that gave them, and the window, to (N,) scalars."""

    def is_ours(self) -> bool:
        """Whether sr_hooks answers for it, and neither a plugin nor the caller."""
        return type(self).__module__.startswith("sr_hooks.attribution.") and not self.runs_foreign_code


class Custom(Objective):
    """Any function of the window's pixels (1,C,height,width) that returns a scalar tensor."""

    runs_foreign_code = True

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        patch = window.crop(output)
        values = [self.function(patch[i : i + 1]) for i in range(len(patch))]
        for value in values:
            if not isinstance(value, torch.Tensor) or value.numel() != 1:
                got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
                raise OptionError(f"the objective {self.name} must return one scalar tensor, not {got}")
        return torch.stack([value.reshape(()) for value in values])
