"""Metrics by name: PSNR and SSIM as BasicSR computes them, their shift-tolerant forms, and pyiqa's where installed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from sr_hooks.errors import ImageError, OptionError, nearest
from sr_hooks.images.metrics.alignment import LARGEST_SHIFT, psnr_shift, ssim_shift
from sr_hooks.images.metrics.fidelity import Colour, check_pair, cropped, psnr, ssim

__all__ = ["Metric", "make_metric"]


@dataclass(frozen=True)
class Metric:
    """A metric by name, made by `make_metric`. Call it with outputs and, where it needs them, targets.

    Attributes:
        name: as the caller wrote it.
        needs_target: whether it compares with a ground truth.
        higher_is_better: which way is good.
    """

    name: str
    needs_target: bool
    higher_is_better: bool
    function: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]

    def __call__(self, output: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
        """(N,C,H,W) in [0, 1], and targets as large, to (N,) float64.

        Raises:
            ImageError: no target where one is needed, or one of another shape.
        """
        if self.needs_target and target is None:
            raise ImageError(f"the metric {self.name} compares with a ground truth: give one")
        return self.function(output, target)


def make_metric(name: str, *, border: int = 0, device: torch.device | str | None = None) -> Metric:
    """A metric by name: psnr, psnr_y, ssim, ssim_y, `psnr-shift:K` and `ssim-shift:K`, or any that pyiqa knows.

    `psnr-shift:2` is PSNR at the best shift of at most 2 pixels along each axis (`psnr_shift`); the largest shift is
    part of the name, so that no number stands without it. `psnr_y-shift:2` and `ssim_y-shift:2` compare luma.

    pyiqa's learned metrics download their weights at first use; without a network connection only those can be had
    whose weights are on this machine already.

    Args:
        border: rows and columns left out at every edge, of both images.
        device: where pyiqa's metric is put; the CPU by default.

    Raises:
        OptionError: no such name, pyiqa is not installed, or it cannot make this metric (no connection).
    """
    base, colon, shift = name.partition(":")
    if base in _SHIFTED:
        return _at_best_shift(name, *_SHIFTED[base], _shift_of(name, shift if colon else "1"), border)
    if name in _OWN:
        measure, colour = _OWN[name]

        def function(output: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
            return measure(output, target, border=border, colour=colour)

        return Metric(name, True, True, function)
    return _from_pyiqa(name, border, device)


_OWN: dict[str, tuple[Callable[..., torch.Tensor], Colour]] = {
    "psnr": (psnr, "rgb"),
    "psnr_y": (psnr, "y"),
    "ssim": (ssim, "rgb"),
    "ssim_y": (ssim, "y"),
}


_SHIFTED: dict[str, tuple[Callable[..., torch.Tensor], Colour]] = {
    "psnr-shift": (psnr_shift, "rgb"),
    "psnr_y-shift": (psnr_shift, "y"),
    "ssim-shift": (ssim_shift, "rgb"),
    "ssim_y-shift": (ssim_shift, "y"),
}


def _shift_of(name: str, text: str) -> float:
    try:
        shift = float(text)
    except ValueError:
        shift = math.nan
    if not 0 < shift <= LARGEST_SHIFT:
        raise OptionError(
            f"the metric {name!r}: write the largest shift in pixels, above 0 and at most 16: psnr-shift:2"
        )
    return shift


def _at_best_shift(
    name: str, measure: Callable[..., torch.Tensor], colour: Colour, shift: float, border: int
) -> Metric:
    def function(output: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
        return measure(output, target, shift, border=border, colour=colour)

    return Metric(f"{name.partition(':')[0]}:{shift:g}", True, True, function)


def _from_pyiqa(name: str, border: int, device: torch.device | str | None) -> Metric:
    own = ", ".join([*_OWN, *(f"{shifted}:K" for shifted in _SHIFTED)])
    try:
        import pyiqa
    except ImportError as error:
        raise OptionError(
            f"the metric {name!r} is not one of {own}, and pyiqa, which has more, cannot be imported "
            f"({error}): pip install pyiqa"
        ) from None
    known = pyiqa.list_models()
    if name not in known:
        raise OptionError(f"no metric {name!r}; {nearest(name, [*_OWN, *_SHIFTED, *known])}")
    try:
        made: Any = pyiqa.create_metric(name, device=torch.device(device or "cpu"))
    except Exception as error:
        raise OptionError(
            f"pyiqa cannot make the metric {name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}. Where "
            "its weights must be downloaded, this needs a connection once"
        ) from error
    compares = made.metric_mode == "FR"

    def function(output: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
        if compares:
            assert target is not None
            check_pair(output, target)
            target = cropped(target.float(), border, 1).expand(len(output), -1, -1, -1)
        with torch.no_grad():
            scores = [
                made(image, *([target[i : i + 1]] if compares and target is not None else []))
                for i, image in enumerate(cropped(output.float().clamp(0, 1), border, 1).split(1))
            ]
        return torch.stack([torch.as_tensor(score).reshape(()) for score in scores]).double()

    return Metric(name, compares, not made.lower_better, function)
