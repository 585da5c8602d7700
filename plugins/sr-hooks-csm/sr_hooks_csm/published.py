"""`compat="rdsr"`: the public code of Reflash Dropout as it is, for comparing values with the paper's.

Its faults stay, and the verdicts name them.
"""

from __future__ import annotations

from typing import Any

import torch

from sr_hooks.attribution import Objective
from sr_hooks.errors import OptionError
from sr_hooks.images import Window

__all__ = ["DROPOUT_FAULTS", "FAULTS", "PublishedGradient", "only_published", "truncated"]

_SHARED = (
    "outputs and ground truth are cut down, not rounded, to 8 bits before the PSNR",
    "the PSNR has no border left out",
)
FAULTS = (
    "the objective leaves out the output's last row and column",
    "its root is not smoothed, so that a flat spot of the output makes the whole map no number (counted as 0 here)",
    "the channels left are scaled until the sum of |feature| is what it was",
    *_SHARED,
)
DROPOUT_FAULTS = ("what is left is scaled until the sum of |feature| is what it was, not by the share left", *_SHARED)


class PublishedGradient(Objective):
    """The sum of sqrt(dy^2 + dx^2) over all output pixels but the last row and column; not smoothed."""

    name = "gradient (rdsr)"

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        """(N,C,H,W) to (N,)."""
        corner = output[..., :-1, :-1]
        squares = (corner - output[..., 1:, :-1]).square() + (corner - output[..., :-1, 1:]).square()
        return squares.sqrt().sum(dim=(1, 2, 3))


def truncated(image: torch.Tensor) -> torch.Tensor:
    """An image in [0, 1] cut down to 8 bits, as torchvision's to_pil_image does."""
    return image.float().clamp(0, 1).mul(255).floor().div(255)


def only_published(options: Any, **own: Any) -> None:
    """Refuse values of these options that are not the published ones.

    Raises:
        OptionError: one that is not.
    """
    for name, allowed in own.items():
        if getattr(options, name) not in allowed:
            raise OptionError(f"compat='rdsr' is the published procedure: leave out {name}")
