"""Video files as clips, decoded by OpenCV."""

from __future__ import annotations

from pathlib import Path

import torch

from sr_hooks.errors import ImageError
from sr_hooks.files.regular_files import is_file
from sr_hooks.images.image import from_array

__all__ = ["VIDEO_SUFFIXES", "is_video", "read_video"]

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".y4m")


def is_video(path: str | Path) -> bool:
    """Whether a file's name ends as those of videos do."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def read_video(path: str | Path) -> torch.Tensor:
    """All frames of a video file as one clip (1,T,C,h,w) float32 RGB in [0, 1].

    All frames are in memory at once: cut a long video first. A video file is compressed with loss as a rule, and that
    loss is in every number; a folder of PNG files is the better ground truth.

    Raises:
        ImageError: no such file, or one that OpenCV cannot decode.
    """
    if not is_file(Path(path)):
        raise ImageError(f"{path}: no such file")
    import cv2

    frames = []
    video = cv2.VideoCapture(str(path))
    try:
        while True:
            is_read, frame = video.read()
            if not is_read:
                break
            frames.append(from_array(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), what=str(path)))
    finally:
        video.release()
    if not frames:
        raise ImageError(
            f"{path} is a video that OpenCV cannot decode: extract its frames into a folder, for instance with ffmpeg"
        )
    return torch.cat([frame.reshape(1, *frame.shape[-3:]) for frame in frames])[None]
