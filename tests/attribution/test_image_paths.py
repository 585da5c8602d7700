"""Paths of images from nothing to see to the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sr_hooks


@pytest.mark.parametrize(
    "path", ["blur", "blur:2", "linear:black", "linear:mean", "linear:blur", "gaussian", "uniform:0.1"]
)
def test_paths_end_at_the_image(baseline, small_lr, path):
    from sr_hooks.attribution.image_paths import make_path

    points = make_path(path, seed=4)(small_lr, [0.0, 0.5, 1.0])
    assert torch.allclose(points[2:], small_lr, atol=1e-6)
    result = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), path=path, steps=9)
    assert np.isfinite(result.attribution).all()


def test_custom_path(baseline, small_lr):
    straight = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), path="black", steps=9)
    own = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), path=lambda x, t: x * t, steps=9)
    assert np.allclose(straight.attribution, own.attribution, atol=1e-6)
