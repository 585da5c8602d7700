"""Video files are read as clips, and what cannot be decoded is refused by name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import sr_hooks
from sr_hooks.demo import demo_network
from sr_hooks.images.clips import as_clips, read_clip, read_input
from sr_hooks.images.video_files import is_video

pytestmark = pytest.mark.slow


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Four frames of 32x48 pixels: red, green and blue in turn, then a ramp from left to right."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (48, 32))
    frames = [np.full((32, 48, 3), np.eye(3)[c] * 255, np.uint8) for c in range(3)]
    frames.append(np.tile(np.linspace(0, 255, 48).astype(np.uint8)[None, :, None], (32, 1, 3)))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def test_a_video_is_a_clip_of_its_frames(video: Path) -> None:
    clip = read_clip(video)
    assert clip.shape == (1, 4, 3, 32, 48) and clip.min() >= 0 and clip.max() <= 1
    for channel in range(3):
        means = clip[0, channel].mean(dim=(1, 2))
        assert means[channel] > 0.9 and means.sum() - means[channel] < 0.1
    ramp = clip[0, 3].mean(dim=(0, 1))
    assert float(ramp[0]) < 0.05 and float(ramp[-1]) > 0.95 and bool((ramp.diff() > -0.01).all())
    assert read_input(video).shape == clip.shape and as_clips(str(video), 7)[0].shape == clip.shape


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypisom" + bytes(50))
    with pytest.raises(sr_hooks.SRHooksError, match=r"broken\.mp4 is a video that OpenCV cannot decode"):
        read_input(broken)
    with pytest.raises(sr_hooks.SRHooksError, match=r"absent\.mp4"):
        read_input(tmp_path / "absent.mp4")
    assert is_video("a.MP4") and not is_video("a.png")


def test_a_network_of_images_takes_no_video(video: Path) -> None:
    with pytest.raises(sr_hooks.SRHooksError, match="clip"):
        sr_hooks.lam(demo_network("target"), read_input(video), window=(4, 4, 8))
