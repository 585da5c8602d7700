"""Which patches are easy, medium and hard for a network, and what share of its compute each takes.

After ClassSR (Kong et al., arXiv 2103.04039), which sends sub-images of 32x32 input pixels, 28 apart, to networks of
different size by the PSNR that one network reaches on them: below 27.17 dB hard, above 35.15 dB easy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import Watcher
from sr_hooks.core import progress_bar
from sr_hooks.degradations import make_lr, parse_degradation
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.figures import FigureOptions
from sr_hooks.images import psnr, quantise
from sr_hooks.inference import prepare_input
from sr_hooks.statistics import rank_correlation
from sr_hooks_difficulty.counting import Counted, multiply_accumulates
from sr_hooks_difficulty.published import FAULTS, THRESHOLDS, published_psnr

__all__ = ["CLASSES", "CLASSSR", "Difficulty", "DifficultyOptions", "corners", "surroundings"]

CLASSES = ("hard", "medium", "easy")
CLASSSR = (27.17, 35.15)
"""PSNR in dB that bounds ClassSR's medium class."""
_SHOWN = 3  # images whose maps are kept and drawn


@dataclass(frozen=True)
class DifficultyOptions:
    """Options of the difficulty and compute map."""

    patch: int = sr_hooks.option(32, "side of a patch in input pixels")
    step: int = sr_hooks.option(28, "from one patch to the next, in input pixels")
    thresholds: tuple[float, float] = sr_hooks.option(
        CLASSSR, "PSNR in dB below which a patch is hard, and from which on it is easy"
    )
    margin: int = sr_hooks.option(0, "input pixels around a patch that the network sees too, where there are any")
    degradation: Any = sr_hooks.option("clean", "how inputs are made of the images: clean, blur:2, noise:20, ...")
    colour: Literal["rgb", "y"] = sr_hooks.option("rgb", "PSNR over rgb or y, the luma")
    border: int = sr_hooks.option(0, "output pixels left out of the PSNR at every edge of a patch")
    seed: int = sr_hooks.option(0, "of the degradation")
    compat: Literal["classsr"] | None = sr_hooks.option(
        None, "classsr: patches, PSNR and thresholds as the published code has them, with its faults"
    )

    def __post_init__(self) -> None:
        if self.patch < 1 or min(self.border, self.margin, self.seed) < 0:
            raise ValueError("patch must be at least 1; border, margin and seed 0 or more")
        if not 1 <= self.step <= self.patch:
            raise ValueError(f"step is {self.step}: 1 to patch ({self.patch}), or pixels between patches were left out")
        if not self.thresholds[0] < self.thresholds[1]:
            raise ValueError(f"thresholds are {self.thresholds}: the lower one first")


class DifficultyWatcher(Watcher):
    """Refuses before training images that hold no patch."""

    def check(self, network: sr_hooks.Network) -> None:
        super().check(network)
        parse_degradation(self.options.degradation)
        for image in self.context.images:
            corners(int(image.shape[-2] / network.scale), int(image.shape[-1] / network.scale), self.options)
        _published(self.options, network.scale)


class Difficulty(sr_hooks.Analysis):
    """Which patches are hard, and what share of the compute does each take?"""

    name = "difficulty"
    figure_options = ("colormap", "scale", "overlay", "crop")
    options_type = DifficultyOptions
    takes = "hr"
    watcher_type = DifficultyWatcher
    watch_images = 4

    def run(self, network: sr_hooks.Network, images: Any, options: DifficultyOptions) -> sr_hooks.Result:
        scale = network.scale
        options = _published(options, scale)
        others = 0  # classes that ClassSR's border changes
        rows: list[tuple[int, int, int, float]] = []
        counts: list[Counted] = []
        arrays: dict[str, np.ndarray] = {}
        several = prepare_input(network, images, clips=False).images
        sizes = [(int(image.shape[-2] / scale), int(image.shape[-1] / scale)) for image in several]
        total = sum(len(corners(*size, options)) for size in sizes)
        with progress_bar("difficulty", total, unit="patches") as bar:
            for index, image in enumerate(several):
                lr = make_lr(image, options.degradation, scale=scale, seed=options.seed, first=index)
                lr = quantise(lr) if options.compat else lr
                height, width = network.output_size(*lr.shape[-2:])
                for top, left in corners(lr.shape[-2], lr.shape[-1], options):
                    output, counted = _restored(network, lr, top, left, options)
                    y, x = round(top * scale), round(left * scale)
                    truth = image[..., y : y + output.shape[-2], x : x + output.shape[-1]].to(output)
                    value = _psnr(output, truth, options)
                    rows.append((index, y, x, value))
                    others += _differs(value, output, truth, options, round(scale))
                    counts.append(counted)
                    bar.update(1)
                if index < _SHOWN:
                    arrays[f"image_{index}"] = quantise(image[0, :, :height, :width]).mul(255).byte().cpu().numpy()
        return _result(network, rows, counts, arrays, options, others)

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_difficulty.figure import difficulty_figure

        return difficulty_figure(result, options or FigureOptions())


