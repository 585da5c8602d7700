"""Chunks after STDO (arXiv 2303.08331): a clip's patches in groups by the PSNR of a general network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import Watcher, other_networks
from sr_hooks.core import progress_bar
from sr_hooks.degradations import parse_degradation
from sr_hooks.figures import FigureOptions
from sr_hooks.images import downsample, quantise
from sr_hooks.inference import prepare_input
from sr_hooks_difficulty.analysis import DifficultyOptions, corners
from sr_hooks_difficulty.chunks.patches import Measured, frames_of, measure
from sr_hooks_difficulty.chunks.summary import groups_of, judge, summarise

__all__ = ["Chunks", "ChunksOptions"]

_LONGEST = 320  # pixels of a side of the frames that a result holds


@dataclass(frozen=True)
class ChunksOptions:
    """Options of chunks."""

    groups: int = sr_hooks.option(4, "groups of patches, each with the same number", at_least=2, at_most=256)
    patch: int = sr_hooks.option(32, "side of a patch in input pixels; patches do not overlap", at_least=1)
    margin: int = sr_hooks.option(0, "input pixels around a patch that the network sees too", at_least=0)
    degradation: Any = sr_hooks.option("clean", "how inputs are made of the frames: clean, blur:2, noise:20, ...")
    colour: Literal["rgb", "y"] = sr_hooks.option("rgb", "PSNR over rgb or y, the luma")
    others: Any = sr_hooks.option((), "further networks to measure on the same groups, such as one trained on a group")
    seed: int = sr_hooks.option(0, "of the degradation, the permutations and the intervals", at_least=0)


class ChunksWatcher(Watcher):
    """Refuses before training frames that hold no patch, or that are of different sizes."""

    def check(self, network: sr_hooks.Network) -> None:
        super().check(network)
        parse_degradation(self.options.degradation)
        frames = frames_of(list(self.context.images))
        grid = DifficultyOptions(self.options.patch, self.options.patch)
        corners(int(frames.shape[-2] / network.scale), int(frames.shape[-1] / network.scale), grid)


class Chunks(sr_hooks.Analysis[ChunksOptions]):
    """Which patches of a clip are equally hard, and where do they go from frame to frame?

    Arrays, for P patches of T frames: `where` (P,3), frame, top and left in output pixels; `psnr` and `bicubic` (P,) in
    dB; `group` (P,), 0 for the hardest; `groups` (T, rows, columns), the same as maps; `frames` (T,C,h,w) uint8, the
    frames reduced to at most 320 pixels, for figure and film; `psnr_others` (M,P), of further networks.
    """

    name = "chunks"
    figure_options = ("colormap", "overlay", "crop")
    options_type = ChunksOptions
    takes = "hr"
    watcher_type = ChunksWatcher
    watch_images = 4

    @torch.no_grad()
    def run(self, network: sr_hooks.Network, images: Any, options: ChunksOptions) -> sr_hooks.Result:
        frames = prepare_input(network, frames_of(images), clips=False).images
        networks = other_networks(options.others, network)
        with progress_bar("chunks", len(frames) * len(networks), unit="frames") as bar:
            measured = measure(networks, frames, options, bar)
        return _result(measured, frames, options)

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_difficulty.chunks.figure import chunks_figure

        return chunks_figure(result, options or FigureOptions())

    @classmethod
    def film(cls, results: list[sr_hooks.Result]) -> list[np.ndarray]:
        """A picture for each frame of each result, (H,W,3) uint8: the frame beside its groups."""
        from sr_hooks_difficulty.chunks.film import chunks_film

        return chunks_film(results)


def _result(measured: Measured, frames: Any, options: ChunksOptions) -> sr_hooks.Result:
    names = list(measured.psnr)
    values = measured.psnr[names[0]]
    group = groups_of(values, options.groups)
    arrays = {
        "where": measured.where,
        "psnr": values,
        "bicubic": measured.psnr["bicubic"],
        "group": group,
        "groups": group.reshape(measured.shape),
        "frames": np.concatenate([_small(frame, measured.canvas) for frame in frames]),
    }
    others = [name for name in names[1:] if name != "bicubic"]
    if others:
        arrays["psnr_others"] = np.stack([measured.psnr[name] for name in others])
    scalars = summarise(arrays, others, options.groups, options.seed)
    covered = measured.side**2 * len(values) / (len(frames) * measured.canvas[0] * measured.canvas[1])
    scalars["covered"] = float(covered)
    provenance = {
        "seed": options.seed,
        "patch_in_output_pixels": measured.side,
        "canvas": list(measured.canvas),
    }
    return sr_hooks.Result("chunks", arrays, scalars, provenance, judge(scalars))


def _small(frame: torch.Tensor, canvas: tuple[int, int]) -> np.ndarray:
    """(1,C,h,w) uint8 of a frame, its longest side at most 320 pixels."""
    frame = frame[..., : canvas[0], : canvas[1]]
    factor = max(canvas) / _LONGEST
    small = downsample(frame, factor) if factor > 1 else frame
    return quantise(small).mul(255).round().byte().cpu().numpy()
