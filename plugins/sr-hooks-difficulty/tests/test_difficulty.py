"""Patches, their PSNR and their compute, on networks whose compute is known."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from sr_hooks_difficulty import DifficultyOptions, corners
from sr_hooks_difficulty.counting import multiply_accumulates
from sr_hooks_difficulty.published import published_psnr
from torch import nn

import sr_hooks
from sr_hooks.degradations import make_lr
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import psnr, quantise, read_image
from sr_hooks.networks import import_basicsr


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def basicsr():
    try:
        return import_basicsr()
    except sr_hooks.SRHooksError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return read_image(photographs()[1])


class Routed(nn.Module):
    """Flat patches take one convolution, others take three: compute that follows content."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.more = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1e-3 * (self.more(self.first(x)) if x.std() > 0.03 else self.first(x))


def test_msrresnet_as_counted_by_hand(basicsr):
    archs = importlib.import_module("basicsr.archs.srresnet_arch")
    network = sr_hooks.Network(archs.MSRResNet(num_feat=64, num_block=16, upscale=4), scale=4, multiple=1, channels=3)
    output, counted = multiply_accumulates(network, torch.rand(1, 3, 32, 32))
    area, kernel, f = 32 * 32, 9, 64
    body = 32 * f * f * kernel * area
    tail = f * 4 * f * kernel * (area + 4 * area) + (f * f + f * 3) * kernel * 16 * area
    assert counted.total == 3 * f * kernel * area + body + tail  # 2.60e9; ClassSR's table has 5.20e9 operations
    assert sum(counted.layers.values()) == counted.total and counted.layers["conv_hr"] == f * f * kernel * 16 * area
    assert output.shape == (1, 3, 128, 128)


def test_attention_is_counted_as_swinir_counts_itself(basicsr):
    archs = importlib.import_module("basicsr.archs.swinir_arch")
    module = archs.SwinIR(upscale=2, img_size=16, window_size=8, depths=[2], embed_dim=12, num_heads=[2], mlp_ratio=2)
    network = sr_hooks.Network(module, scale=1, multiple=8, channels=3)
    _, counted = multiply_accumulates(network, torch.rand(1, 3, 16, 16))
    for name, part in module.named_modules():
        if isinstance(part, archs.WindowAttention):
            mine = sum(macs for layer, macs in counted.layers.items() if layer.startswith(name))
            assert mine == 4 * part.flops(64)  # four windows of 64 positions
            assert counted.layers[name] == 4 * 2 * 64 * 64 * 12  # its two matrix products, in no layer of their own


