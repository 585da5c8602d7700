"""The effective receptive field of networks whose field is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sr_hooks_erf import side_of
from torch import nn

import sr_hooks


def box(size: int) -> nn.Module:
    """A mean over size x size pixels, channel by channel."""
    convolution = nn.Conv2d(3, 3, size, padding=size // 2, groups=3, bias=False)
    nn.init.constant_(convolution.weight, 1 / size**2)
    return convolution


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 40, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [3, 7])
def test_a_box_filter_has_its_own_field(images, size):
    result = sr_hooks.run("erf", box(size), images, size=32)
    field = result.arrays["field"]
    assert np.count_nonzero(field) == size**2 and result.scalars["side_99"] == size
    assert field.sum() == pytest.approx(3, abs=1e-5)
    assert result.verdict.startswith("sound")


def test_images_one_by_one_or_together(images):
    network = nn.Sequential(box(3), nn.ReLU(), box(3))
    together = sr_hooks.run("erf", network, images, size=32).arrays["field"]
    one_by_one = [sr_hooks.run("erf", network, image, size=32).arrays["field"] for image in images.split(1)]
    assert np.allclose(together, np.mean(one_by_one, axis=0), atol=1e-6)


def test_a_field_beyond_the_crop_is_said(images):
    assert sr_hooks.run("erf", box(31), images, size=32).verdict.startswith("cut off")


def test_bad_input(images):
    with pytest.raises(sr_hooks.SRHooksError, match="smaller than size 64"):
        sr_hooks.run("erf", box(3), images, size=64)
    with pytest.raises(sr_hooks.SRHooksError, match="at least 2"):
        sr_hooks.run("erf", box(3), images, size=1)


def test_side_of_a_point():
    field = np.zeros((9, 9))
    field[4, 4] = 1
    assert side_of(field, 0.99) == 1 and side_of(np.zeros((9, 9)), 0.5) == 0


def test_saved_with_its_figure(images, tmp_path):
    sr_hooks.run("erf", box(7), images, size=32).save(tmp_path / "erf")
    assert (tmp_path / "erf/figure.png").is_file() and sr_hooks.load(tmp_path / "erf").scalars["images"] == 3