def _published(options: DifficultyOptions, scale: float) -> DifficultyOptions:
    """With `compat`, the options that the published code has.

    Raises:
        OptionError: options that are not the published ones.
    """
    if not options.compat:
        return options
    if options.thresholds not in (CLASSSR, THRESHOLDS) or options.margin or options.colour != "rgb" or options.border:
        raise OptionError(
            "compat='classsr' is the published procedure: leave out thresholds, margin, colour and border"
        )
    return replace(options, thresholds=THRESHOLDS, border=round(scale))


def _psnr(output: torch.Tensor, truth: torch.Tensor, options: DifficultyOptions) -> float:
    if options.compat:
        return published_psnr(output, truth, options.border)
    return float(psnr(quantise(output), truth, border=options.border, colour=options.colour))


def _differs(value: float, output: torch.Tensor, truth: torch.Tensor, options: DifficultyOptions, border: int) -> bool:
    """Whether a border of the scale, which ClassSR's thresholds were drawn with, puts a patch into another class."""
    side = min(output.shape[-2:])
    if options.compat or options.thresholds != CLASSSR or options.border == border or side <= 2 * border:
        return False
    published = float(psnr(quantise(output), truth, border=border, colour=options.colour))
    return bool(np.digitize(value, CLASSSR) != np.digitize(published, CLASSSR))


def _restored(
    network: sr_hooks.Network, lr: torch.Tensor, top: int, left: int, options: DifficultyOptions
) -> tuple[torch.Tensor, Counted]:
    """The output of one patch, run with its surroundings and cut out again, and what that took."""
    above, before, height, width = surroundings(top, left, (lr.shape[-2], lr.shape[-1]), options.patch, options.margin)
    part = lr[..., above : above + height, before : before + width].to(network.device)
    output, counted = multiply_accumulates(network, part)
    y, x, side = (round(value * network.scale) for value in (top - above, left - before, options.patch))
    return output[..., y : y + side, x : x + side], counted


def surroundings(top: int, left: int, size: tuple[int, int], patch: int, margin: int) -> tuple[int, int, int, int]:
    """Top, left, height, width of a patch with `margin` pixels around it, in an input of a size.

    At the image's edge surroundings lie further in, so that every patch runs at the same size.
    """
    height, width = (min(length, patch + 2 * margin) for length in size)
    above = min(max(top - margin, 0), size[0] - height)
    before = min(max(left - margin, 0), size[1] - width)
    return above, before, height, width


def corners(height: int, width: int, options: DifficultyOptions) -> list[tuple[int, int]]:
    """Top left corners of the patches of an input, row by row, what remains at the edges left out.

    With `compat` one more row or column ends with the image where more than 12 of 32 pixels would remain: ClassSR's.

    Raises:
        ImageError: the input is smaller than a patch.
    """
    if min(height, width) < options.patch:
        raise ImageError(
            f"an input of {height}x{width} pixels holds no patch of {options.patch}x{options.patch}: give larger "
            "images or a smaller patch"
        )
    tops, lefts = (list(range(0, length - options.patch + 1, options.step)) for length in (height, width))
    for starts, length in ((tops, height), (lefts, width)) if options.compat else ():
        if length - (starts[-1] + options.patch) > options.patch * 12 / 32:
            starts.append(length - options.patch)
    return [(top, left) for top in tops for left in lefts]