def test_patches_are_restored_and_measured_one_by_one(photo):
    network = demo_network("baseline")
    result = sr_hooks.run("difficulty", network, photo, patch=16, step=14)
    lr = make_lr(photo, "clean", scale=4)
    assert [tuple(w) for w in result.arrays["where"][:, 1:] // 4] == corners(64, 64, DifficultyOptions(16, 14))
    for number in (0, 7):
        top, left = result.arrays["where"][number, 1:] // 4
        with torch.no_grad():
            sr = network(lr[..., top : top + 16, left : left + 16])
        truth = photo[..., 4 * top : 4 * top + 64, 4 * left : 4 * left + 64]
        assert result.arrays["psnr"][number] == pytest.approx(float(psnr(quantise(sr), truth)), abs=1e-6)
    covering = result.arrays["psnr"][[0, 1]]  # the first two of the upper row overlap in columns 56 to 63
    assert result.arrays["psnr_map_0"][0, 60] == pytest.approx(covering.mean(), abs=1e-4)
    assert np.isnan(result.arrays["psnr_map_0"][-1, -1]) and not result.scalars["compute_varies"]


def test_with_enough_surroundings_a_patch_is_as_in_the_whole_image(photo):
    network = Routed().more  # sees 2 pixels beyond a patch
    hr = photo[..., :64, :64]
    with torch.no_grad():
        whole = psnr(quantise(network(hr))[..., 16:32, 16:32], hr[..., 16:32, 16:32])
    alone, within = (sr_hooks.run("difficulty", network, hr, patch=16, step=16, margin=m) for m in (0, 2))
    assert within.arrays["psnr"][5] == pytest.approx(float(whole), abs=1e-5) != alone.arrays["psnr"][5]
    assert within.arrays["macs"][5] == alone.arrays["macs"][5] * 20**2 // 16**2


def test_classes_and_their_shares(photo):
    result = sr_hooks.run("difficulty", demo_network("baseline"), photo, patch=16, step=16, thresholds=(29, 32))
    values = result.arrays["psnr"]
    assert result.scalars["hard"] == np.mean(values < 29) > 0 and result.scalars["easy"] == np.mean(values >= 32) > 0
    assert result.scalars["hard"] + result.scalars["medium"] + result.scalars["easy"] == pytest.approx(1)
    assert result.scalars["compute_hard"] == pytest.approx(result.scalars["hard"])
    again = sr_hooks.run("difficulty", demo_network("baseline"), photo, patch=16, step=16, thresholds=(29, 32))
    assert all(np.array_equal(result.arrays[k], again.arrays[k], equal_nan=k.endswith("_0")) for k in result.arrays)


def test_compute_that_follows_content_is_seen(photo, tmp_path):
    flat = photo.clone()
    flat[..., :128] = 0.5
    torch.manual_seed(0)
    result = sr_hooks.run("difficulty", Routed(), flat, patch=32, step=32, degradation="noise:5", thresholds=(20, 34.2))
    left = result.arrays["where"][:, 2] < 128
    area = 32 * 32 * 9
    assert set(result.arrays["macs"][left]) == {9 * area}
    assert set(result.arrays["macs"][~left]) == {(9 + 24 + 24) * area}
    assert result.scalars["compute_varies"] and "compute varies" in result.verdict
    assert np.nanmax(result.arrays["compute_map_0"][:, :128]) < np.nanmin(result.arrays["compute_map_0"][:, 200:])
    result.save(tmp_path / "routed")
    assert (tmp_path / "routed/figure.png").is_file()


def test_thresholds_of_another_task_are_said(photo):
    result = sr_hooks.run("difficulty", Routed(), photo, patch=64, step=64, degradation="noise:20")
    assert "not ClassSR's" in result.verdict and "only 16 patches" in result.verdict


def test_bad_input(photo):
    network = demo_network("baseline")
    for options, words in (
        ({"patch": 65}, "64x64 pixels holds no patch of 65x65"),
        ({"step": 33}, "1 to patch"),
        ({"thresholds": (30, 20)}, "lower one first"),
        ({"degradation": "blurr:2"}, "did you mean blur"),
        ({"border": 64}, "border"),
    ):
        with pytest.raises(sr_hooks.SRHooksError, match=words):
            sr_hooks.run("difficulty", network, photo, **options)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.module.modules())


def test_watched_in_a_basicsr_training(basicsr, tmp_path: Path):
    runs = pytest.importorskip(
        "tests.integration.basicsr.runs", reason="started outside the repository, whose runs this borrows"
    )
    block = {"difficulty": {"every": 2, "patch": 12, "step": 12, "budget": "off"}}
    block["chunks"] = {"every": 4, "patch": 6, "groups": 2, "budget": "off"}
    data = runs.make_data(tmp_path / "pictures")
    content = runs.options(data, runs.NETWORKS["RCAN"], train={"total_iter": 4}, sr_hooks=block)
    runs.train(runs.write(content, tmp_path / "x.yml"), tmp_path / "run", sr_hooks.analyze)
    files = sorted((tmp_path / "run").rglob("difficulty/result.json"))
    (chunks,) = (tmp_path / "run").rglob("chunks/result.json")
    assert chunks.parent.parent.name == "4" and len(sr_hooks.load(chunks.parent).scalars["groups"]) == 2
    assert [path.parent.parent.name for path in files] == ["2", "4"]
    assert all((path.parent / "figure.png").is_file() for path in files)
    assert sr_hooks.load(files[0].parent).scalars["patches"] == 8
    with pytest.raises(sr_hooks.SRHooksError, match="holds no patch of 32x32"):
        content["sr_hooks"] = {"difficulty": {"every": 2}}
        runs.train(runs.write(content, tmp_path / "y.yml"), tmp_path / "refused", sr_hooks.analyze)


