"""Saliency against a gradient taken tap by tap, ablation against whole forwards, on networks as they are trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from csm_networks import handle_of, leaf_at, msrresnet, swinir
from sr_hooks_csm.ablation import Tails
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.demo import demo_network, photographs
from sr_hooks.hooks import parse_tap
from sr_hooks.images import downsample, read_image
from sr_hooks.inference import ExecutionPlan, Tail


class Favourite(nn.Module):
    """Its output is the input enlarged, plus what channel 2 of four has to say; the others are heard by nobody."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head, self.tail = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 12, 3, padding=1)
        with torch.no_grad():
            self.tail.weight[:, [0, 1, 3]] = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        up = F.pixel_shuffle(self.tail(torch.relu(self.head(x))), 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") + up


TAPS = {
    "MSRResNet": ["lrelu#0", "body.0", "body.1", "lrelu#1", "conv_last:in"],
    "SwinIR": ["layers.0", "conv_after_body"],
}
NETWORKS = {"MSRResNet": msrresnet, "SwinIR": swinir}


def gradient_alone(build, tap: str, lr: torch.Tensor) -> np.ndarray:
    """The published way: a network of its own for the tap, one forward, one backward."""
    module = build()
    leaf, _ = leaf_at(module, tap)
    out = F.pad(module(lr), (0, 1, 0, 1), mode="replicate")
    dy, dx = out[..., :-1, :-1] - out[..., 1:, :-1], out[..., :-1, :-1] - out[..., :-1, 1:]
    ((dx * dx + dy * dy + 1e-6).sqrt() - 1e-3).double().sum().backward()
    gradient = leaf["feature"].grad
    axes = (0, 2, 3) if gradient.ndim == 4 else (0, 1)
    return (gradient.abs() / gradient.abs().max()).double().sum(dim=axes).numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_all_taps_at_once_are_what_each_tap_gives_alone(name, hr):
    result = sr_hooks.run("csm", NETWORKS[name](), hr, layers=TAPS[name], ablate=False)
    lr = downsample(hr, 2)
    for t, tap in enumerate(TAPS[name]):
        for n in range(2):
            expected = gradient_alone(NETWORKS[name], tap, lr[n : n + 1])
            found = result.arrays["saliency"][n, t, : len(expected)]
            assert np.allclose(found, expected, rtol=2e-3), (tap, n)
            assert np.isnan(result.arrays["saliency"][n, t, len(expected) :]).all()
    assert result.verdict.startswith("untested")


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_ablation_is_a_whole_forward_with_the_channel_zeroed(name, rescale, hr):
    result = sr_hooks.run("csm", NETWORKS[name](), hr, layers=TAPS[name], rescale=rescale, border=3)
    lr, module = downsample(hr, 2), NETWORKS[name]()
    assert result.scalars["replayed"] is True
    for t, tap in enumerate(TAPS[name]):
        for channel in (0, 5):

            def zeroed(feature, channel=channel):
                axis, out = 1 if feature.ndim == 4 else 2, feature.clone()
                out.select(axis, channel).zero_()
                return out * (feature.abs().sum() / out.abs().sum()) if rescale else out

            handle = handle_of(module, tap, zeroed)
            with torch.no_grad():
                error = (module(lr[1:]).clamp(0, 1) - hr[1:])[..., 3:-3, 3:-3].square().mean()
            handle.remove()
            assert result.arrays["psnr"][1, t, channel] == pytest.approx(-10 * np.log10(float(error)), abs=1e-4)


class Undecided(Favourite):
    """Favourite, with a branch on a value: its operations cannot be recorded."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.mean() < 2 else x


class Remembering(Favourite):
    """Favourite, whose output has a share of an image that it met before: a recording is not the network."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        self.seen = getattr(self, "seen", 0) + 1
        return out * (1 + self.seen % 2)


def test_networks_that_cannot_be_recorded_or_are_not_their_recording_take_whole_tails(hr):
    plain = sr_hooks.run("csm", Favourite(), hr, layers="head", lr=downsample(hr, 2))
    other = sr_hooks.run("csm", Undecided(), hr, layers="head", lr=downsample(hr, 2))
    assert np.allclose(plain.arrays["psnr"], other.arrays["psnr"], atol=1e-5) and other.scalars["replayed"] is True
    network = sr_hooks.Network(Remembering(), scale=2, multiple=1, channels=3)
    tails = Tails(network, [parse_tap("head")], ExecutionPlan())
    x = downsample(hr[:1], 2)
    with torch.no_grad():
        tails.start(x, network(x), batch=2)
        assert isinstance(tails.tail(parse_tap("head"), rescale=False), Tail)


def test_the_saliency_of_all_taps_costs_one_forward_and_one_backward(hr):
    network = sr_hooks.Network(msrresnet(), scale=2, multiple=1, channels=3)
    runs, backwards = [], []
    sr_hooks.run("csm", network, hr[:1], layers=["body.*"], ablate=False)  # calibrates
    network.module.register_forward_hook(lambda *_: runs.append(1))
    network.module.body[1].conv1.register_forward_hook(
        lambda _, args, out: out.register_hook(lambda _: backwards.append(1)) and None if out.requires_grad else None
    )
    sr_hooks.run("csm", network, hr[:1], layers=["body.0"], ablate=False)  # observes the network with its hooks anew
    runs.clear()
    backwards.clear()
    sr_hooks.run("csm", network, hr[:1], layers=["body.0"], ablate=False)
    one = (len(runs), len(backwards))
    sr_hooks.run("csm", network, hr[:1], layers=["body.*", "conv_last:in", "lrel?"], ablate=False)
    assert (len(runs) - one[0], len(backwards) - one[1]) == one and one[1] == 1


def test_the_channel_that_is_heard_is_found(hr):
    result = sr_hooks.run("csm", Favourite(), hr, layers="head")
    saliency, psnr = result.arrays["saliency"][:, 0], result.arrays["psnr"][:, 0]
    assert (saliency[:, [0, 1, 3]] == 0).all() and (saliency[:, 2] > 0).all()
    assert np.allclose(psnr[:, [0, 1, 3]], result.arrays["base_psnr"][:, None], atol=1e-9)
    (row,) = result.scalars["taps"]
    assert row["most_salient"] == 2 and row["correlation"] == pytest.approx(1)
    assert result.arrays["shown_0"][0] == 2 and result.arrays["map_0"][0].max() == 1


def test_what_cannot_be_foretold_is_not_called_so(hr):
    mute = Favourite()
    nn.init.zeros_(mute.tail.weight)
    assert sr_hooks.run("csm", mute, hr, layers="head").verdict.startswith("degenerate")
    assert sr_hooks.run("csm", msrresnet(), hr[:1], layers="body.0").verdict.endswith("no interval over images.")


def test_reruns_are_equal_and_nothing_is_left_on_the_network(hr):
    module = msrresnet()
    before = [{k: len(v) for k, v in vars(m).items() if "hooks" in k and v is not None} for m in module.modules()]
    first, again = (sr_hooks.run("csm", module, hr, layers="body.*", degradation="noise:20", seed=3) for _ in range(2))
    assert first.scalars == again.scalars
    assert all(np.array_equal(first.arrays[k], again.arrays[k], equal_nan=True) for k in first.arrays)
    after = [{k: len(v) for k, v in vars(m).items() if "hooks" in k and v is not None} for m in module.modules()]
    assert before == after and not any("forward" in vars(m) for m in module.modules())


def test_ready_made_inputs_are_what_images_give(hr):
    made = sr_hooks.run("csm", msrresnet(), hr, layers="body.0")
    ready = sr_hooks.run("csm", msrresnet(), hr, layers="body.0", lr=downsample(hr, 2))
    assert np.allclose(made.arrays["psnr"], ready.arrays["psnr"], atol=1e-5)


def test_mistakes_are_named(hr):
    with pytest.raises(sr_hooks.SRHooksError, match="no layer"):
        sr_hooks.run("csm", msrresnet(), hr, layers="bodie.0")
    with pytest.raises(sr_hooks.SRHooksError, match="maps is -1"):
        sr_hooks.run("csm", msrresnet(), hr, maps=-1)
    with pytest.raises(sr_hooks.SRHooksError, match="psnr, psnr_y"):
        sr_hooks.run("csm", msrresnet(), hr, metric="ssim")
    with pytest.raises(sr_hooks.SRHooksError, match="crop is 999"):
        sr_hooks.run("csm", msrresnet(), hr, crop=999)


def test_the_command_on_photographs_with_its_figures(tmp_path):
    files = [str(path) for path in photographs()[:2]]
    common = ["csm", "--model", "demo:target", "--image", *files, "--crop", "64", "--out", str(tmp_path / "csm")]
    for layers in (["auto"], ["body.0", "body.11"]):
        assert main([*common, "--layers", *layers]) == 0
        loaded = sr_hooks.load(tmp_path / "csm")
        assert (tmp_path / "csm/figure.png").stat().st_size > 20_000 and loaded.scalars["images"] == 2
    assert main([*common, "--no-ablate"]) == 0
    assert (tmp_path / "csm/figure.png").is_file()


def test_the_demo_network_has_channels_that_matter():
    images = [read_image(path)[..., 64:160, 64:160] for path in photographs()]
    result = sr_hooks.run("csm", demo_network("target"), images)
    assert result.verdict.startswith("predictive") and result.scalars["largest_loss"] > 0.05
