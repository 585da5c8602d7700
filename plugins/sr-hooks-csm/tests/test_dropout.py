"""The dropout probe against forwards with hand-made masks, and its curves against known ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sr_hooks_csm.curves import judge_curves, summarise_curves
from sr_hooks_csm.dropout import DropoutOptions, Drops
from torch import nn

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.core import generator
from sr_hooks.degradations import make_lr
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import read_image


@pytest.fixture(scope="module")
def hr() -> torch.Tensor:
    return torch.cat([read_image(path)[..., 80:144, 80:144] for path in photographs()[:3]])


@pytest.fixture(scope="module")
def result(hr):
    return sr_hooks.run(
        "dropout", demo_network("target"), hr, rates=(0.25, 0.5), draws=3, degradations="clean noise:20"
    )


def psnr(module: nn.Module, lr: torch.Tensor, gt: torch.Tensor) -> float:
    with torch.no_grad():
        error = (module(lr).clamp(0, 1) - gt)[..., 4:-4, 4:-4].double().square().mean()
    return -10 * np.log10(float(error))


def test_nothing_dropped_and_all_dropped_are_what_forwards_give(result, hr):
    module = demo_network("target").module
    for column, degradation in enumerate(("clean", "noise:20")):
        for n in range(3):
            lr, gt = make_lr(hr[n : n + 1], degradation, scale=4, first=n), hr[n : n + 1]
            values = result.arrays["psnr"][column, :, n]
            assert np.allclose(values[0], psnr(module, lr, gt), atol=1e-4)
            handle = module.conv_last.register_forward_pre_hook(lambda _, args: (args[0] * 0,))
            assert np.allclose(values[-1], psnr(module, lr, gt), atol=1e-4)
            handle.remove()
    assert result.arrays["rates"].tolist() == [0, 0.25, 0.5, 1]


def test_a_draw_is_a_forward_with_half_of_the_channels(hr):
    options = DropoutOptions(rates=(0.25, 0.5), draws=2, degradations="clean")
    module, lr = demo_network("target").module, make_lr(hr[:1], "clean", scale=4)
    with torch.no_grad(), sr_hooks.capture(module, ["conv_last:in"]) as kept:
        module(lr)
    feature = kept["conv_last:in"]
    drops = Drops(feature, "conv_last:in", (0.25, 0.5), options)
    masks = [drops[index][0].abs().sum(dim=(1, 2)) > 0 for index in range(len(drops))]
    assert [int(mask.sum()) for mask in masks] == [32, 32, 24, 24, 16, 16, 0, 0]
    assert not torch.equal(masks[4], masks[5])
    assert not (masks[4] & ~masks[2]).any()  # what the smaller rate drops, the larger one drops too
    found = sr_hooks.run("dropout", demo_network("target"), hr[:1], rates=(0.25, 0.5), draws=2, degradations="clean")
    for draw in range(2):
        dropped = feature * masks[4 + draw][None, :, None, None] * 2
        assert torch.allclose(drops[4 + draw], dropped)
        handle = module.conv_last.register_forward_pre_hook(lambda _, args, dropped=dropped: (dropped,))
        assert found.arrays["psnr"][0, 2, 0, draw] == pytest.approx(psnr(module, lr, hr[:1]), abs=1e-4)
        handle.remove()


def test_more_is_dropped_of_the_same_order_and_reruns_are_equal(result, hr):
    again = sr_hooks.run(
        "dropout", demo_network("target"), hr, rates=(0.25, 0.5), draws=3, degradations="clean noise:20"
    )
    assert np.array_equal(again.arrays["psnr"], result.arrays["psnr"]) and again.scalars == result.scalars
    fewer = sr_hooks.run("dropout", demo_network("target"), hr[:2], rates=0.5, draws=2, degradations="noise:20")
    assert np.allclose(fewer.arrays["psnr"][0, 1], result.arrays["psnr"][1, 2, :2, :2], atol=1e-6)
    other = sr_hooks.run("dropout", demo_network("target"), hr[:1], rates=0.5, draws=2, degradations="clean", seed=1)
    assert not np.allclose(other.arrays["psnr"][0, 1], result.arrays["psnr"][0, 2, :1, :2], atol=1e-3)


def test_elements_are_dropped_too_and_plain_zeros_without_rescale(hr):
    shared = {"rates": 0.5, "draws": 1, "degradations": "clean"}
    element = sr_hooks.run("dropout", demo_network("target"), hr[:1], unit="element", **shared)
    plain = sr_hooks.run("dropout", demo_network("target"), hr[:1], rescale=False, **shared)
    assert element.arrays["rates"][1] == 0.5 and element.scalars["unit"] == "element"
    assert plain.arrays["psnr"][0, 1, 0, 0] != element.arrays["psnr"][0, 1, 0, 0]
    assert plain.verdict.startswith("untested")


def test_a_feature_that_nobody_hears_has_no_effect(hr):
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
            nn.init.zeros_(self.b.weight)

        def forward(self, x):
            return x + self.b(self.a(x))

    found = sr_hooks.run("dropout", Deaf(), hr, degradations="noise:20")
    assert found.verdict.startswith("no effect")


def test_curves_of_known_loss():
    rng = np.random.default_rng(0)
    rates = np.array([0, 0.5, 1])
    lost = np.array([[0, 1.0, 9], [0, 3.0, 9]])[:, :, None, None]
    psnr = 30 - lost - rng.normal(0, 0.05, (2, 3, 20, 5)) * np.array([0, 1, 0])[None, :, None, None]
    scalars = {**summarise_curves(psnr, rates, ["clean", "blur:2"], 0), "layer": "x", "unit": "channel"}
    clean, blur = scalars["curves"]
    assert clean["mean_loss"] == pytest.approx(0.5, abs=0.02) and blur["contrast"] == pytest.approx(1.0, abs=0.03)
    assert clean["mean_loss_interval"][0] < 0.5 < clean["mean_loss_interval"][1]
    assert blur["contrast_interval"][0] > 0.9
    assert judge_curves(scalars).startswith("told apart")
    few = {**summarise_curves(psnr[:, :, :1], rates, ["clean", "blur:2"], 0), "layer": "x", "unit": "channel"}
    assert judge_curves(few).startswith("untested") and "over draws alone" in judge_curves(few)
    fewest = summarise_curves(psnr[:, :, :2, :2], rates, ["clean", "blur:2"], 0)
    assert "mean_loss_interval" not in fewest["curves"][0]
    same = {**summarise_curves(psnr[[0, 0]], rates, ["clean", "twin"], 0), "layer": "x", "unit": "channel"}
    assert judge_curves(same).startswith("not told apart")


def test_mistakes_are_named(hr):
    network = demo_network("target")
    for rates in (1.0, 0, "much", ()):
        with pytest.raises(sr_hooks.SRHooksError, match="rates"):
            sr_hooks.run("dropout", network, hr, rates=rates)
    with pytest.raises(sr_hooks.SRHooksError, match="names 2 taps"):
        sr_hooks.run("dropout", network, hr, layer=["body.0", "body.1"])


def test_the_command_with_its_figure(tmp_path):
    arguments = ["--image", str(photographs()[0]), "--crop", "48", "--draws", "2", "--rates", "0.3", "0.6"]
    assert main(["dropout", "--model", "demo:target", *arguments, "--out", str(tmp_path / "d")]) == 0
    assert (tmp_path / "d/figure.png").is_file() and sr_hooks.load(tmp_path / "d").scalars["draws"] == 2


def test_compat_scales_by_the_sum_of_the_feature_as_the_public_code_does(hr):
    """In the public code channels fall one after another, the rest divided by (all - dropped) / all of |feature|."""
    module, lr, gt = demo_network("target").module, make_lr(hr[:1], "clean", scale=4), hr[:1]
    shared = {"rates": (0.25, 0.5), "draws": 2, "degradations": "clean"}
    result = sr_hooks.run("dropout", demo_network("target"), hr[:1], compat="rdsr", **shared)
    with torch.no_grad(), sr_hooks.capture(module, ["conv_last:in"]) as kept:
        module(lr)
    feature = kept["conv_last:in"]
    truth = np.uint8(gt[0].mul(255).numpy()).astype(np.float64)
    for draw in range(2):
        order = generator(0, "dropout", draw).permutation(32)
        copy, whole, gone, at = feature.clone(), feature.abs().sum(), 0.0, {}
        for dropped, channel in enumerate(order, 1):
            gone = gone + copy[0, channel].abs().sum()
            copy[0, channel] = 0
            at[dropped] = copy / ((whole - gone) / whole)
        for rate, dropped in ((1, 8), (2, 16)):
            handle = module.conv_last.register_forward_pre_hook(lambda _, args, value=at[dropped]: (value,))
            with torch.no_grad():
                picture = np.uint8(module(lr)[0].clamp(0, 1).mul(255).numpy()).astype(np.float64)
            handle.remove()
            expected = 20 * np.log10(255 / np.sqrt(np.mean((picture - truth) ** 2)))
            assert result.arrays["psnr"][0, rate, 0, draw] == pytest.approx(expected, abs=1e-4)
    own = sr_hooks.run("dropout", demo_network("target"), hr[:1], **shared)
    assert not np.allclose(own.arrays["psnr"][0, 1:3], result.arrays["psnr"][0, 1:3], atol=1e-2)  # by the share left
    assert "sum of |feature|" in own.verdict and "Published procedure" in result.verdict
