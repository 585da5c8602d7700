"""PSNR and SSIM against BasicSR's own, on real photographs; metrics by name."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from sr_hooks.errors import ImageError, OptionError
from sr_hooks.images.metrics import HIGHEST_PSNR, luma, make_metric, psnr, quantise, ssim


@pytest.fixture(scope="module")
def pair(photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two corners of a photograph, and what noise of two strengths leaves of them, as image files would."""
    target = torch.cat([photo[..., :64, :80], photo[..., 100:164, 50:130]])
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    return quantise(target + noise * torch.tensor([0.02, 0.2]).view(2, 1, 1, 1)), target


@pytest.mark.parametrize("border", [0, 4])
@pytest.mark.parametrize("colour", ["rgb", "y"])
def test_as_basicsr_has_them(basicsr, pair, border, colour):
    from basicsr.metrics import calculate_psnr, calculate_ssim
    from basicsr.utils import tensor2img

    options = {"crop_border": border, "test_y_channel": colour == "y"}
    files = [[tensor2img(image) for image in batch] for batch in pair]  # (H,W,3) BGR of 255
    for ours, theirs, tolerance in ((psnr, calculate_psnr, 1e-4), (ssim, calculate_ssim, 1e-6)):
        expected = [theirs(a, b, **options) for a, b in zip(*files, strict=True)]
        assert ours(*pair, border=border, colour=colour).tolist() == pytest.approx(expected, abs=tolerance)


def test_grey_images_are_their_own_luma(pair):
    grey = [luma(image) for image in pair]
    assert torch.equal(psnr(*grey, colour="y"), psnr(*grey))
    assert torch.allclose(psnr(*grey), psnr(*pair, colour="y"))


def test_known_values():
    white, grey = torch.ones(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.9)
    assert float(psnr(grey, white)) == pytest.approx(20, abs=1e-5)
    assert float(psnr(white, white)) == HIGHEST_PSNR and float(ssim(white, white)) == pytest.approx(1)
    many = torch.cat([grey, white, grey])
    assert psnr(many, white).tolist() == pytest.approx([20, HIGHEST_PSNR, 20], abs=1e-5)


def test_a_gradient_flows(pair):
    output = pair[0].clone().requires_grad_()
    (psnr(output, pair[1]) + ssim(output, pair[1])).sum().backward()
    assert output.grad is not None and bool(output.grad.abs().sum(dim=(1, 2, 3)).gt(0).all())


def test_what_cannot_be_compared_is_said(pair):
    with pytest.raises(ImageError, match="cannot be compared"):
        psnr(pair[0], pair[1][..., 1:])
    with pytest.raises(ImageError, match=r"border 32 leaves 0x16 pixels of 64x80"):
        psnr(*pair, border=32)
    with pytest.raises(ImageError, match="at least 11"):
        ssim(*pair, border=27)
    with pytest.raises(OptionError, match="rgb or y"):
        psnr(*pair, colour="luma")  # type: ignore[arg-type]


def test_by_name(pair):
    metric = make_metric("psnr_y", border=4)
    assert metric.higher_is_better and torch.equal(metric(*pair), psnr(*pair, border=4, colour="y"))
    with pytest.raises(ImageError, match="compares with a ground truth"):
        metric(pair[0])


def test_without_pyiqa_its_metrics_are_refused_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)  # as where it is not installed
    make_metric("ssim")
    with pytest.raises(OptionError, match=r"'lpips'.*pip install pyiqa"):
        make_metric("lpips")


def test_pyiqa_by_name(pair):
    pytest.importorskip("pyiqa", reason="pyiqa is not installed")
    theirs = make_metric("psnr", border=4)
    metric = make_metric("gmsd", border=4)  # needs no weights
    assert metric.needs_target and not metric.higher_is_better and theirs.higher_is_better
    scores = metric(*pair).numpy()
    assert scores.shape == (2,) and np.isfinite(scores).all() and scores[0] < scores[1]
    with pytest.raises(OptionError, match="no metric 'gmsdd'; did you mean"):
        make_metric("gmsdd")