def public_classes(module: nn.Module, hr: torch.Tensor, scale: int, patch: int, step: int) -> tuple[list, list, list]:
    """Corners, PSNR and classes as the public scripts have them, written out on 8-bit NumPy images."""
    gt = np.uint8(np.round(hr[0].numpy().transpose(1, 2, 0) * 255))
    lr = np.uint8(np.round(make_lr(hr, "clean", scale=scale)[0].numpy().transpose(1, 2, 0) * 255))
    spaces = []
    for length in lr.shape[:2]:
        space = np.arange(0, length - patch + 1, step)
        if length - (space[-1] + patch) > 48 * patch // 128:
            space = np.append(space, length - patch)
        spaces.append(space)
    corners, values, classes = [], [], []
    for x in spaces[0]:
        for y in spaces[1]:
            part = torch.from_numpy(lr[x : x + patch, y : y + patch].transpose(2, 0, 1).copy())[None].float() / 255
            with torch.no_grad():
                out = module(part)[0].numpy().transpose(1, 2, 0).clip(0, 1)
            truth = gt[x * scale : (x + patch) * scale, y * scale : (y + patch) * scale]
            a, b = (im[scale:-scale, scale:-scale].astype(np.float64) for im in (np.uint8(np.round(out * 255)), truth))
            value = float(f"{20 * np.log10(255 / np.sqrt(np.mean((a - b) ** 2))):.6f}")
            corners.append((x, y))
            values.append(value)
            classes.append(0 if value < 27.16882 else 1 if value < 35.149761 else 2)
    return corners, values, classes


def test_compat_is_the_public_code(photo):
    network, hr = demo_network("baseline"), photo[..., :228, :236]
    result = sr_hooks.run("difficulty", network, hr, patch=16, step=14, compat="classsr")
    corners, values, classes = public_classes(network.module, hr, 4, 16, 14)
    assert [tuple(w) for w in result.arrays["where"][:, 1:] // 4] == corners and len(corners) == 16
    assert np.allclose(result.arrays["psnr"], values, atol=1e-4)
    assert result.arrays["classes"].tolist() == classes and len(set(classes)) > 1
    assert "6 digits" in result.verdict and result.scalars["compat"] == "classsr"


@pytest.mark.parametrize("options", [{"border": 4, "thresholds": (27.16882, 35.149761)}, {"border": 0}])
def test_without_the_published_steps_it_is_not_the_public_code(options, photo):
    """The comparison above can fail: without 8-bit inputs and the edge patches, and without the border too."""
    network, hr = demo_network("baseline"), photo[..., :228, :236]
    result = sr_hooks.run("difficulty", network, hr, patch=16, step=14, **options)
    corners, values, _ = public_classes(network.module, hr, 4, 16, 14)
    assert [tuple(w) for w in result.arrays["where"][:, 1:] // 4] != corners
    shared = dict(zip(corners, values, strict=True))
    own = [shared[tuple(w)] for w in result.arrays["where"][:, 1:] // 4]
    assert not np.allclose(result.arrays["psnr"], own, atol=1e-4)


def test_a_default_that_changes_classes_says_so(photo):
    """Classes of border 0 against those of a border of the scale, which the thresholds were drawn with."""
    network = demo_network("baseline")
    result = sr_hooks.run("difficulty", network, photo, patch=12, step=6)
    published = sr_hooks.run("difficulty", network, photo, patch=12, step=6, border=4)
    others = int((result.arrays["classes"] != published.arrays["classes"]).sum())
    assert result.scalars["other_classes"] == others > 0 and f"{others} of 81 patches" in result.verdict
    assert published.scalars["other_classes"] == 0 and "another class" not in published.verdict
    assert published_psnr(photo, photo, 4) == 80
    with pytest.raises(sr_hooks.SRHooksError, match="published procedure: leave out"):
        sr_hooks.run("difficulty", network, photo, compat="classsr", margin=2)
