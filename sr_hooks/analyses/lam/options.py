"""Options of LAM, on the command line, in Python and in option files."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sr_hooks.attribution.image_paths import ImagePath
from sr_hooks.attribution.objectives import Objective
from sr_hooks.core.options import option
from sr_hooks.images.windows import parse_windows

__all__ = ["LamOptions"]


@dataclass(frozen=True)
class LamOptions:
    """Options of LAM."""

    window: Any = option(
        help="top,left,size or top,left,height,width in output pixels; several are several results",
        example="window=(96, 120, 16)",
    )
    frame: Literal["middle"] | int = option(
        "middle", "of networks over clips: the output frame, from 0, that the window is in"
    )
    objective: str | Callable[..., Any] | Objective = option(
        "gradient",
        "what of the window is explained: gradient, intensity, channel:K, gabor:ANGLE, residual, or a plugin's",
    )
    path: str | Callable[..., Any] | ImagePath = option(
        "blur",
        "where the integral starts: blur[:STD], linear:black|mean|blur, gaussian[:STD], uniform[:WIDTH], or a plugin's",
    )
    steps: Literal["auto"] | int = option("auto", "number of gradients, or auto: until the tolerance is met")
    tolerance: float = option(0.04, "estimated relative error of the attribution at which auto stops")
    precision: Literal["float32", "tf32", "bfloat16"] = option("float32", "bfloat16: under autocast; tf32: on a GPU")
    compat: Literal["lam_demo"] | None = option(None, "lam_demo: the published procedure exactly, faults included")
    seed: int = option(0, "of the noise paths")
    cone: Literal["auto", "off"] = option(
        "auto", "off: compute all of the network, not only what the window depends on"
    )
    picture: Literal["auto", "whole", "window"] = option("auto", "how much of the output to compute for the figure")
    gt: Any = option(None, "ground truth (1,C,H,W) for the objective loss", flag=False)

    def __post_init__(self) -> None:
        if isinstance(self.steps, int) and self.steps < 2:
            raise ValueError(f"steps is {self.steps}: an integral needs at least 2 gradients")
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"tolerance is {self.tolerance}: it must be above 0")
        parse_windows(self.window)
