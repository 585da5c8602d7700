"""`compat="rdsr"` of csm is the public code of Reflash Dropout, written out here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from csm_networks import handle_of, leaf_at, msrresnet

import sr_hooks
from sr_hooks.attribution import make_objective
from sr_hooks.images import downsample


def public_map_and_psnr(build, tap: str, lr: torch.Tensor, gt: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The public code for one tap, written out: the map's sums, and each channel's PSNR by whole forwards."""
    module = build()
    leaf, handle = leaf_at(module, tap)
    out = module(lr)
    dy, dx = (out[:, :, :-1] - out[:, :, 1:]).pow(2), (out[..., :-1] - out[..., 1:]).pow(2)
    (dy[..., :-1] + dx[:, :, :-1]).pow(1 / 2).sum().backward()
    handle.remove()
    feature, gradient = leaf["feature"].detach(), leaf["feature"].grad.abs().numpy()
    total = (gradient / gradient.max()).sum(axis=(0, 2, 3))
    truth, values = np.uint8(gt[0].mul(255).numpy()).astype(np.float64), []
    for channel in range(feature.shape[1]):
        copy, whole = feature.clone(), feature.abs().sum()
        copy[:, channel] = 0
        copy = copy / ((whole - feature[:, channel].abs().sum()) / whole)
        handle = handle_of(module, tap, lambda _, copy=copy: copy)
        with torch.no_grad():
            picture = np.uint8(module(lr)[0].clamp(0, 1).mul(255).numpy()).astype(np.float64)
        handle.remove()
        values.append(20 * np.log10(255 / np.sqrt(np.mean((picture - truth) ** 2))))
    return total, np.array(values)


@pytest.mark.parametrize("tap", ["lrelu#0", "body.1"])
def test_compat_is_the_public_code(tap, hr):
    result = sr_hooks.run("csm", msrresnet(), hr, layers=tap, compat="rdsr")
    total, values = public_map_and_psnr(msrresnet, tap, downsample(hr, 2)[:1], hr[:1])
    assert np.allclose(result.arrays["saliency"][0, 0], total, rtol=1e-4)
    assert np.allclose(result.arrays["psnr"][0, 0], values, atol=1e-4)
    assert "last row and column" in result.verdict and result.scalars["compat"] == "rdsr"
    own = sr_hooks.run("csm", msrresnet(), hr, layers=tap)
    assert not np.allclose(own.arrays["saliency"][0, 0], total, rtol=1e-2)  # with smoothing and all rows: another map
    assert not np.allclose(own.arrays["psnr"][0, 0], values, atol=1e-2)
    assert "can turn the sign" in own.verdict and own.scalars["taps"][0]["raised"] >= 0


@pytest.mark.parametrize("broken", ["rounded", "smoothed"])
def test_compat_without_a_published_step_is_not_the_public_code(broken, hr, monkeypatch):
    """The comparison above can fail: with 8 bits by rounding, with the root smoothed and the last row."""
    if broken == "rounded":
        monkeypatch.setattr("sr_hooks_csm.ablation.truncated", lambda x: x.clamp(0, 1).mul(255).round().div(255))
    else:
        monkeypatch.setattr("sr_hooks_csm.csm.PublishedGradient", lambda: make_objective("gradient"))
    result = sr_hooks.run("csm", msrresnet(), hr, layers="body.1", compat="rdsr")
    total, values = public_map_and_psnr(msrresnet, "body.1", downsample(hr, 2)[:1], hr[:1])
    equal = [np.allclose(result.arrays["saliency"][0, 0], total, rtol=1e-4),
             np.allclose(result.arrays["psnr"][0, 0], values, atol=1e-4)]  # fmt: skip
    assert equal == [broken == "rounded", broken == "smoothed"]


def test_compat_refuses_options_that_are_not_the_published_ones(hr):
    for wrong in ({"metric": "psnr_y"}, {"border": 2}, {"objective": "intensity"}):
        with pytest.raises(sr_hooks.SRHooksError, match="published procedure: leave out"):
            sr_hooks.run("csm", msrresnet(), hr, compat="rdsr", **wrong)
