"""A clip's frames and its patches: how well networks restore each, and those of one group cut out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import sr_hooks
from sr_hooks.degradations import make_lr
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.images import as_clips, psnr, quantise, upsample
from sr_hooks.inference import calibrate, in_batches
from sr_hooks_difficulty.analysis import DifficultyOptions, corners, surroundings

__all__ = ["Measured", "frames_of", "group_patches", "measure"]


@dataclass(frozen=True)
class Measured:
    """The P patches of T frames, frame by frame, row by row.

    Attributes:
        where: (P,3) frame, top and left in output pixels.
        shape: (T, rows, columns) of the patches.
        psnr: of each network, and of bicubic enlargement under the name "bicubic": (P,) in dB.
        canvas: height and width of a whole output.
        side: of a patch, in output pixels.
    """

    where: np.ndarray
    shape: tuple[int, int, int]
    psnr: dict[str, np.ndarray]
    canvas: tuple[int, int]
    side: int


def frames_of(images: Any) -> torch.Tensor:
    """One clip (T,C,H,W) in [0, 1]: of a folder of frames, a video file, a tensor, or a list of frames.

    Raises:
        ImageError: several clips, or frames of different sizes.
    """
    if isinstance(images, Sequence) and not isinstance(images, str):
        frames = [frames_of(item) for item in images]
        if len({frame.shape[1:] for frame in frames}) > 1:
            raise ImageError("the frames have different sizes: chunks takes one clip, whose frames are of one size")
        return torch.cat(frames)
    clips = as_clips(images, 1)
    if len(clips) != 1:
        raise ImageError(f"{len(clips)} clips: chunks takes one")
    return clips[0][0]


def measure(
    networks: Mapping[str, sr_hooks.Network], frames: Sequence[torch.Tensor], options: Any, bar: Any = None
) -> Measured:
    """The PSNR of every patch of frames (1,C,H,W), by every network and by bicubic enlargement.

    The networks must have one scale. Patches do not overlap; what remains at the lower and right edge is left out.

    Raises:
        ImageError: a frame holds no patch.
        OptionError: a network over clips.
    """
    first = next(iter(networks.values()))
    for name, network in networks.items():
        if network.frames:
            raise OptionError(f"{name} takes clips: chunks looks at networks of single images, frame by frame")
    scale, grid = first.scale, DifficultyOptions(options.patch, options.patch)
    where: list[tuple[int, int, int]] = []
    values: dict[str, list[np.ndarray]] = {name: [] for name in [*networks, "bicubic"]}
    places: list[tuple[int, int]] = []
    for index, frame in enumerate(frames):
        lr = make_lr(frame, options.degradation, scale=scale, seed=options.seed, first=index)
        canvas = first.output_size(lr.shape[-2], lr.shape[-1])
        places = corners(lr.shape[-2], lr.shape[-1], grid)
        where += [(index, round(top * scale), round(left * scale)) for top, left in places]
        truth = _cut(frame, places, options.patch, scale)
        enlarged = _cut(upsample(lr, canvas), places, options.patch, scale)
        values["bicubic"].append(_psnr(enlarged, truth, options))
        for name, network in networks.items():
            values[name].append(_restored(network, lr, places, truth, options))
            if bar is not None:
                bar.update(1)
    rows = len({top for top, _ in places})
    shape = (len(frames), rows, len(places) // rows)
    together = {name: np.concatenate(parts) for name, parts in values.items()}
    return Measured(np.array(where), shape, together, canvas, round(options.patch * scale))


def _cut(image: torch.Tensor, places: Sequence[tuple[int, int]], patch: int, scale: float) -> torch.Tensor:
    """(P,C,side,side) of an output-sized image, for corners in input pixels."""
    side = round(patch * scale)
    tops = [(round(top * scale), round(left * scale)) for top, left in places]
    return torch.cat([image[..., y : y + side, x : x + side] for y, x in tops])


def _psnr(output: torch.Tensor, truth: torch.Tensor, options: Any) -> np.ndarray:
    values = psnr(quantise(output), truth.to(output), colour=options.colour)
    return values.double().cpu().numpy().reshape(-1)


def _restored(
    network: sr_hooks.Network, lr: torch.Tensor, places: Sequence[tuple[int, int]], truth: torch.Tensor, options: Any
) -> np.ndarray:
    """(P,) PSNR of the patches of one frame, each run by itself or with `margin` pixels around it."""
    parts, offsets = [], []
    for top, left in places:
        box = surroundings(top, left, (lr.shape[-2], lr.shape[-1]), options.patch, options.margin)
        above, before, height, width = box
        parts.append(lr[..., above : above + height, before : before + width])
        offsets.append((top - above, left - before))
    inputs = torch.cat(parts)
    plan = calibrate(network, tuple(inputs.shape[1:]))

    def compute(part: slice) -> np.ndarray:
        output = network(plan.lay_out(inputs[part].to(network.device)))
        rows = zip(output.split(1), offsets[part], strict=True)
        patches = torch.cat([_cut(one, [offset], options.patch, network.scale) for one, offset in rows])
        return _psnr(patches, truth[part], options)

    with network.channels_last(plan.channels_last):
        return np.concatenate([values for _, values in in_batches(len(inputs), compute, batch=plan.batch)])


def group_patches(result: sr_hooks.Result, clip: Any, group: int) -> torch.Tensor:
    """The ground truth (P,C,side,side) of the patches of one group, for training on it.

    Args:
        result: of the analysis chunks.
        clip: the one that the result is of, in any form that the analysis takes.
        group: from 0, the hardest.

    Raises:
        OptionError: there is no such group.
    """
    count = len(result.scalars["groups"])
    if not 0 <= group < count:
        raise OptionError(f"group is {group}: the result has groups 0, the hardest, to {count - 1}")
    frames, side = frames_of(clip), result.provenance["patch_in_output_pixels"]
    chosen = result.arrays["where"][result.arrays["group"] == group]
    return torch.stack([frames[index, :, top : top + side, left : left + side] for index, top, left in chosen])
