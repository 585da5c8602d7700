"""Channels that are planted dead, constant and saturated; orders, composites and films; networks of all kinds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sr_hooks_features.layout import maps_of, shrunk
from sr_hooks_features.pictures import composite_of
from sr_hooks_features.sums import ChannelSums, bound
from torch import nn

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import downsample, read_image
from sr_hooks.networks import import_basicsr


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def lr() -> torch.Tensor:
    return torch.cat([downsample(read_image(file), 4)[..., :37, :29] for file in photographs()[:3]])


class Planted(nn.Module):
    """One layer whose channels are: dead 1, constant 2, saturated 4, the rest lively."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.relu = nn.ReLU()
        self.squash = nn.Tanh()
        self.last = nn.Conv2d(6, 3, 3, padding=1)
        with torch.no_grad():
            self.conv.weight[1] = 0
            self.conv.bias[1] = -1
            self.conv.weight[2] = 0
            self.conv.bias[2] = 0.25
            self.conv.weight[4] = 0
            self.conv.weight[4, 0, 1, 1] = 1000
            self.conv.bias[4] = -200

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.last(torch.cat([self.relu(x[:, :3]), self.squash(x[:, 3:])], dim=1))


def network(module: nn.Module, scale: int = 1) -> sr_hooks.Network:
    return sr_hooks.Network(module, scale=scale, multiple=1, channels=3)


def test_planted_channels_are_counted_and_named(lr):
    result = sr_hooks.run("features", network(Planted()), lr.repeat(2, 1, 1, 1), layers=["relu", "squash", "last:in"])
    relu, squash, both = result.scalars["layers"]
    assert (relu["dead"], relu["constant"], relu["saturated"]) == (1, 1, 0) and relu["dead_channels"] == [1]
    assert (squash["dead"], squash["constant"], squash["saturated"]) == (0, 0, 1)
    assert (both["dead"], both["constant"], both["saturated"]) == (1, 1, 1)
    assert result.scalars["images"] == 6 and "relu (1 of 3)" in result.verdict and "cannot tell" not in result.verdict
    assert f"fewer than {bound(6):.0%}" in result.verdict and result.figure() is not None


def test_one_image_is_too_little_for_dead(lr):
    result = sr_hooks.run("features", network(Planted()), lr[:1], layers="relu")
    assert result.scalars["layers"][0]["dead"] == 1
    assert result.verdict.startswith("cannot tell whether channels are dead")
    assert bound(1) == 0.95 and bound(4) > 0.5 > bound(5)


def test_a_channel_that_fires_on_one_image_is_not_dead(lr):
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    images = torch.full((5, 3, 16, 16), 0.2)
    images[3] = 0.9
    with torch.no_grad():
        module[0].weight.fill_(0.1), module[0].bias.fill_(0.1)
        module[0].weight[0], module[0].bias[0] = 1 / 3, -0.5  # fires where the image is brighter than 0.5
        module[0].weight[1], module[0].bias[1] = 0, -1
    result = sr_hooks.run("features", network(module), images, layers="1", control=False)
    assert result.scalars["layers"][0]["dead_channels"] == [1]


def test_maps_are_the_features_in_their_order(lr):
    net = demo_network("baseline")
    options = {"layers": ["conv_first", "body.2"], "top": 5, "control": False}
    result = sr_hooks.run("features", net, lr, shown=1, **options)
    with torch.no_grad(), sr_hooks.capture(net, ["body.2"]) as features:
        net(lr[1:2])
    feature = features["body.2"][0]
    shown = result.scalars["layers"][1]["shown"]
    assert np.array_equal(result.arrays["maps_1"], feature[shown].numpy())
    spread = sum(each.std(dim=(1, 2), correction=0) for each in _features(net, lr))
    assert shown == torch.argsort(-spread, stable=True)[:5].tolist()
    assert np.allclose(result.arrays["activation_1"], feature.abs().mean(0).numpy())
    by_index = sr_hooks.run("features", net, lr, order="index", **options)
    assert by_index.scalars["layers"][0]["shown"] == [0, 1, 2, 3, 4]
    own = sr_hooks.run("features", net, lr, channels={"body.2": [3, 1]}, **options)
    assert own.scalars["layers"][1]["shown"] == [3, 1] and own.arrays["maps_1"].shape[0] == 2
    with pytest.raises(sr_hooks.SRHooksError, match="channels of body"):
        sr_hooks.run("features", net, lr, channels={"body.2": [99]}, **options)
    with pytest.raises(sr_hooks.SRHooksError, match="shown is 3"):
        sr_hooks.run("features", net, lr, shown=3, **options)


