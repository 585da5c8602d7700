"""LAM, DDR and FAIG of networks over clips: known answers, real architectures, a known camera motion."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.analyses.lam import integration as lam_explanation
from sr_hooks.cli.app import main
from sr_hooks.degradations.parsing import make_lr
from sr_hooks.errors import SRHooksError
from sr_hooks.images.clips import by_frames, camera_pan
from sr_hooks.images.image import downsample, write_image
from sr_hooks.inference.calibration import ExecutionPlan
from sr_hooks.results.result import read_result
from sr_hooks.statistics import measures
from tests.support.networks import Tiny

pytestmark = pytest.mark.slow

THIRDS = (1, 2, 4)


class Average(nn.Module):
    """Each output frame is the mean of three known frames, enlarged twice."""

    def __init__(self, frames: tuple[int, ...] = THIRDS) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        self.used = list(frames)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _n, t, _c, _h, _w = x.size()
        mean = self.conv(x[:, self.used].mean(dim=1))
        return F.interpolate(mean, scale_factor=2.0, mode="nearest")[:, None].expand(-1, t, -1, -1, -1)


@pytest.fixture(scope="module")
def clip(photo: torch.Tensor) -> torch.Tensor:
    """(1,5,3,40,44): the camera moves by 1 and 1.5 pixels a frame."""
    hr = camera_pan(photo, frames=5, size=(160, 176), step=(4, 6), start=(40, 30))
    return by_frames(lambda frames: downsample(frames, 4), hr)


def test_three_frames_averaged_hold_a_third_each(photo: torch.Tensor, lr: torch.Tensor) -> None:
    """Of a still, whatever objective and path: the frames are alike, so are their attributions, to the last bit."""
    still = lr[:, None].expand(-1, 6, -1, -1, -1)
    result = sr_hooks.lam(sr_hooks.Network(Average(), frames=6), still, window=(40, 40, 16))
    sums = result.map.astype(np.float64).sum(axis=(1, 2))
    assert result.attribution.shape == (6, 3, 64, 64)
    assert sums[1] == sums[2] == sums[4] > 0 and sums[0] == sums[3] == sums[5] == 0
    assert np.allclose(result.frame_shares, [0, 1 / 3, 1 / 3, 0, 1 / 3, 0], rtol=0, atol=1e-15)
    assert result.temporal_diffusion == pytest.approx(3, abs=1e-12)
    assert "3.00 of 6 frames are used effectively" in result.verdict and "stands still" in result.verdict
    assert result.verdict.startswith("sound")


def test_three_moving_frames_hold_a_third_each(clip: torch.Tensor) -> None:
    """Frames that differ, along a path by which all change alike: gradient and change are the same in each."""

    def fade(image: torch.Tensor, t: float) -> torch.Tensor:
        return image + 0.25 * (t - 1)

    result = sr_hooks.lam(
        Average(), clip, window=(20, 20, 8), objective="intensity", path=fade, frame=0, tolerance=1e-3
    )
    assert np.allclose(result.frame_shares, [0, 1 / 3, 1 / 3, 0, 1 / 3], rtol=0, atol=1e-6)
    inside = result.attribution[1, :, 10:14, 10:14]
    assert np.allclose(inside, 4 / 3 * 0.25, rtol=1e-5)  # four output pixels an input pixel, a third of each
    assert result.attribution.sum() == pytest.approx(result.scalars["objective_change"], rel=1e-5)
    assert result.frame == 0 and result.scalars["frame_at"] == 0 and not result.scalars["still"]


def test_shares_are_those_of_the_closed_form(clip: torch.Tensor) -> None:
    """A linear network: attribution is weight times change, frame by frame, along the per-frame blur."""
    from sr_hooks.images.image import blur

    result = sr_hooks.lam(Average(), clip, window=(20, 20, 8), objective="intensity", steps=5)
    change = by_frames(lambda frames: frames - torch.cat([blur(f[None], [1.2]) for f in frames]), clip)[0].numpy()
    expected = np.zeros_like(change)
    expected[list(THIRDS), :, 10:14, 10:14] = 4 / 3 * change[list(THIRDS), :, 10:14, 10:14]
    assert np.allclose(result.attribution, expected, atol=1e-6)
    sums = np.abs(expected.sum(axis=1)).sum(axis=(1, 2))
    assert np.allclose(result.frame_shares, sums / sums.sum(), atol=1e-6)


def test_effective_number_of_frames() -> None:
    assert measures.effective_number(np.array([0, 0, 1.0])) == 1
    assert measures.effective_number(np.full(7, 1 / 7)) == pytest.approx(7)
    assert measures.effective_number(np.zeros(3)) == 0
    assert 1 < measures.effective_number(np.array([0.9, 0.1])) < 2


SMALL = {"num_feat": 8, "num_block": 1}
NETWORKS = {
    "BasicVSR": (SMALL, 5),
    "IconVSR": (SMALL, 5),
    "TOFlow": ({}, 7),
    "DUF": ({"num_layer": 16}, 7),
    "EDVR": ({"num_feat": 8, "num_extract_block": 1, "num_reconstruct_block": 1, "deformable_groups": 1}, 5),
    "BasicVSRPlusPlus": ({"mid_channels": 8, "num_blocks": 1}, 3),
}


def panned(photo: torch.Tensor, frames: int, side: int, scale: float, step: tuple[int, int] = (2, 4)) -> torch.Tensor:
    """(1,T,3,side,side) of the known motion step / scale."""
    hr = camera_pan(photo, frames=frames, size=(int(side * scale),) * 2, step=step, start=(30, 30))
    return by_frames(lambda each: downsample(each, scale), hr)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_video_architecture_of_basicsr(
    basicsr, photo: torch.Tensor, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lam_explanation, "calibrate", lambda *_: ExecutionPlan())  # for time; speed is not asked about
    arguments, frames = NETWORKS[name]
    network = sr_hooks.Network.from_basicsr(name, arguments, frames=frames)
    side = 64 if name == "BasicVSRPlusPlus" else 40 if name in ("TOFlow", "EDVR") else 36
    if name == "BasicVSRPlusPlus":
        assert network.module.is_with_alignment, "torchvision's operator serves on a CPU"
    with torch.no_grad():
        network.module.conv_last.weight.mul_(3) if hasattr(network.module, "conv_last") else None
    result = sr_hooks.lam(network, panned(photo, frames, side, 2), window=(24, 24, 8), steps=3)
    assert result.attribution.shape == (frames, 3, side, side) and np.isfinite(result.attribution).all()
    assert result.frame == frames // 2 and result.map.max() > 0
    assert result.frame_shares.sum() == pytest.approx(1) and (result.frame_shares > 0).all()
    assert 1 <= result.temporal_diffusion <= frames and result.completeness_gap < 0.1
    if name in ("BasicVSR", "IconVSR", "DUF"):
        before, after = result.frame_shares[: frames // 2 + 1], result.frame_shares[frames // 2 :]
        assert (np.diff(before) > 0).all() and (np.diff(after) < 0).all(), "the share falls with distance"
    assert not getattr(network.module, "is_mirror_extended", False), "a state that a still clip would leave behind"
    print(name, np.round(result.frame_shares, 4), result.completeness_gap, result.verdict)


class Decaying(nn.Module):
    """A recurrent network as those of video restoration are: each frame's feature is mixed with the one before."""

    def __init__(self, memory: float = 0.5, features: int = 4) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head = nn.Conv2d(3, features, 3, padding=1)
        self.mix = nn.Conv2d(features, features, 3, padding=1)
        self.tail = nn.Conv2d(features, 12, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.memory = memory

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        _n, t, _c, _h, _w = x.size()
        outs, state = [], None
        for i in range(t):
            feature = self.head(x[:, i])
            state = feature if state is None else self.memory * self.mix(state) + feature
            outs.append(F.interpolate(x[:, i], scale_factor=2.0) + 0.1 * self.shuffle(self.tail(F.relu(state))))
        return torch.stack(outs, dim=1), x.mean()


def decaying(**facts) -> sr_hooks.Network:
    return sr_hooks.Network(Decaying(), output=0, **facts)


class TestFrames:
    def test_a_network_over_clips_is_known_by_running_it(self) -> None:
        network = decaying()
        assert (network.frames, network.scale, network.channels, network.multiple) == (7, 2, 3, 1)
        assert network.returned_frames(4) == [0, 1, 2, 3] and network.describe()["frames"] == 7
        assert network(torch.rand(2, 3, 3, 8, 9)).shape == (2, 3, 16, 18)
        assert network.whole()(torch.rand(1, 3, 3, 8, 9)).shape == (1, 3, 3, 16, 18)
        assert network(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16), "an image stands still"

    def test_the_past_is_seen_from_every_frame(self, clip: torch.Tensor) -> None:
        for frame in (0, 2, 4):
            result = sr_hooks.lam(decaying(), clip, window=(20, 20, 16), frame=frame)
            shares = result.frame_shares
            assert (shares[frame + 1 :] == 0).all() and (np.diff(shares[: frame + 1]) > 0).all()
            assert result.frame == frame and result.verdict.startswith("sound") and result.completeness_gap < 0.05
        assert "the clip's ends" not in result.verdict and "in frame 4; its own frame holds" in result.verdict

    def test_fewer_and_more_frames_than_taken(self, clip: torch.Tensor) -> None:
        class Valid(Average):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return super().forward(x)[:, 1:-1]

        class Double(Average):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return super().forward(x).repeat_interleave(2, dim=1)[:, :-1]

        fewer = sr_hooks.lam(Valid(), clip, window=(20, 20, 8), frame=0, steps=3)
        assert (fewer.frame, fewer.scalars["frame_at"]) == (0, 1.0)
        more = sr_hooks.lam(Double(), clip, window=(20, 20, 8), frame=3, steps=3)
        assert (more.frame, more.scalars["frame_at"]) == (3, 1.5) and "its own frame" not in more.verdict

    def test_time_behind_the_channels(self, clip: torch.Tensor) -> None:
        """(N,C,T,h,w) is never mistaken for (N,T,C,h,w), and a function says how such a network is called."""

        class Volume(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.conv = nn.Conv3d(3, 3, 3, padding=1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x + 0.3 * torch.relu(self.conv(x))

        with pytest.raises(SRHooksError, match=r"does not run .* or time behind the channels"):
            sr_hooks.lam(Volume(), clip[:, :3], window=(8, 8, 8))
        network = sr_hooks.Network(
            Volume(), frames=5, forward=lambda module, x: module(x.transpose(1, 2)).transpose(1, 2)
        )
        result = sr_hooks.lam(network, clip, window=(8, 8, 8))
        assert (result.frame_shares[[0, 4]] == 0).all() and (result.frame_shares[1:4] > 0).all()
        assert result.frame_shares.argmax() == 2 == result.frame

    def test_objectives_that_look_at_the_input_look_at_the_windows_frame(self, clip: torch.Tensor) -> None:
        """A network that only enlarges has, in that frame, nothing that bicubic enlargement has not."""

        class Enlarge(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 3, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                n, t, _c, _h, _w = x.size()
                large = F.interpolate(x.flatten(0, 1), scale_factor=2.0, mode="bicubic", antialias=True)
                return large.unflatten(0, (n, t))

        result = sr_hooks.lam(Enlarge(), clip, window=(20, 20, 8), frame=1, objective="residual", steps=3)
        assert result.verdict.startswith("degenerate") and result.temporal_diffusion == 0

    @pytest.mark.parametrize(
        ("wrong", "match"),
        [
            ({"frame": 5}, r"frame is 5: of a clip of 5 frames Decaying returns frames 0 to 4"),
            ({"frame": -1}, r"frame is -1: .* frames 0 to 4"),
            ({"frame": "last"}, "frame is 'last': must be middle"),
            ({"window": (70, 0, 16)}, "output, which is 80 pixels high and 88 wide"),
            ({"compat": "lam_demo"}, "which is of images: not of clips"),
        ],
    )
    def test_mistakes(self, clip: torch.Tensor, wrong: dict, match: str) -> None:
        with pytest.raises(SRHooksError, match=match):
            sr_hooks.lam(decaying(), clip, **{"window": (0, 0, 8), **wrong})

    def test_mistakes_of_kind(self, clip: torch.Tensor, lr: torch.Tensor, tmp_path) -> None:
        with pytest.raises(SRHooksError, match="Tiny takes images, and this is a clip of shape"):
            sr_hooks.lam(Tiny(), clip, window=(0, 0, 8))
        with pytest.raises(SRHooksError, match="frame is 2, and Tiny takes images, which have none"):
            sr_hooks.lam(Tiny(), lr, window=(0, 0, 8), frame=2)
        with pytest.raises(SRHooksError, match="say which with Network"):
            sr_hooks.lam(Decaying(), clip, window=(0, 0, 8))
        with pytest.raises(SRHooksError, match=r"Fixed does not run on a clip of 5 frames \(.*\); it runs on 3"):
            sr_hooks.lam(sr_hooks.Network(Fixed(), frames=3), clip, window=(0, 0, 8))
        with pytest.raises(SRHooksError, match="frame is 0: of a clip of 3 frames Fixed returns one, frame 1"):
            sr_hooks.lam(sr_hooks.Network(Fixed(), frames=3), clip[:, :3], window=(0, 0, 8), frame=0)
        result = sr_hooks.lam(decaying(), clip, window=(20, 20, 8), steps=3)
        with pytest.raises(SRHooksError, match="this LAM is of a clip"):
            sr_hooks.check(result)
        for name, side in (("0.png", 16), ("1.png", 18)):
            write_image(lr[..., :side, :side], tmp_path / name)
        with pytest.raises(SRHooksError, match=r"is no clip: 1.png is 18x18 .* 0.png is 16x16"):
            sr_hooks.lam(decaying(), tmp_path, window=(0, 0, 8))


class Fixed(nn.Module):
    """Three frames in, the middle one out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(9, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, _t, _c, h, w = x.size()
        return self.conv(x.reshape(n, -1, h, w))


@pytest.mark.slow
def test_the_doors_agree(clip: torch.Tensor, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A folder of frames, a tensor, the command line and a result read again: one answer, with its figure."""
    frames = (clip * 255).round() / 255
    (tmp_path / "clip").mkdir()
    for t in range(frames.shape[1]):
        write_image(frames[:, t], tmp_path / f"clip/{t:03d}.png")
    ours = sr_hooks.lam(decaying(), frames[0], window=(20, 20, 16), frame=3)
    of_folder = sr_hooks.lam(decaying(), tmp_path / "clip", window=(20, 20, 16), frame=3)
    assert np.array_equal(ours.attribution, of_folder.attribution)
    monkeypatch.chdir(tmp_path)
    flags = ["--model", "tests.analyses.test_video:First", "--image", "clip", "--window", "20,20,16", "--frame", "3"]
    assert main(["lam", *flags, "--device", "cpu", "--out", "out"]) == 0
    assert "temporal diffusion" in capsys.readouterr().out
    read = read_result("out")
    assert np.array_equal(read.attribution, ours.attribution) and read.frame == 3 and read.provenance["input_file"]
    assert (tmp_path / "out/figure.png").stat().st_size > 20_000
    assert main(["lam", *flags[:-1], "9", "--out", "other"]) == 2
    assert "frame is 9: of a clip of 5 frames First returns frames 0 to 4" in capsys.readouterr().err


class First(Decaying):
    """For the command line, which has no selector: the frames alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x)[0]


class TestDdr:
    OPTIONS: ClassVar[dict] = {"patch": 32, "patches": 6, "tsne": 0, "permutations": 99, "subsamples": 0}

    @pytest.fixture(scope="class")
    def hr(self, photo: torch.Tensor) -> torch.Tensor:
        return camera_pan(photo, frames=4, size=(200, 200), step=(2, 3))

    def test_features_frame_by_frame(self, hr: torch.Tensor) -> None:
        """The state of a recurrent network at its k-th run is that of the clip's first k + 1 frames."""
        network = decaying()
        result = sr_hooks.ddr(network, hr, layers=["tail#0:in", "tail#3:in"], **self.OPTIONS)
        assert [layer.layer for layer in result.layers] == ["tail#0:in", "tail#3:in"]
        short = sr_hooks.ddr(network, hr[:, :1].expand(-1, 4, -1, -1, -1), layers="tail#0:in", **self.OPTIONS)
        assert result.layer("tail#0:in").chi == pytest.approx(short.layer("tail#0:in").chi, rel=1e-4)
        assert result.layer("tail#3:in").chi != pytest.approx(result.layer("tail#0:in").chi, rel=1e-3)
        assert result.arrays["examples"].shape == (3, 3, 16, 16)
        with pytest.raises(SRHooksError, match="runs 4 times in a forward: say which"):
            sr_hooks.ddr(network, hr, layers="tail", **self.OPTIONS)

    def test_a_layer_that_passes_all_frames_at_once(self, hr: torch.Tensor) -> None:
        class Together(Decaying):
            def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
                n, t, _c, _h, _w = x.size()
                large = self.shuffle(self.tail(self.head(x.flatten(0, 1))))
                return large.unflatten(0, (n, t))

        network = sr_hooks.Network(Together())
        whole = sr_hooks.ddr(network, hr, layers="head", **self.OPTIONS)
        one = sr_hooks.ddr(network, hr, layers="head", frame=2, **self.OPTIONS)
        assert whole.deepest.dimensions == 4 * one.deepest.dimensions == 4 * 4 * 16 * 16
        third = hr[:, 2:3].expand(-1, 4, -1, -1, -1)
        plain = {**self.OPTIONS, "degradations": "clean blur:1 blur:2"}  # no noise, which differs from frame to frame
        alone = sr_hooks.ddr(network, third, layers="head", frame=0, **plain)
        assert sr_hooks.ddr(network, hr, layers="head", frame=2, **plain).chi == pytest.approx(alone.chi, rel=1e-4)
        with pytest.raises(SRHooksError, match="frame is 4: the clips have frames 0 to 3"):
            sr_hooks.ddr(network, hr, layers="head", frame=4, **self.OPTIONS)
        with pytest.raises(SRHooksError, match="frame is 0: Tiny takes images"):
            sr_hooks.ddr(Tiny(), hr[:, 0], frame=0, **self.OPTIONS)


class TestFaig:
    def test_over_all_frames(self, photo: torch.Tensor) -> None:
        """The loss is that of all frames: the score of a network's own frames, added up by hand."""
        baseline, target = decaying(), decaying()
        with torch.no_grad():
            for parameter in target.module.parameters():
                parameter.mul_(0.9)
        hr = camera_pan(photo, frames=3, size=(48, 48), step=(2, 3))
        given = {"degradations": "blur:2 noise:25.5", "any_order": True}
        found = sr_hooks.faig(baseline, target, images=hr, **given)
        assert found.scalars["completeness_gap"] < 0.02 and np.isfinite(found.arrays["scores"]).all()
        lrs = {name: make_lr(hr, name, scale=2, clip=False) for name in ("blur:2", "noise:25.5")}
        with torch.no_grad():
            expected = [float((target.whole()(lr) - hr).square().sum()) for lr in lrs.values()]
        assert np.allclose(found.scalars["target_loss"], expected, rtol=1e-5)
        ready = sr_hooks.faig(baseline, target, degraded=lrs, gt=hr, any_order=True)
        assert np.allclose(ready.arrays["scores"], found.arrays["scores"], rtol=1e-5)

    def test_one_frame_returned(self, photo: torch.Tensor) -> None:
        baseline, target = (sr_hooks.Network(Fixed(), frames=3) for _ in range(2))
        with torch.no_grad():
            target.module.conv.weight.mul_(0.9)
        hr = camera_pan(photo, frames=3, size=(32, 32), step=(2, 3))
        found = sr_hooks.faig(baseline, target, images=[hr, hr.flip(-1)], any_order=True)
        assert found.scalars["images"] == 2 and found.scalars["completeness_gap"] < 0.02
        verified = sr_hooks.verify(found, images=[hr, hr.flip(-1)])
        assert np.isfinite(verified.arrays["strip"]).all()


class TestWatched:
    """Clips in a training run: folders of frames, the frame in the block, refused before the first step where wrong."""

    @pytest.fixture
    def folders(self, clip: torch.Tensor, photo: torch.Tensor, tmp_path, monkeypatch: pytest.MonkeyPatch):
        for name, frames in (("lr", clip), ("hr", camera_pan(photo, frames=4, size=(96, 96), step=(2, 3)))):
            (tmp_path / name).mkdir()
            for t in range(frames.shape[1]):
                write_image(frames[:, t], tmp_path / name / f"{t}.png")
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def train(self, clip: torch.Tensor, steps: int = 2, **blocks) -> None:
        net = First()
        optimizer = torch.optim.SGD(net.parameters(), 1e-3)
        with sr_hooks.watch(net, optimizer, folder="run", sinks=["folder"], **blocks):
            for _ in range(steps):
                optimizer.zero_grad()
                net(clip).square().mean().backward()
                optimizer.step()

    @pytest.mark.slow
    def test_all_three(self, folders, clip: torch.Tensor) -> None:
        ddr = {"patch": 32, "patches": 4, "permutations": 0, "subsamples": 0, "layers": "tail#1:in"}
        self.train(
            clip,
            lam={"image": "lr", "window": [20, 20, 16], "frame": "3", "steps": 3, "at": [2]},
            ddr={"image": "hr", "at": [2], **ddr},
            faig={"image": "hr", "at": [2], "crop": 32, "degradations": ["blur:1"]},
        )
        found = {name: read_result(next(folders.glob(f"run/*2/{name}*"))) for name in ("lam", "ddr", "faig")}
        assert found["lam"].frame == 3 and found["lam"].attribution.shape == clip.shape[1:]
        assert found["lam"].provenance["input_file"] == "lr"
        assert found["ddr"].deepest.layer == "tail#1:in" and found["ddr"].deepest.dimensions == 4 * 16 * 16
        assert found["faig"].scalars["completeness_gap"] < 0.2

    def test_what_is_wrong_is_refused_before_the_first_step(self, folders, clip: torch.Tensor) -> None:
        with pytest.raises(SRHooksError, match="lam: frame is 5: of a clip of 5 frames First returns frames 0 to 4"):
            self.train(clip, lam={"image": "lr", "window": [20, 20, 16], "frame": 5, "at": [2]})
        with pytest.raises(SRHooksError, match="the output, which is 80 pixels high and 88 wide"):
            self.train(clip, lam={"image": "lr", "window": [120, 20, 16], "at": [2]})
