"""What an objective is: a scalar of the output window; and an objective made of a function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from sr_hooks.errors import OptionError
from sr_hooks.images.windows import Window

__all__ = ["Custom", "Objective"]


class Objective(ABC):
    """Base of all objectives: from the window of the output to one number for each image.

    LAM differentiates this number with respect to the input. Subclass it, and return a factory from
    `register_objectives`; or give `lam` a function of the window's pixels, which is shorter.

    Attributes:
        name: the name in results.
        margin: number of output pixels around the window that the objective reads.
        takes_regions: True if the objective sums over a region's mask alone, as `sr_hooks.images.inside` does. An
            objective with False is refused for windows that are no rectangles.
        runs_foreign_code: True if an error in the objective is an error of the caller's function or module.

    Examples:
        >>> import torch, sr_hooks
        >>> from sr_hooks.attribution import Objective
        >>> class Contrast(Objective):
        ...     name = "contrast"
        ...
        ...     def __call__(self, output, inputs, window):  # (N,C,H,W), (N,C,h,w), Window to (N,)
        ...         return window.crop(output).flatten(1).std(dim=1)
        >>> network = torch.nn.Conv2d(3, 3, 3, padding=1)
        >>> sr_hooks.lam(network, torch.rand(1, 3, 12, 12), window=(4, 4, 4), objective=Contrast()).map.shape
        (12, 12)
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
    """The objective made of a function: pixels of the window (1,C,height,width) to a scalar tensor.

    The function must be differentiable. It is called once for each image.

    Raises:
        OptionError: the function returns something else than one scalar tensor.

    Examples:
        >>> import torch
        >>> from sr_hooks.attribution import make_objective
        >>> from sr_hooks.images import Window
        >>> brightest = make_objective(lambda pixels: pixels.max())
        >>> brightest(torch.tensor([[[[0.0, 0.5], [0.25, 1.0]]]]), None, Window(0, 0, 2, 1))
        tensor([0.2500])
    """

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