def _features(net: sr_hooks.Network, lr: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad(), sr_hooks.capture(net, ["body.2"]) as features:
        return [(net(image[None]), features["body.2"][0].double())[1] for image in lr]


def test_saliency_puts_what_the_output_needs_first(lr):
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1))
    with torch.no_grad():
        module[1].weight[:, 2] *= 50
        module[1].weight[:, 0] = 0
    result = sr_hooks.run("features", network(module), lr[:1], layers="0", order="saliency", control=False)
    shown = result.scalars["layers"][0]["shown"]
    assert shown[0] == 2 and shown[-1] == 0 and "gradient" in result.verdict


def test_the_composite_is_of_principal_components():
    maps = torch.randn(7, 20, 23) * torch.tensor([9.0, 5, 3, 1, 0.1, 0.1, 0.1])[:, None, None]
    picture, share = composite_of(maps)
    values = maps.flatten(1).double().numpy()
    _, singular, right = np.linalg.svd(values - values.mean(1, keepdims=True), full_matrices=False)
    assert share == pytest.approx((singular[:3] ** 2).sum() / (singular**2).sum(), abs=1e-9)
    inside = (picture[0].flatten() > 0) & (picture[0].flatten() < 1)
    correlation = np.corrcoef(picture[0].flatten().numpy()[inside], right[0][inside.numpy()])[0, 1]
    assert abs(correlation) > 0.9999
    assert composite_of(torch.ones(2, 4, 4))[0].unique().tolist() == [0.5]


def test_large_maps_are_shrunk_and_statistics_are_not(lr):
    net = demo_network("baseline")
    whole, small = (
        sr_hooks.run("features", net, lr[:1], layers="conv_first", control=False, side=side) for side in (128, 16)
    )
    row = small.scalars["layers"][0]
    assert row["shape"] == [32, 37, 29] and row["stored"] == [32, 16, 13] == list(small.arrays["maps_0"].shape)
    assert small.scalars["layers"][0]["max"] == whole.scalars["layers"][0]["max"]
    means = [r.arrays["maps_0"].mean() for r in (whole, small)]
    assert means[0] == pytest.approx(means[1], rel=0.05) and shrunk(torch.ones(1, 4, 4), 8).shape == (1, 4, 4)


def test_means_over_the_image_are_not_called_constant(lr):
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1)))

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            feature = self.body[0](x)
            return x + (feature * self.body[1](feature))[:, :3]

    result = sr_hooks.run("features", network(Gate()), lr, layers=["body.0", "body.1.1"])
    assert [row["shape"][1:] for row in result.scalars["layers"]] == [[37, 29], [1, 1]]
    assert result.scalars["constant"] == 0 and result.figure() is not None


@pytest.mark.parametrize(("analysis", "layers"), [("features", "all"), ("health", "innermost"), ("health", "all")])
def test_a_network_that_is_one_layer_is_refused_by_name(lr, analysis, layers):
    with pytest.raises(sr_hooks.SRHooksError, match=r"Conv2d has no layers inside .* torch\.nn\.Sequential"):
        sr_hooks.run(analysis, network(nn.Conv2d(3, 3, 3, padding=1)), lr, layers=layers)


