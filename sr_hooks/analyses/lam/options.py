"""The options of LAM, for Python, the command line and option files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sr_hooks.analyses.determinism import DETERMINISTIC
from sr_hooks.attribution.image_paths import ImagePath
from sr_hooks.attribution.objectives.objective import Objective
from sr_hooks.core.options import option
from sr_hooks.images.masks import parse_regions
from sr_hooks.images.windows import Window

__all__ = ["LamOptions", "OneWindow"]

OneWindow = Window | str | Path | Sequence[int] | np.ndarray | Mapping[str, Any] | Sequence[tuple[float, float]]
"""A window or region of output pixels: (top, left, size), "mask.png" and what else `parse_regions` reads."""


@dataclass(frozen=True)
class LamOptions:
    """Options of LAM."""

    window: OneWindow | Sequence[OneWindow] = option(
        help="top, left, size or top, left, height, width in output pixels; or a mask of the output's size: an image "
        "file, a label of a label image (labels.png:3), and in Python an array, polygons of (y, x) or COCO's run "
        "lengths; or auto, the liveliest place; several windows give several results",
        example="window=(96, 120, 16)",
        checked=False,
    )
    frame: Literal["middle"] | int = option(
        "middle",
        "of a network over clips: the output frame that the window is in, a number from 0, or middle; a network that "
        "returns one frame alone has that one, by the number of the input frame that it restores",
        at_least=-100_000,  # a number below 0 is refused with the frames that there are
        at_most=100_000,
    )
    objective: str | Callable[..., Any] | Objective = option(
        "gradient",
        "what of the window is explained: gradient, intensity, channel:K, gabor:ANGLE, residual, loss (with gt, from "
        "Python), feature:NETWORK:LAYER[:WEIGHTS] (torchvision's), module:FILE.py:CLASS[:WEIGHTS], a plugin's; in "
        "Python also a function of the window's pixels (1,C,height,width) to a scalar",
    )
    path: str | Callable[..., Any] | ImagePath = option(
        "blur",
        "where the integral starts: blur[:STD], linear:black|mean|blur|maxdistance, gaussian[:STD], uniform[:WIDTH], "
        "expected:FOLDER[:COUNT] (the mean over lines from images of a folder), a plugin's; in Python also a function "
        "(image, t) to the image at t of [0, 1]",
    )
    steps: Literal["auto"] | int = option(
        "auto", "number of gradients, or auto: as many as the tolerance needs, at most 65", at_least=2, at_most=10_000
    )
    tolerance: float = option(0.04, "estimated relative L2 error of the attribution at which auto stops")
    precision: Literal["float32", "tf32", "bfloat16"] = option(
        "float32",
        "bfloat16 runs the network under autocast, tf32 lets a GPU round what it multiplies; the result's "
        "precision_deviation and di_deviation say what that cost, measured",
    )
    compat: Literal["lam_demo"] | None = option(
        None, "lam_demo reproduces the published code, 50 right-end steps and its faults"
    )
    seed: int = option(0, "of the noise paths and of the images of expected", at_least=0)
    cone: Literal["auto", "off"] = option(
        "auto",
        "auto computes only what the window depends on, wherever that is proved to give the same gradients; off "
        "computes all of the network",
    )
    picture: Literal["auto", "whole", "window"] = option(
        "auto",
        "how much of the output is computed for the figure: whole, the window and its surroundings (window), "
        "or auto: whole unless that costs most of the time",
    )
    deterministic: bool = option(False, DETERMINISTIC)
    gt: Any = option(
        None, "ground truth (1,C,H,W) in [0, 1], for the objective loss and for the PSNR of the window", flag=False
    )

    def __post_init__(self) -> None:
        if isinstance(self.steps, int) and self.steps < 2:
            raise ValueError(f"steps is {self.steps}: an integral needs at least 2 gradients")
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"tolerance is {self.tolerance}: it must be above 0")
        parse_regions(self.window)
