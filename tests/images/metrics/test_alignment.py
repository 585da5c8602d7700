"""Shift-tolerant PSNR and SSIM: a displaced output scores as before, a blurred or noisy one does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from sr_hooks.errors import OptionError
from sr_hooks.images import best_shift, blur, make_metric, psnr, psnr_shift, ssim, ssim_shift


@pytest.fixture(scope="module")
def pair(photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A slightly wrong output and its target: a photograph of 120x136 pixels, smooth enough to be moved by spline."""
    target = blur(photo[..., :120, :136], [1.2])
    noise = blur(torch.randn(target.shape, generator=torch.Generator().manual_seed(0)), [1.2])
    return target + 0.05 * noise, target


def moved(image: torch.Tensor, down: float, right: float) -> torch.Tensor:
    """The image moved by scipy's spline of order 5, an independent interpolation."""
    array = ndimage.shift(image.double().numpy(), (0, 0, down, right), order=5, mode="mirror")
    return torch.from_numpy(np.asarray(array)).float()


@pytest.mark.parametrize("shift", [(0.5, 0.25), (-0.3, 1.7), (1.0, -2.0), (0.0, 0.4), (-1.9, -1.9)])
@pytest.mark.slow
def test_a_shifted_copy_scores_as_the_unshifted(pair, shift):
    output, target = pair
    copy = moved(output, *shift)
    expected = psnr(output, target, border=4)
    assert psnr(copy, target, border=4) < expected - 0.2, "else the case shows nothing"
    assert float(psnr_shift(copy, target, 2, border=4)) == pytest.approx(float(expected), abs=0.05)
    assert float(ssim_shift(copy, target, 2, border=4)) == pytest.approx(
        float(ssim(output, target, border=4)), abs=2e-3
    )
    assert best_shift(copy, target, 2) == pytest.approx(shift, abs=0.03)


@pytest.mark.slow
def test_blur_and_noise_cost_what_they_cost(pair):
    output, target = pair
    for worse in (blur(output, [2.0]), output + 0.1 * torch.randn(output.shape)):
        assert float(psnr_shift(worse, target, 2)) == pytest.approx(float(psnr(worse, target)), abs=0.05)
        assert psnr_shift(worse, target, 2) < psnr_shift(output, target, 2) - 0.5


@pytest.mark.slow
def test_a_shift_beyond_the_largest_is_not_undone(pair):
    output, target = pair
    copy = moved(output, 0.0, 4.0)
    assert psnr_shift(copy, target, 2, border=4) < psnr(output, target, border=4) - 1
    assert float(psnr_shift(copy, target, 4, border=4)) == pytest.approx(
        float(psnr(output, target, border=4)), abs=0.05
    )


@pytest.mark.slow
def test_it_is_never_below_psnr_and_equal_images_are_equal(pair):
    output, target = pair
    batch = torch.cat([output, moved(output, 0.4, 0.4), target, torch.zeros_like(target)])
    assert bool((psnr_shift(batch, target, 1.5) >= psnr(batch, target)).all())
    assert float(psnr_shift(target, target, 2)) == float(psnr(target, target))
    flat = torch.full((1, 3, 24, 24), 0.5)
    assert float(psnr_shift(flat, flat * 0.5, 2)) == pytest.approx(float(psnr(flat, flat * 0.5)))


def test_by_name(pair):
    output, target = pair
    copy = moved(output, 0.5, -0.5)
    metric = make_metric("psnr_y-shift:1.5", border=2)
    assert metric.name == "psnr_y-shift:1.5" and metric.needs_target and metric.higher_is_better
    assert torch.equal(metric(copy, target), psnr_shift(copy, target, 1.5, border=2, colour="y"))
    assert torch.equal(make_metric("ssim-shift:2")(copy, target), ssim_shift(copy, target, 2))
    for wrong in ("psnr-shift:0", "psnr-shift:x", "ssim-shift:17", "psnr-shift:nan", "psnr-shift:"):
        with pytest.raises(OptionError, match="largest shift"):
            make_metric(wrong)
    with pytest.raises(OptionError, match="at most 16"):
        psnr_shift(copy, target, math.inf)