def test_entropy_and_kurtosis_of_known_features():
    sums = ChannelSums()
    for _ in range(3):
        sums.add(5 + torch.randn(1, 8, 64, 64))
    assert sums.entropy == pytest.approx(1, abs=1e-3) and sums.kurtosis == pytest.approx(3, abs=0.1)
    alone = ChannelSums()
    maps = torch.zeros(1, 8, 16, 16)
    maps[0, 3] = torch.rand(16, 16)
    alone.add(maps)
    assert str(alone.entropy) == "0.0" and alone.dead.sum() == 7 and alone.kurtosis > 3
    broken = ChannelSums()
    broken.add(torch.tensor([[[[1.0, float("nan")], [float("inf"), 3.0]]]]))
    assert broken.nonfinite == 2 and broken.row()["max"] == 3
    lost = ChannelSums()
    lost.add(torch.stack([torch.full((4, 4), float("nan")), torch.zeros(4, 4), torch.rand(4, 4)])[None])
    assert lost.row()["dead_channels"] == [1] and not lost.constant.any(), "NaN is not silence"


def test_tokens_lie_on_the_padded_image(lr):
    pytest.importorskip("spandrel", reason="spandrel is not installed")
    from spandrel.architectures.HAT import HAT

    module = HAT(
        img_size=16, embed_dim=12, depths=[1], num_heads=[2], window_size=8, compress_ratio=3, squeeze_factor=4,
        overlap_ratio=0.5, mlp_ratio=2, upscale=2, upsampler="pixelshuffle",
    )  # fmt: skip
    net = sr_hooks.Network(module.eval(), scale=2, channels=3)
    image = lr[:1, :, :19, :15]
    result = sr_hooks.run("features", net, image, layers=["layers.0", "conv_after_body"], top=4, control=False)
    assert [row["shape"] for row in result.scalars["layers"]] == [[12, 24, 16], [12, 24, 16]]
    assert np.isfinite(sr_hooks.run("health", net, image).arrays["max"]).all()
    with pytest.raises(sr_hooks.SRHooksError, match="name other layers"):
        maps_of(torch.zeros(4, 16, 12), "attn", (19, 15))


def test_channels_and_frames_of_a_convolution_over_time(lr):
    class OverTime(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv3d(3, 5, 3, padding=1)
            self.last = nn.Conv3d(5, 3, 1)

        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            return clip + self.last(self.first(clip.transpose(1, 2))).transpose(1, 2)

    module = OverTime()
    net = sr_hooks.Network(module, scale=1, multiple=1, channels=3, frames=4)
    clip = lr[:1, None].repeat(1, 4, 1, 1, 1) * torch.linspace(0.5, 1, 4).view(-1, 1, 1, 1)
    result = sr_hooks.run("features", net, clip, layers="first", order="index", control=False)
    rows = result.scalars["layers"]
    assert [row["frame"] for row in rows] == [0, 1, 2, 3] and {row["channels"] for row in rows} == {5}
    with torch.no_grad():
        expected = module.first(clip.transpose(1, 2))[0, :, 2]
    assert np.allclose(result.arrays["maps_2"], expected.numpy(), atol=1e-6)
    assert sr_hooks.run("health", net, clip).scalars["layers"][0]["channels"] == 5


@pytest.mark.slow
def test_a_network_over_clips_is_shown_frame_by_frame(lr):
    try:
        import_basicsr()
    except sr_hooks.SRHooksError as error:
        pytest.skip(str(error))
    net = sr_hooks.Network.from_basicsr("BasicVSR", {"num_feat": 8, "num_block": 1}, frames=3)
    clip = torch.nn.functional.interpolate(lr, size=(64, 68))[None]
    result = sr_hooks.run("features", net, clip, layers="conv_last", top=4, control=False, side=64)
    names = [row["layer"] for row in result.scalars["layers"]]
    assert names == ["conv_last#0", "conv_last#1", "conv_last#2"]
    assert result.figure() is not None and result.arrays["input"].shape == (3, 64, 68)
    health = sr_hooks.run("health", net, clip)
    assert np.isfinite(health.arrays["max"]).all() and len(health.arrays["max"]) > 10


def test_from_the_command_line(tmp_path):
    arguments = ["--model", "demo:baseline", "--image", str(photographs()[0]), "--out", str(tmp_path / "out")]
    assert main(["features", *arguments, "--layers", "body.1", "--top", "9", "--figure", "colormap=viridis"]) == 0
    loaded = sr_hooks.load(tmp_path / "out")
    assert loaded.arrays["maps_0"].shape == (9, 128, 128) and (tmp_path / "out/figure.png").is_file()
