"""Clips (N,T,C,h,w): read and checked, made by a known camera motion over a photograph; one frame out of many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from sr_hooks.errors import ImageError, NetworkError
from sr_hooks.files.regular_files import is_folder
from sr_hooks.images.image import as_batch, from_array, read_image
from sr_hooks.images.image_sets import image_files
from sr_hooks.images.video_files import is_video, read_video

__all__ = [
    "FrameChoice",
    "as_clips",
    "as_input",
    "by_frames",
    "camera_pan",
    "clip_of",
    "frame_positions",
    "one_frame",
    "read_clip",
    "read_input",
    "stands_still",
]

FrameChoice = int | Literal["middle", "all"]
"""Which of a network's output frames is meant: its number from 0, the middle one, or all."""


def read_clip(folder: str | Path, *, background: str | None = None, bands: int | None = None) -> torch.Tensor:
    """The image files of a folder, by name, as one clip (1,T,C,h,w) float32 in [0, 1]; or a video file, decoded whole.

    `background` and `bands` are as in `read_image`.

    Raises:
        ImageError: no such folder, no image in it, an unreadable one, or frames of different sizes or channels.
    """
    if is_video(folder) and not is_folder(folder):
        return read_video(folder)
    files = image_files(folder)
    frames = [read_image(file, background=background, bands=bands) for file in files]
    for file, frame in zip(files, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise ImageError(
                f"{folder} is no clip: {file.name} is {_describe(frame)}, and {files[0].name} is {_describe(frames[0])}"
            )
    return torch.cat(frames)[None]


def as_clips(source: Any, frames: int, what: str = "the clip", *, bands: int | None = None) -> list[torch.Tensor]:
    """Clips (1,T,C,h,w) float32 in [0, 1].

    A tensor (T,C,h,w), a folder of frames, or a video file is one clip; (N,T,C,h,w) are N, and so are the folders in a
    folder that holds no images. What has one frame only, (1,C,h,w), (C,h,w) or an image file, stands still for as many
    frames as `frames` says.

    Args:
        source: one of these, or a sequence of them.

    Raises:
        ImageError: none given, or one that is no clip.
    """
    if isinstance(source, (str, Path)) and is_folder(source):
        inside = sorted(path for path in Path(source).iterdir() if path.is_dir())
        holds_images = any(path.is_file() for path in Path(source).iterdir())
        folders = inside if inside and not holds_images else [source]
        clips = [read_clip(folder, bands=bands) for folder in folders]
    elif isinstance(source, (str, Path)) and is_video(source):
        clips = [read_clip(source)]
    elif isinstance(source, Sequence) and not isinstance(source, str):
        if not source:
            raise ImageError(f"{what}: none given")
        return [clip for item in source for clip in as_clips(item, frames, what, bands=bands)]
    else:
        batch = as_input(source, what, bands)
        clips = list(batch.split(1)) if batch.ndim == 5 else [batch[None]]
    return [clip_of(clip[:, 0], frames) if clip.shape[1] == 1 else clip for clip in clips]


def as_input(source: Any, what: str = "the image", bands: int | None = None) -> torch.Tensor:
    """An image or images as `sr_hooks.images.as_batch` checks them, or clips (N,T,C,h,w), frame by frame."""
    if isinstance(source, np.ndarray):
        source = from_array(source, what=what, bands=bands)
    if isinstance(source, torch.Tensor) and source.ndim == 5:
        if 0 in source.shape:
            raise ImageError(f"{what} has shape {tuple(source.shape)}; give (N,T,C,h,w), none of them 0")
        return by_frames(lambda frames: as_batch(frames, what=what, bands=bands), source)
    return as_batch(source, what=what, bands=bands)


def read_input(path: str | Path, background: str | None = None, bands: int | None = None) -> torch.Tensor:
    """An image file (1,C,h,w); a folder of frames, or a video file, as a clip (1,T,C,h,w).

    `background` and `bands` are as in `read_image`.
    """
    read = read_clip if is_folder(path) or is_video(path) else read_image
    return read(path, background=background, bands=bands)


def clip_of(still: torch.Tensor, frames: int) -> torch.Tensor:
    """(N,C,h,w) repeated as every frame of (N,T,C,h,w)."""
    return still[:, None].expand(-1, frames, -1, -1, -1)


def stands_still(clip: torch.Tensor) -> bool:
    """Whether all frames of (N,T,C,h,w) are equal."""
    return bool((clip == clip[:, :1]).all())


def by_frames(function: Callable[[torch.Tensor], torch.Tensor], clips: torch.Tensor) -> torch.Tensor:
    """A function of images (K,C,h,w) to as many others, on each frame of (N,T,C,h,w); images pass as they are."""
    if clips.ndim != 5:
        return function(clips)
    return cast("torch.Tensor", function(clips.reshape(-1, *clips.shape[2:])).unflatten(0, clips.shape[:2]))


def camera_pan(
    photo: torch.Tensor, *, frames: int, size: tuple[int, int], step: tuple[int, int], start: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    """A clip with a motion that is known exactly: a window that slides over a photograph by whole pixels.

    Content moves by -step a frame. Nothing is interpolated; shrunk by a scale afterwards, the motion is a fraction
    `step / scale` of a pixel.

    Args:
        photo: (1,C,H,W).
        size: height and width of a frame.
        step: pixels down and right that the camera moves from frame to frame.
        start: top and left of the first frame.

    Returns:
        (1,T,C,height,width).

    Raises:
        ImageError: the camera leaves the photograph.
    """
    corners = [(start[0] + t * step[0], start[1] + t * step[1]) for t in range(frames)]
    for top, left in corners:
        if min(top, left) < 0 or top + size[0] > photo.shape[-2] or left + size[1] > photo.shape[-1]:
            raise ImageError(
                f"a camera of {size[0]}x{size[1]} pixels at ({top}, {left}) leaves the photograph of "
                f"{photo.shape[-2]}x{photo.shape[-1]}: fewer frames, smaller steps or another start"
            )
    return torch.stack([photo[..., y : y + size[0], x : x + size[1]] for y, x in corners], dim=1).contiguous()


def one_frame(out: torch.Tensor, frame: FrameChoice, name: str) -> torch.Tensor:
    """(N,C,H,W), the frame chosen of (N,T,C,H,W), or (N,T,C,H,W) for all of them; a lone (N,C,H,W) is one frame.

    Raises:
        NetworkError: there is no such frame.
    """
    out = out[:, None] if out.ndim == 4 else out
    if frame == "all":
        return out
    count = out.shape[1]
    index = count // 2 if frame == "middle" or count == 1 else int(frame)
    if not 0 <= index < count:
        raise NetworkError(f"frame {frame} is none of {name}'s: it returns frames 0 to {count - 1}")
    return out[:, index]


def frame_positions(taken: int, returned: int, centre: int | None = None) -> list[float]:
    """The times, in input frames from 0, of a network's output frames.

    As many output frames as input frames: the same times. One output frame: the middle, or `centre`. Fewer, as after
    convolutions over time without padding: around the middle. More, as after interpolation: evenly from the first to
    the last.
    """
    if returned == taken:
        return [float(i) for i in range(taken)]
    if returned == 1:
        return [float(taken // 2 if centre is None else centre)]
    if returned < taken:
        return [(taken - returned) / 2 + i for i in range(returned)]
    return [i * (taken - 1) / (returned - 1) for i in range(returned)]


def _describe(image: torch.Tensor) -> str:
    return f"{image.shape[-2]}x{image.shape[-1]} with {image.shape[1]} channel(s)"
