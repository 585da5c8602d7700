"""LAM, DDR and FAIG of networks over clips: known answers, real architectures, a known camera motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks import measures
from sr_hooks.images import downsample
from sr_hooks.video import by_frames, camera_pan

THIRDS = (1, 2, 4)


class Average(nn.Module):
    """Each output frame is the mean of three known frames, enlarged twice."""

    def __init__(self, frames: tuple[int, ...] = THIRDS) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        self.used = list(frames)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _n, t, _c, _h, _w = x.size()
        mean = self.conv(x[:, self.used].mean(dim=1))
        return F.interpolate(mean, scale_factor=2.0, mode="nearest")[:, None].expand(-1, t, -1, -1, -1)


@pytest.fixture(scope="module")
def clip(photo: torch.Tensor) -> torch.Tensor:
    """(1,5,3,40,44): the camera moves by 1 and 1.5 pixels a frame."""
    hr = camera_pan(photo, frames=5, size=(160, 176), step=(4, 6), start=(40, 30))
    return by_frames(lambda frames: downsample(frames, 4), hr)


def test_three_frames_averaged_hold_a_third_each(photo: torch.Tensor, lr: torch.Tensor) -> None:
    """Of a still, whatever objective and path: the frames are alike, so are their attributions, to the last bit."""
    still = lr[:, None].expand(-1, 6, -1, -1, -1)
    result = sr_hooks.lam(sr_hooks.Network(Average(), frames=6), still, window=(40, 40, 16))
    sums = result.map.astype(np.float64).sum(axis=(1, 2))
    assert result.attribution.shape == (6, 3, 64, 64)
    assert sums[1] == sums[2] == sums[4] > 0 and sums[0] == sums[3] == sums[5] == 0
    assert np.allclose(result.frame_shares, [0, 1 / 3, 1 / 3, 0, 1 / 3, 0], rtol=0, atol=1e-15)
    assert result.temporal_diffusion == pytest.approx(3, abs=1e-12)
    assert "3.00 of 6 frames are used effectively" in result.verdict and "stands still" in result.verdict
    assert result.verdict.startswith("sound")


def test_three_moving_frames_hold_a_third_each(clip: torch.Tensor) -> None:
    """Frames that differ, along a path by which all change alike: gradient and change are the same in each."""

    def fade(image: torch.Tensor, t: float) -> torch.Tensor:
        return image + 0.25 * (t - 1)

    result = sr_hooks.lam(
        Average(), clip, window=(20, 20, 8), objective="intensity", path=fade, frame=0, tolerance=1e-3
    )
    assert np.allclose(result.frame_shares, [0, 1 / 3, 1 / 3, 0, 1 / 3], rtol=0, atol=1e-6)
    inside = result.attribution[1, :, 10:14, 10:14]
    assert np.allclose(inside, 4 / 3 * 0.25, rtol=1e-5)  # four output pixels an input pixel, a third of each
    assert result.attribution.sum() == pytest.approx(result.scalars["objective_change"], rel=1e-5)
    assert result.frame == 0 and result.scalars["frame_at"] == 0 and not result.scalars["still"]


def test_shares_are_those_of_the_closed_form(clip: torch.Tensor) -> None:
    """A linear network: attribution is weight times change, frame by frame, along the per-frame blur."""
    from sr_hooks.images import blur

    result = sr_hooks.lam(Average(), clip, window=(20, 20, 8), objective="intensity", steps=5)
    change = by_frames(lambda frames: frames - torch.cat([blur(f[None], [1.2]) for f in frames]), clip)[0].numpy()
    expected = np.zeros_like(change)
    expected[list(THIRDS), :, 10:14, 10:14] = 4 / 3 * change[list(THIRDS), :, 10:14, 10:14]
    assert np.allclose(result.attribution, expected, atol=1e-6)
    sums = np.abs(expected.sum(axis=1)).sum(axis=(1, 2))
    assert np.allclose(result.frame_shares, sums / sums.sum(), atol=1e-6)


def test_effective_number_of_frames() -> None:
    assert measures.effective_number(np.array([0, 0, 1.0])) == 1
    assert measures.effective_number(np.full(7, 1 / 7)) == pytest.approx(7)
    assert measures.effective_number(np.zeros(3)) == 0
    assert 1 < measures.effective_number(np.array([0.9, 0.1])) < 2
