"""Attention maps of clips: weights lie in the frame that they come from, for windows over frames and for recurrence."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from attention_networks import Windows, copying
from clip_networks import Joint, Recurrent

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.images import camera_pan, write_image

FRAMES = 3


@pytest.fixture(scope="module")
def clip(photos) -> torch.Tensor:
    return camera_pan(photos[1], frames=FRAMES, size=(37, 45), step=(0, 2)).reshape(1, FRAMES, 3, 37, 45)


def network(module: torch.nn.Module) -> sr_hooks.Network:
    return sr_hooks.Network(module, scale=1, multiple=1, channels=3, frames=FRAMES)


@pytest.mark.parametrize("kind", [Joint, Recurrent])
@pytest.mark.parametrize("frame", [1, 2])
def test_a_copy_is_drawn_in_the_frame_before(clip, kind, frame):
    result = sr_hooks.run("attention-map", network(kind()), clip, query=(20, 29), frame=frame, check="none")
    (row,) = result.scalars["layers"]  # of a recurrent network, the run at the query's frame
    weights = result.arrays["weights_0"]
    assert weights.shape == (FRAMES, 37, 45) and weights[frame - 1, 20, 24] == pytest.approx(1, abs=1e-5)
    assert row["frame_shares"] == pytest.approx([float(t == frame - 1) for t in range(FRAMES)], abs=1e-5)
    assert row["offset"] == pytest.approx([0, -5], abs=1e-4) and result.scalars["query_frame"] == frame
    assert "not known" not in result.verdict and "batch" not in result.verdict


def test_layers_of_other_frames_are_named_and_not_drawn(clip):
    result = sr_hooks.run("attention-map", network(Recurrent()), clip, query=(20, 29), layers="all", check="none")
    assert [row["shows"] for row in result.scalars["layers"]] == ["other frames", "pixels", "other frames"]


def test_the_check_and_the_rollout_are_over_all_frames(clip):
    result = sr_hooks.run("attention-map", network(Joint()), clip, query=(20, 29), rollout=True, check="lam")
    used, rollout = result.arrays["used"], result.arrays["rollout"]
    assert used.shape == rollout.shape == (FRAMES, 37, 45)
    assert used.sum(axis=(1, 2))[:2].min() > 0 and used[2].max() < 1e-15, "frame 1 is made from 0 and itself"
    assert rollout[1, 20, 29] == pytest.approx(0.5) == pytest.approx(rollout[0, 20, 24], abs=1e-5)
    figure = result.figure()
    titles = [axes.get_title() for axes in figure.axes]
    assert "frame 1, with the query" in titles and any(title.endswith("100% in frame 0") for title in titles)
    chosen = result.figure(panels=["frame_1", "weights_0_0", "rollout_2"], crop=(8, 8, 24, 30), overlay="grey")
    assert len([axes for axes in chosen.axes if axes.images]) == 3


def test_a_frame_that_there_is_not_is_refused(clip, photos):
    with pytest.raises(sr_hooks.SRHooksError, match="frame"):
        sr_hooks.run("attention-map", network(Joint()), clip, frame=7)
    image = sr_hooks.Network(Windows(copying((0, -5), (-3, 0))), scale=1, multiple=1, channels=3)
    with pytest.raises(sr_hooks.SRHooksError, match="which have none"):
        sr_hooks.run("attention-map", image, photos[0], frame=1)


def test_the_figure_of_a_window_query(photos):
    image = sr_hooks.Network(Windows(copying((0, -5), (-3, 0))), scale=1, multiple=1, channels=3)
    result = sr_hooks.run("attention-map", image, photos[0][..., :40, :48], query=(20, 29, 2), check="gradient")
    assert result.figure() is not None


@pytest.mark.slow
def test_a_grid_says_how_much_the_weights_agree(tmp_path, photos):
    write_image(photos[1][..., :37, :45], tmp_path / "photo.png")
    model = f"{__file__.removesuffix('test_clips.py')}attention_networks.py:Copying"
    flags = ["--image", str(tmp_path / "photo.png"), "--lr", "--out", str(tmp_path / "grid")]
    assert main(["grid", "--model", model, "--analyses", "attention-map", *flags]) == 0
    with (tmp_path / "grid/table.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert 0 <= float(row["agreeing"]) <= 1 and float(row["mean_distance"]) == pytest.approx(4, abs=1e-3)
    assert np.isfinite(float(row["read_rank"])) and "agreeing" in (tmp_path / "grid/table.md").read_text()