def _result(
    network: sr_hooks.Network,
    rows: list[tuple[int, int, int, float]],
    counts: list[Counted],
    arrays: dict[str, np.ndarray],
    options: DifficultyOptions,
    others: int,
) -> sr_hooks.Result:
    table = np.array(rows)
    where, values = table[:, :3].astype(np.int64), table[:, 3]
    macs = np.array([counted.total for counted in counts], dtype=np.float64)
    classes = np.digitize(values, options.thresholds)
    arrays |= {"where": where, "psnr": values, "macs": macs.astype(np.int64), "classes": classes}
    side = round(options.patch * network.scale)
    for index in [int(key.removeprefix("image_")) for key in list(arrays) if key.startswith("image_")]:
        size, in_image = arrays[f"image_{index}"].shape[-2:], where[:, 0] == index
        arrays[f"psnr_map_{index}"] = _mean_map(where[in_image, 1:], values[in_image], side, size)
        arrays[f"compute_map_{index}"] = _mean_map(
            where[in_image, 1:], macs[in_image] / max(macs.mean(), 1), side, size
        )
    varies = bool(np.ptp(macs) > 0)
    scalars: dict[str, Any] = {
        "patches": len(values),
        "psnr": float(values.mean()),
        "gmacs_a_patch": float(macs.mean() / 1e9),
        "compute_varies": varies,
        "other_classes": others,
    }
    if options.compat:
        scalars |= {"compat": options.compat, "faults": list(FAULTS)}
    for kind, name in enumerate(CLASSES):
        scalars[name] = float((classes == kind).mean())
        scalars[f"compute_{name}"] = float(macs[classes == kind].sum() / macs.sum()) if macs.sum() else None
    both = varies and np.ptp(values) > 0
    scalars["rank_correlation"] = rank_correlation(values, macs) if both else None
    scalars["layers"] = _layers(counts)
    provenance = {"seed": options.seed, "patch_in_output_pixels": side}
    return sr_hooks.Result("difficulty", arrays, scalars, provenance, _verdict(scalars, network, options))


def _mean_map(where: np.ndarray, values: np.ndarray, side: int, size: tuple[int, ...]) -> np.ndarray:
    """Over output pixels, the mean of the values of all patches that cover them; NaN where none does."""
    sums, covered = np.zeros(size), np.zeros(size)
    for (top, left), value in zip(where, values, strict=True):
        sums[top : top + side, left : left + side] += value
        covered[top : top + side, left : left + side] += 1
    return np.where(covered > 0, sums / np.maximum(covered, 1), np.nan).astype(np.float32)


def _layers(counts: list[Counted]) -> list[dict[str, Any]]:
    """Layer by layer, what they took over all patches; largest first."""
    sums: dict[str, int] = {}
    for counted in counts:
        for layer, macs in counted.layers.items():
            sums[layer] = sums.get(layer, 0) + macs
    whole = max(sum(sums.values()), 1)
    ordered = sorted(sums.items(), key=lambda item: -item[1])
    return [{"layer": layer, "macs": macs / len(counts), "share": macs / whole} for layer, macs in ordered]


def _verdict(scalars: dict[str, Any], network: sr_hooks.Network, options: DifficultyOptions) -> str:
    if scalars["compute_easy"] is None:
        return "not counted: no convolution and no matrix product was seen, so nothing can be said of its compute."
    shares = ", ".join(f"{scalars[name]:.0%} {name}" for name in CLASSES)
    if scalars["compute_varies"]:
        sentence = f"compute varies from patch to patch: patches are {shares}, and hard ones take "
        sentence += f"{scalars['compute_hard']:.0%} of the compute, easy ones {scalars['compute_easy']:.0%}"
        rank = scalars["rank_correlation"]
        if rank is not None and abs(rank) < 0.2:
            sentence += f"; it does not follow difficulty (rank correlation with PSNR {rank:.2f})"
        elif rank is not None:
            sentence += f"; more goes where PSNR is {'low' if rank < 0 else 'high'} (rank correlation {rank:.2f})"
    else:
        sentence = f"every patch costs the same: patches, and with them the compute, are {shares}"
    return "; ".join([sentence, *_notes(scalars, network, options)]) + "."


def _notes(scalars: dict[str, Any], network: sr_hooks.Network, options: DifficultyOptions) -> list[str]:
    notes = []
    fullest = max(CLASSES, key=lambda name: scalars[name])
    if scalars[fullest] > 0.9:
        notes.append("the split tells little here, set thresholds of your own")
    if options.thresholds in (CLASSSR, THRESHOLDS) and (
        network.scale != 4 or parse_degradation(options.degradation).steps
    ):
        notes.append("these thresholds were drawn for clean inputs at x4, so the classes are not ClassSR's")
    if scalars["other_classes"]:
        notes.append(
            f"{scalars['other_classes']} of {scalars['patches']} patches are of another class with a border of "
            f"{round(network.scale)} output pixels, which the thresholds were drawn with (border, or compat='classsr')"
        )
    if options.compat:
        notes.append(f"published procedure, faults that stay: {'; '.join(FAULTS)}")
    if scalars["patches"] < 20:
        notes.append(f"only {scalars['patches']} patches")
    return notes
