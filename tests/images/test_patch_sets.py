"""Patches cut when they are asked for equal those that are cut at once, also degraded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sr_hooks.degradations import DegradedPatches, make_lr, parse_degradation
from sr_hooks.errors import ImageError
from sr_hooks.images import PatchSet, cut_patches, draw_corners, image_sources, read_image, write_image
from sr_hooks.images.patch_sets import JoinedInputs


@pytest.fixture
def files(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for number in range(6):
        write_image(torch.rand(1, 3, 20, 24 + number, generator=generator), tmp_path / f"{number}.png")
    return tmp_path


def test_patches_are_those_of_cut_patches(files):
    sources = image_sources(files)
    corners = draw_corners([source.shape for source in sources], 8, 25, 3, "image")
    patches = PatchSet(sources, corners, 8)
    whole = cut_patches([read_image(file) for file in sorted(files.iterdir())], 8, 25, 3, "image")
    assert torch.equal(patches[:], whole) and tuple(patches.shape) == (25, 3, 8, 8)
    rows = np.array([3, 4, 11, 20])
    assert torch.equal(patches[rows], whole[rows])
    degraded = DegradedPatches(patches, parse_degradation("noise:10"), scale=2, seed=1)
    expected = make_lr(whole, "noise:10", scale=2, seed=1)
    assert torch.equal(degraded[5:9], expected[5:9]) and torch.equal(degraded[rows], expected[rows])
    both = JoinedInputs([degraded, degraded])
    assert torch.equal(both[np.array([2, 24, 25, 29, 28])], torch.cat([expected] * 2)[[2, 24, 25, 29, 28]])
    assert torch.equal(both[20:30], torch.cat([expected] * 2)[20:30]) and len(both) == 50


def test_a_file_that_changes_is_noticed(files):
    sources = image_sources(files)
    write_image(torch.zeros(1, 3, 20, 24), files / "0.png")
    with pytest.raises(ImageError, match=r"0\.png has changed"):
        sources[0].read()
