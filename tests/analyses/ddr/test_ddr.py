"""DDR on the shipped networks: what it finds, what it refuses, what it leaves behind, and its doors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.analyses.ddr.features import kept_features
from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.cli.app import main
from sr_hooks.degradations.parsing import make_lr
from sr_hooks.demo.assets import photographs
from sr_hooks.errors import ImageError, NetworkError, OptionError, ResultError, TapError
from sr_hooks.images.image import read_image, write_image
from sr_hooks.images.image_sets import cut_patches
from tests.conftest import hooks_on
from tests.support.networks import Tiny

pytestmark = pytest.mark.slow

QUICK = {"patch": 64, "patches": 30, "tsne": 0, "permutations": 199, "subsamples": 60}


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    return torch.cat([read_image(path) for path in photographs()])


@pytest.fixture(scope="module")
def found(target: sr_hooks.Network, photos: torch.Tensor) -> DdrResult:
    return sr_hooks.ddr(target, photos, layers=["body.0.conv1", "body.*.conv1", "auto"], **QUICK)


@pytest.mark.slow
def test_target_separates_more_than_baseline(found: DdrResult, baseline, photos: torch.Tensor) -> None:
    layer = found.layer("body.8.conv1")
    plain = sr_hooks.ddr(baseline, photos, layers="body.8.conv1", **QUICK)
    assert layer.separates and layer.p is not None and layer.p < 0.01
    assert layer.chi > 40 and layer.low < layer.chi < layer.high and layer.null_95 < 5
    assert layer.chi > 5 * plain.chi
    assert layer.dimensions == 32 * 16 * 16 and sum(layer.explained) <= 1 + 1e-9
    assert found.verdict.startswith("features separate by degradation at")


def test_layers_are_resolved_once_each_and_in_order(found: DdrResult) -> None:
    names = [layer.layer for layer in found.layers]
    assert names == [*(f"body.{i}.conv1" for i in range(12)), "conv_last:in"]
    assert found.deepest.layer == "conv_last:in" and found.chi == found.deepest.chi
    assert {f"chi/{name}" for name in names} <= set(found.headline())
    with pytest.raises(TapError, match=r"did you mean body\.3\.conv1"):
        found.layer("body.3.conv")


def test_one_pass_gives_what_one_by_one_gives(found: DdrResult, target: sr_hooks.Network, photos: torch.Tensor) -> None:
    alone = sr_hooks.ddr(target, photos, layers="body.8.conv1", **QUICK)
    assert alone.layers[0] == found.layer("body.8.conv1")


def test_the_same_again(found: DdrResult, target: sr_hooks.Network, photos: torch.Tensor) -> None:
    again = sr_hooks.ddr(target, photos, layers=["body.0.conv1", "body.*.conv1", "auto"], **QUICK)
    assert again.scalars == found.scalars
    assert all(np.array_equal(again.arrays[key], found.arrays[key]) for key in found.arrays)
    other = sr_hooks.ddr(target, photos, layers="auto", seed=1, **QUICK)
    assert other.chi != found.chi


def test_memory_changes_nothing_but_rounding(found: DdrResult, target: sr_hooks.Network, photos: torch.Tensor) -> None:
    few = sr_hooks.ddr(target, photos, layers="body.8.conv1", memory=40 * 8192 * 4 / 1e9, **QUICK)
    assert few.chi == pytest.approx(found.layer("body.8.conv1").chi, rel=1e-5)


def test_save_and_load(found: DdrResult, tmp_path: Path) -> None:
    loaded = sr_hooks.load(found.save(tmp_path / "r", figure=False))
    assert isinstance(loaded, DdrResult)
    assert loaded.layers == found.layers and loaded.classes == found.classes and loaded.verdict == found.verdict
    assert np.array_equal(loaded.coordinates("body.8.conv1"), found.coordinates("body.8.conv1"))


@pytest.mark.slow
def test_tsne_stands_beside_with_its_spread(target: sr_hooks.Network, photos: torch.Tensor) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    result = sr_hooks.ddr(target, photos, layers="body.8.conv1", **{**QUICK, "tsne": 2})
    layer = result.deepest
    assert len(layer.tsne) == 2 and layer.tsne[0] != layer.tsne[1]
    assert min(layer.tsne) <= layer.tsne_median <= max(layer.tsne)
    assert result.arrays["tsne_0"].shape == (2, 90, 2)
    assert np.array_equal(result.coordinates(), result.arrays["tsne_0"][0])


def test_scikit_learn_is_asked_for_before_anything_is_computed(target, photos: torch.Tensor, monkeypatch) -> None:
    for name in ("sklearn", "sklearn.linear_model"):  # the second may have been imported by another test
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(OptionError, match=r"need scikit-learn: pip install 'sr_hooks\[ddr\]', or go without: tsne=0"):
        sr_hooks.ddr(target, photos, **{**QUICK, "tsne": 1})
    assert sr_hooks.ddr(target, photos, **QUICK).chi is not None
    with pytest.raises(OptionError, match="the probe needs scikit-learn"):
        sr_hooks.ddr(target, photos, **QUICK).identify()


@pytest.mark.slow
def test_identification(target: sr_hooks.Network, photos: torch.Tensor) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    degradations = ["clean", "blur:1", "blur:2", "blur:4", "noise:10", "noise:20", "noise:40"]
    result = sr_hooks.ddr(target, photos, degradations=degradations, layers="body.8.conv1", identify=True, **QUICK)
    probe = result.identify()
    assert probe.kinds == ("clean", "blur", "noise") and probe.confusion.shape == (3, 3)
    assert probe.confusion.sum(axis=1) == pytest.approx(1)
    assert probe.accuracy > probe.chance + 0.2 and probe.chance == pytest.approx(1 / 3)
    assert probe.level_r2["noise"] > 0.4 and set(probe.level_r2) == {"blur", "noise"}
    assert result.scalars["identification"]["accuracy"] == probe.accuracy
    scrambled = DdrResult("ddr", dict(result.arrays), result.scalars, result.provenance)
    scrambled.arrays["scores_0"] = np.random.default_rng(0).permutation(result.arrays["scores_0"])
    assert scrambled.identify().accuracy < probe.chance + 0.1


def test_folders_of_ones_own(target: sr_hooks.Network, photos: torch.Tensor, tmp_path: Path) -> None:
    for name, text in (("fog", "noise:20"), ("plain", "clean")):
        (tmp_path / name).mkdir()
        for i, image in enumerate(make_lr(photos, text, scale=4, seed=7)):
            write_image(image, tmp_path / name / f"{i}.png")
    folders, common = {"fog": tmp_path / "fog"}, {**QUICK, "layers": "body.8.conv1"}
    result = sr_hooks.ddr(target, photos, degradations=["clean", "noise:20"], folders=folders, **common)
    assert result.classes == ("clean", "noise:20", "fog") and result.scalars["counts"] == [30, 30, 30]
    general = result.generalisation("fog")
    assert general.nearest == "noise:20" and general.all["clean"] > 5 * general.chi
    assert "fog is not told from noise:20" in result.verdict
    both = sr_hooks.ddr(target, folders={**folders, "plain": str(tmp_path / "plain")}, **common)
    assert both.classes == ("fog", "plain") and both.generalisation("fog").stands_apart
    assert both.chi == pytest.approx(general.all["clean"], rel=0.5)


def test_a_folders_verdict_is_of_the_layer_that_separates_most(target, photos: torch.Tensor) -> None:
    folders = {"phone": list(make_lr(photos, "noise:20", scale=4, seed=7).split(1))}
    result = sr_hooks.ddr(target, photos, folders=folders, layers=["body.8.conv1", "auto"], **QUICK)
    assert "at body.8.conv1, phone is not told from noise:20" in result.verdict


def test_kept_features_are_those_that_were_measured(target, photos: torch.Tensor, tmp_path: Path) -> None:
    taps = ["body.0.conv1", "conv_last:in"]
    result = sr_hooks.ddr(target, photos, layers=taps, keep_features=tmp_path / "kept", **QUICK)
    features = kept_features(tmp_path / "kept", "conv_last:in")
    assert features.shape == (90, result.deepest.dimensions)
    variance = float((features - features.mean(0)).double().square().sum())
    scores = result.arrays["scores_1"]
    assert (scores**2).sum() / variance == pytest.approx(sum(result.deepest.explained), rel=1e-5)
    index = json.loads((tmp_path / "kept/features.json").read_text())
    assert index["labels"] == result.arrays["labels"].tolist() and index["names"] == list(result.classes)
    with pytest.raises(ResultError, match=r"are of body\.0\.conv1, conv_last:in, not of x"):
        kept_features(tmp_path / "kept", "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("precious")
    with pytest.raises(ResultError, match="holds other files"):
        sr_hooks.ddr(target, photos, keep_features=tmp_path / "full", **QUICK)
    with pytest.raises(ResultError, match="no kept features"):
        kept_features(tmp_path / "full", "x")
    net = Tiny()
    halfway = [None] * 20
    net.tail.register_forward_pre_hook(lambda *_: halfway.pop())
    network = sr_hooks.Network(net, scale=2, multiple=1, channels=3)
    with pytest.raises(NetworkError, match="pop from empty list"):
        sr_hooks.ddr(network, photographs(), keep_features=tmp_path / "broken", **QUICK)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "kept"]


def test_patches_do_not_overlap_and_take_turns(photos: torch.Tensor) -> None:
    numbered = torch.arange(4 * 256 * 256).view(4, 1, 256, 256).float()
    cut = cut_patches(list(numbered.split(1)), 60, 40, 3, "image")
    assert len(cut) == 40 and len(torch.unique(cut)) == cut.numel()
    assert torch.bincount((cut[:, 0, 0, 0] / 65536).long()).tolist() == [10, 10, 10, 10]
    assert len(cut_patches(list(photos.split(1)), 128, 100, 0, "image")) <= 16


def test_fewer_patches_than_asked_are_said(target: sr_hooks.Network, photos: torch.Tensor) -> None:
    result = sr_hooks.ddr(target, photos, **{**QUICK, "patch": 128, "patches": 100})
    assert result.scalars["counts"] == [16, 16, 16]
    assert "16 patches a class where 100 were asked" in result.verdict


class Constant(nn.Module):
    """Its convolution answers the same to all; or, with `by_brightness`, one of two values."""

    def __init__(self, by_brightness: bool = False, value: float = 0.7) -> None:
        super().__init__()
        self.conv, self.last, self.by, self.value = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1), by_brightness, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        feature = self.conv(x) * 0 + self.value
        if self.by:
            feature = feature + (x.flatten(1).mean(1) > 0.5).float().view(-1, 1, 1, 1)
        return x + 0 * self.last(feature)


def test_constant_features_are_said(photos: torch.Tensor) -> None:
    result = sr_hooks.ddr(Constant(), photos, layers=["conv:in", "auto"], identify=True, **QUICK)
    layer = result.deepest
    assert layer.chi is None and layer.p is None and not layer.separates
    assert layer.undefined == "the features are constant: they are the same for every image"
    assert "CHI undefined at 1" in result.verdict and result.coordinates().shape == (90, 2)
    with pytest.raises(OptionError, match="constant features"):
        result.identify()
    alone = sr_hooks.ddr(Constant(), photos, **QUICK)
    assert alone.verdict.startswith("undefined: last:in has no CHI, the features are constant")


def test_classes_that_are_one_point_each_are_said(photos: torch.Tensor) -> None:
    def black(image, rng):
        return image * 0

    def white(image, rng):
        return image * 0 + 1

    result = sr_hooks.ddr(Constant(by_brightness=True), photos, degradations=[black, white], **QUICK)
    assert result.chi is None and result.deepest.separates
    assert "within each degradation the features are all the same" in result.verdict


def test_nonfinite_features_are_named(photos: torch.Tensor) -> None:
    with pytest.raises(NetworkError, match=r"last:in of Constant has values that are NaN or infinite for .* clean"):
        sr_hooks.ddr(Constant(value=float("inf")), photos, **QUICK)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layers": "body.3.conv"}, TapError, r"no layer 'body.3.conv'; did you mean body\.3\.conv"),
        ({"layers": "bodi.*"}, TapError, "no layer matches"),
        ({"patches": 2}, OptionError, "2 patches of clean for 3 classes"),
        ({"degradations": "clean"}, OptionError, r"one class \(clean\)"),
        ({"degradations": ["clean", "clean"]}, OptionError, "given twice"),
        ({"degradations": ["clean", "blurr:2"]}, OptionError, "did you mean blur"),
        ({"patch": 300}, ImageError, "image 0 is 256x256 pixels, smaller than a patch of 300x300"),
        ({"patch": 2}, OptionError, "less than one input pixel"),
        ({"patches": 1}, OptionError, "patches is 1: it must be at least 2"),
        ({"components": 0}, OptionError, "components is 0"),
        ({"seed": -1}, OptionError, "seed"),
        ({"memory": 0}, OptionError, "memory and perplexity must be above 0"),
        ({"folders": {"clean": "x"}}, OptionError, "name of a degradation"),
        ({"folders": "rain"}, OptionError, "write label=folder"),
        ({"folders": {"rain": "no/such"}}, ImageError, "cannot read the image"),
        ({"store": "float64"}, OptionError, "must be auto, int16, float32"),
    ],
)  # fmt: skip
def test_bad_input(target: sr_hooks.Network, photos: torch.Tensor, options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        sr_hooks.ddr(target, photos, **{**QUICK, **options})
    assert hooks_on(target.module) == 0


def test_images_that_do_not_fit(target: sr_hooks.Network, photos: torch.Tensor) -> None:
    with pytest.raises(ImageError, match="image has 2 channels"):
        sr_hooks.ddr(target, photos[:, :2], **QUICK)
    with pytest.raises(OptionError, match=r"one class \(none\)"):
        sr_hooks.ddr(target, **QUICK)
    with pytest.raises(ImageError, match="image has 2 channels"):
        sr_hooks.ddr(target, [photos[:1], photos[:1, :2]], **QUICK)


@pytest.mark.parametrize("fault", [None, RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_on_the_network(photos: torch.Tensor, fault: type[BaseException] | None) -> None:
    net = Tiny().train()
    calls = 0

    def fail(*_: object) -> None:
        nonlocal calls
        calls += 1
        if fault is not None and calls == 12:
            raise fault("in the middle")

    handle = net.head.register_forward_hook(fail)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    try:
        sr_hooks.ddr(net, photos, **QUICK)
        assert fault is None
    except (NetworkError, KeyboardInterrupt) as error:
        assert fault in (type(error), type(error.__cause__))
    handle.remove()
    assert calls >= 12 and hooks_on(net) == 0 and net.training and all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_the_forward_ends_at_the_deepest_tap(photos: torch.Tensor) -> None:
    net = Tiny()
    runs: list[str] = []
    for name in ("head", "tail"):
        net.get_submodule(name).register_forward_hook(lambda *_, name=name: runs.append(name))
    network = sr_hooks.Network(net, scale=2, multiple=1, channels=3)
    sr_hooks.ddr(network, photos, layers="head", **QUICK)
    assert runs.count("head") > runs.count("tail") + 20  # the tail ran to calibrate and to list the layers


def test_verdict_when_nothing_was_tested(target: sr_hooks.Network, photos: torch.Tensor) -> None:
    assert "not tested" in sr_hooks.ddr(target, photos, **{**QUICK, "permutations": 0}).verdict
    assert "undecided: 20 permutations" in sr_hooks.ddr(target, photos, **{**QUICK, "permutations": 20}).verdict


@pytest.mark.slow
def test_command_line_gives_the_same(target: sr_hooks.Network, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = [str(path) for path in photographs()]
    arguments = ["--patch", "64", "--patches", "30", "--tsne", "0", "--permutations", "199", "--subsamples", "60"]
    out = tmp_path / "out"
    assert main(["ddr", "--model", "demo:target", "--image", *files, "--layers", "body.8.conv1", "auto",
                 "--degradations", "clean", "blur:2", "noise:20", *arguments, "--out", str(out)]) == 0  # fmt: skip
    printed = capsys.readouterr().out
    direct = sr_hooks.ddr(target, [Path(file) for file in files], layers=["body.8.conv1", "auto"], **QUICK)
    stored = sr_hooks.load(out)
    assert stored.scalars["layers"] == json.loads(json.dumps(direct.scalars["layers"]))
    assert "features separate" in printed and (out / "result.json").is_file()
    assert main(["ddr", "--model", "demo:target", "--image", *files, "--layers", "body.99", "--out", str(out)]) == 2
    assert "no layer 'body.99'" in capsys.readouterr().err


@pytest.mark.slow
def test_figures_are_drawn(found: DdrResult, photos: torch.Tensor) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from sr_hooks.analyses.ddr.figure import hull
    from sr_hooks.figures.style import pixels

    for result in (found, sr_hooks.ddr(Constant(), photos, **QUICK)):
        picture = pixels(result.figure())
        assert picture.shape[0] > 400 and picture.std() > 10
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5], [0.2, 0.9]])
    assert sorted(map(tuple, hull(square)[:-1])) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(hull(square[:2])) == 0 and len(hull(np.array([[0, 0], [1, 1], [2, 2.0]]))) == 0
