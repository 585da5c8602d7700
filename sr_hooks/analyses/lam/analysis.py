"""LAM, local attribution maps (Gu and Dong, arXiv 2011.11036): which input pixels an output patch depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, cast, overload

import torch

from sr_hooks.analyses.base import Analysis, execute
from sr_hooks.analyses.lam.integration import Explanation
from sr_hooks.analyses.lam.options import LamOptions, OneWindow
from sr_hooks.analyses.lam.question import Question
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.attribution.image_paths import ImagePath
from sr_hooks.attribution.objectives.objective import Objective
from sr_hooks.core.options import with_options
from sr_hooks.core.progress import progress_bar
from sr_hooks.figures.options import MAP_OPTIONS, FigureOptions
from sr_hooks.hookspecs import hookimpl
from sr_hooks.inference.inputs import prepare_input
from sr_hooks.inference.memory.fallback import attempt
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result

__all__ = ["Lam", "LamResult", "lam"]


class Lam(Analysis[LamOptions]):
    """Which input pixels does an output patch depend on?"""

    name = "lam"
    options_type = LamOptions
    result_type = LamResult
    joins_windows = True
    watch_names: ClassVar[Mapping[str, str]] = {"windows": "window"}
    better: ClassVar[Mapping[str, str]] = {"diffusion_index": "higher"}
    figure_options = MAP_OPTIONS

    def run(self, network: Network, images: Any, options: LamOptions) -> LamResult | list[LamResult]:
        prepared = prepare_input(
            network, images, window=options.window, frame=options.frame, one_batch=True, regions=True
        )
        inputs, windows = prepared.images, list(prepared.windows)
        results: list[LamResult] = []
        with progress_bar("LAM", unit="gradients") as progress:
            if network.frames:
                for clip in inputs:
                    framed = network.at_frame(network.frame_index(clip.shape[1], options.frame))
                    results += _explained(Question(framed, windows, options, progress), clip)
            else:
                question = Question(network, windows, options, progress)
                batch = inputs[0] if len(inputs) == 1 else torch.cat(inputs)  # a large image is not copied
                for part in batch.split(question.images_at_once(tuple(inputs[0].shape[1:]))):
                    results += _explained(question, part)
        return results if prepared.listed or len(inputs) > 1 else results[0]

    @classmethod
    def figure(cls, result: Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks.analyses.lam.clip_figure import lam_clip_figure
        from sr_hooks.analyses.lam.figure import lam_figure

        lam_result = cast("LamResult", result)
        return lam_clip_figure(lam_result, options) if lam_result.is_clip else lam_figure(lam_result, options)


def _explained(question: Question, images: torch.Tensor) -> list[LamResult]:
    """The results of images (N,C,h,w), image by image and window by window.

    Gradients halve their batches themselves. Where one at a time does not fit, fewer images are explained together;
    of a single image then only the part that the windows depend on is computed, where a cone is proved.

    Raises:
        MemoryError: an image does not fit even so.
    """
    question.network.backward.note_input(images)  # memory may run out before the network is called
    tried = attempt(lambda: Explanation(question, images).results())
    if not tried.ran_out:
        return tried.result()
    if len(images) > 1:
        half = len(images) // 2
        return _explained(question, images[:half]) + _explained(question, images[half:])
    if question.saves_memory or question.options.compat or not _is_cut(question, images):
        return tried.result()
    question.saves_memory = True
    return _explained(question, images)


def _is_cut(question: Question, images: torch.Tensor) -> bool:
    """Whether less than all is computed where only what the windows depend on is."""
    question.saves_memory = True
    try:
        cones = question.window_cones(tuple(images.shape[1:]), question.options.precision)
        return bool(cones and cones.groups)
    finally:
        question.saves_memory = False


def _lam(network: Any, lr: Any, options: LamOptions) -> LamResult | list[LamResult]:
    return cast("LamResult | list[LamResult]", execute(Lam, network, lr, options))


@overload
def lam(
    network: Any,
    lr: Any,
    *,
    window: OneWindow,
    frame: Literal["middle"] | int = "middle",
    objective: str | Callable[..., Any] | Objective = "gradient",
    path: str | Callable[..., Any] | ImagePath = "blur",
    steps: Literal["auto"] | int = "auto",
    tolerance: float = LamOptions.tolerance,
    precision: Literal["float32", "tf32", "bfloat16"] = "float32",
    compat: Literal["lam_demo"] | None = None,
    seed: int = 0,
    cone: Literal["auto", "off"] = "auto",
    picture: Literal["auto", "whole", "window"] = "auto",
    deterministic: bool = False,
    gt: Any = None,
) -> LamResult: ...
@overload
def lam(network: Any, lr: Any, *, window: Sequence[OneWindow], **options: Any) -> list[LamResult]: ...
@with_options(LamOptions, _lam, where="lam")
def lam(
    network: Any, lr: Any, *, window: OneWindow | Sequence[OneWindow], **options: Any
) -> LamResult | list[LamResult]:
    """Compute the local attribution map (LAM) of a window of the output, with the diffusion index.

    The map says how much each input pixel changes the window. The attribution is the integral of dD/dx along a path of
    images x(t), from a baseline to the input (arXiv 2011.11036, eq. 5 and 6). D is an objective over the window: by
    default the sum of gradient magnitudes. The default path is a Gaussian blur that decreases to zero. The integral is
    a trapezoid sum over image differences. Nodes are added where the integrand changes most.

    Not for: comparing diffusion indices between input sizes or window sizes (compare `effective_pixels`, and state the
    sizes); reading a map whose verdict says that the output left its range; networks whose input is no image.

    Args:
        network: a torch module or a Network.
        lr: (C,h,w) or (N,C,h,w) float in [0, 1], or an image file's path. For a network over clips: a clip (T,C,h,w),
            several (N,T,C,h,w), or a folder of frames; one image is repeated as every frame. See docs/video.md.
        ...: the options, each described at `LamOptions`.

    Returns:
        A LamResult. A batch or a list of windows gives a list: image by image, and window by window. Type checkers
        look at the windows alone: for a batch of images, give a list of windows.

    Raises:
        SRHooksError: the window, image, network or option is wrong; the subclass and the message say which.

    Examples:
        >>> import torch, sr_hooks
        >>> from sr_hooks.demo import demo_network
        >>> lr = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
        >>> result = sr_hooks.lam(demo_network(), lr, window=(16, 16, 16), steps=8)
        >>> result.map.shape, 0 < result.diffusion_index < 100
        ((12, 12), True)
    """
    raise NotImplementedError  # with_options calls _lam


@hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Lam]
