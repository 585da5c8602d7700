"""LAM, local attribution maps (Gu and Dong, arXiv 2011.11036): which input pixels an output patch depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch

from sr_hooks.analyses.base import Analysis, execute
from sr_hooks.analyses.lam.integration import Explanation, Question
from sr_hooks.analyses.lam.options import LamOptions
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.core.options import from_mapping
from sr_hooks.core.progress import progress_bar
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.hookspecs import hookimpl
from sr_hooks.images.clips import as_clips
from sr_hooks.images.image import as_batch
from sr_hooks.images.windows import parse_windows
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result

__all__ = ["Lam", "LamResult", "lam"]


class Lam(Analysis[LamOptions]):
    """Which input pixels does an output patch depend on?"""

    name = "lam"
    options_type = LamOptions
    result_type = LamResult
    watch_names: ClassVar[Mapping[str, str]] = {"windows": "window"}
    better: ClassVar[Mapping[str, str]] = {"diffusion_index": "higher"}

    def run(self, network: Network, images: Any, options: LamOptions) -> LamResult | list[LamResult]:
        inputs = as_clips(images, network.frames) if network.frames else _images(network, images, options)
        windows, several = parse_windows(options.window)
        for each in inputs:
            network.check(each)
            for window in windows:
                window.check(*network.output_size(*each.shape[-2:]))
        results: list[LamResult] = []
        with progress_bar("LAM", unit="gradients") as progress:
            if network.frames:
                for clip in inputs:
                    framed = network.at_frame(network.frame_index(clip.shape[1], options.frame))
                    results += Explanation(Question(framed, windows, options, progress), clip).results()
            else:
                question = Question(network, windows, options, progress)
                for part in torch.cat(inputs).split(question.images_at_once(tuple(inputs[0].shape[1:]))):
                    results += Explanation(question, part).results()
        return results if several or len(inputs) > 1 else results[0]

    @classmethod
    def figure(cls, result: Result) -> Any:
        from sr_hooks.analyses.lam.figure import lam_figure
        from sr_hooks.analyses.lam.figure_clip import lam_clip_figure

        found = cast("LamResult", result)
        return lam_clip_figure(found) if found.is_clip else lam_figure(found)


def _images(network: Network, images: Any, options: LamOptions) -> list[torch.Tensor]:
    if options.frame != "middle":
        raise OptionError(f"frame is {options.frame}, and {network.name} takes images, which have none")
    if isinstance(images, (torch.Tensor, np.ndarray)) and images.ndim == 5:
        raise ImageError(
            f"{network.name} takes images, and this is a clip of shape {tuple(images.shape)}; Network(..., frames=T) "
            "says that a module takes clips"
        )
    return list(as_batch(images).split(1))


def lam(
    network: Any,
    lr: Any,
    *,
    window: Any,
    frame: Literal["middle"] | int = "middle",
    objective: Any = "gradient",
    path: Any = "blur",
    steps: Literal["auto"] | int = "auto",
    tolerance: float = LamOptions.tolerance,
    precision: Literal["float32", "tf32", "bfloat16"] = "float32",
    compat: Literal["lam_demo"] | None = None,
    seed: int = 0,
    cone: Literal["auto", "off"] = "auto",
    picture: Literal["auto", "whole", "window"] = "auto",
    gt: Any = None,
) -> Any:
    """Local attribution map: which input pixels the output's window depends on, with the diffusion index.

    The attribution is the integral of dD/dx along a path of images x(t) from a baseline to the input
    (arXiv 2011.11036, eq. 5 and 6), D being an objective over the window: by default the sum of gradient
    magnitudes, along a fading Gaussian blur. It is a trapezoid sum over image differences whose nodes are
    bisected where the integrand changes most.

    Not for: comparing diffusion indices across canvases or window sizes (use `effective_pixels`, and say so);
    reading a map whose verdict says that the output left its range; networks whose input is no image.

    Args:
        network: a torch module or a Network.
        lr: (C,h,w) or (N,C,h,w) float in [0, 1], or an image file's path. For a network over clips: a clip (T,C,h,w)
            or several (N,T,C,h,w), or a folder of frames; one image stands still. See docs/video.md.
        window: (top, left, size) or (top, left, height, width) in output pixels, or a list of them.
        frame: of a network over clips, the output frame that the window is in: a number from 0, or "middle". A network
            that returns one frame alone has that one, by the number of the input frame that it restores.
        objective: "gradient", "intensity", "channel:K", "gabor:ANGLE", "residual", "loss" (with gt), a plugin's,
            or a function of the window's pixels (1,C,height,width) to a scalar.
        path: "blur[:STD]", "linear:black", "linear:mean", "linear:blur", "gaussian[:STD]", "uniform[:WIDTH]", a
            plugin's, or a function (image, t) to the image at t of [0, 1].
        steps: gradients to take, or "auto": as many as the tolerance needs, at most 65.
        tolerance: estimated relative L2 error of the attribution at which "auto" stops.
        precision: "bfloat16" runs the network under autocast, "tf32" lets a GPU round what it multiplies; the result's
            `precision_deviation` and `di_deviation` say what that cost, measured.
        compat: "lam_demo" reproduces the published code, 50 right-end steps and its faults.
        seed: of the noise paths.
        cone: "auto" computes only what the window depends on, wherever that is proved to give the same gradients;
            "off" computes all of the network.
        picture: how much of the output is computed for the figure: "whole", the "window" and its surroundings (NaN
            elsewhere), or "auto": whole unless that costs most of the time.
        gt: ground truth (1,C,H,W) in [0, 1] for objective "loss".

    Returns:
        A LamResult; a list of them, image by image and window by window, for a batch or a list of windows.

    Raises:
        SRHooksError: a subclass that says what is wrong with the window, image, network or option.
    """
    given = {
        "window": window,
        "frame": frame,
        "objective": objective,
        "path": path,
        "steps": steps,
        "tolerance": tolerance,
        "precision": precision,
        "compat": compat,
        "seed": seed,
        "cone": cone,
        "picture": picture,
        "gt": gt,
    }
    return execute(Lam, network, lr, from_mapping(LamOptions, given, where="lam"))


@hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Lam]
