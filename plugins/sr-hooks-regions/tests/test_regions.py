"""Errors by region: sums that add up, regions that are known, errors that were planted, and what cannot be told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from sr_hooks_regions import texture_labels
from torch import nn

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.degradations import make_lr
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import psnr, psnr_shift, quantise, read_image, ssim, write_image


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return read_image(photographs()[1])[..., 40:136, 40:152]


class WithError(nn.Module):
    """The identity, and an error of 0.1 in the left half alone, up and down by turns so that a shift does not help."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(x.shape[-2]).view(-1, 1) % 2
        left = torch.arange(x.shape[-1]).view(1, -1) < x.shape[-1] // 2
        return x * self.weight + 0.1 * (2 * rows - 1) * left


def identity_with_error() -> sr_hooks.Network:
    return sr_hooks.Network(WithError(), scale=1, multiple=1, channels=3, name="planted")


def halves(photo: torch.Tensor) -> np.ndarray:
    labels = np.zeros(photo.shape[-2:], np.uint8)
    labels[:, photo.shape[-1] // 2 :] = 3
    return labels


@pytest.mark.parametrize("degradation", ["clean", "blur:1.5+noise:5"])
def test_squared_errors_weighted_by_area_add_up(photo, degradation):
    network = demo_network("baseline")
    result = sr_hooks.run("regions", network, photo, degradation=degradation, draws=9)
    rows = result.scalars["regions"].values()
    total = sum(row["area"] * row["squared_error"] for row in rows)
    lr = make_lr(photo, degradation, scale=network.scale)
    with torch.no_grad():
        output = quantise(network(lr))
    expected = float((output.double() - photo.double()).square().mean())
    assert total == pytest.approx(expected, rel=1e-6) and result.scalars["squared_error"] == pytest.approx(total)
    assert sum(row["area"] for row in rows) == pytest.approx(1)
    assert sum(row["share_of_error"] for row in rows) == pytest.approx(1)


def test_one_region_has_the_numbers_of_the_whole_image(photo):
    network = demo_network("baseline")
    result = sr_hooks.run("regions", network, photo, regions=np.full(photo.shape[-2:], 7), shift=1.0)
    (row,) = result.scalars["regions"].values()
    with torch.no_grad():
        output = quantise(network(make_lr(photo, "clean", scale=network.scale)))
    assert row["psnr"] == pytest.approx(float(psnr(output, photo)), abs=1e-6)
    assert row["ssim"] == pytest.approx(float(ssim(output, photo)), abs=1e-6)
    assert row["psnr_shift"] == pytest.approx(float(psnr_shift(output, photo, 1.0)), abs=0.02)
    assert result.verdict.startswith("cannot tell")


def test_a_planted_error_is_where_it_was_planted(photo):
    grey = photo * 0.6 + 0.2  # so that nothing is clipped
    result = sr_hooks.run("regions", identity_with_error(), grey, regions=halves(photo), shift=0)
    left, right = (result.scalars["regions"][name] for name in ("label 0", "label 3"))
    assert left["psnr"] == pytest.approx(20, abs=0.3) and right["psnr"] > 55
    assert left["share_of_error"] == pytest.approx(1, abs=1e-3) and left["p"] <= 0.05 < right["p"]
    assert "concentrate on label 0" in result.verdict and "label 3" not in result.verdict
    error = result.arrays["error_0_0"]
    assert np.allclose(np.abs(error[:, : photo.shape[-1] // 2]), 0.1, atol=3e-3)
    assert (error[0] < 0).any() and (error[1] > 0).any(), "the map is signed"


def test_an_error_of_equal_strength_everywhere_is_not_told(photo):
    class Uniform(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.arange(x.shape[-2]).view(-1, 1) + torch.arange(x.shape[-1])
            return x * self.weight + 0.05 * (2 * (y % 2) - 1)

    network = sr_hooks.Network(Uniform(), scale=1, multiple=1, channels=3)
    grey = photo * 0.5 + 0.25
    result = sr_hooks.run("regions", network, grey, regions=halves(photo))
    assert result.verdict.startswith("cannot tell")
    none = sr_hooks.run("regions", sr_hooks.Network(nn.Identity(), scale=1, multiple=1, channels=3), photo)
    assert none.verdict.startswith("no error")


def test_the_network_that_the_shift_forgives(photo):
    class Displaced(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.roll(x, 1, dims=-1)

    network = sr_hooks.Network(Displaced(), scale=1, multiple=1, channels=3)
    rows = sr_hooks.run("regions", network, photo, shift=2).scalars["regions"]
    for row in rows.values():
        assert row["psnr_shift"] > row["psnr"] + 20


def test_texture_labels_of_known_pictures():
    x = np.mgrid[:64, :64][1]
    step = ndimage.gaussian_filter((x > 32).astype(float), 1)
    assert set(np.unique(texture_labels(step))) == {0, 1} and (texture_labels(step)[:, 31:34] == 1).all()
    assert (texture_labels(np.full((64, 64), 0.3)) == 0).all() and (texture_labels(x * 0.001) == 0).all()
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random((64, 64)), 0.8)
    assert (texture_labels(noise) == 2).mean() > 0.7


def test_degraded_pixels_are_those_that_the_rain_met(photo):
    network = sr_hooks.Network(nn.Identity(), scale=1, multiple=1, channels=3)
    result = sr_hooks.run("regions", network, photo, regions="degraded", degradation="rain:2")
    rows = result.scalars["regions"]
    assert rows["degraded"]["share_of_error"] > 0.98 and rows["degraded"]["area"] < 0.6
    assert "concentrate on degraded" in result.verdict


def test_networks_share_one_scale_and_are_compared(photo, tmp_path):
    options = {"degradation": "blur:2", "others": [demo_network("target")], "draws": 19}
    result = sr_hooks.run("regions", demo_network("baseline"), photo, **options)
    first, second = result.scalars["networks"].values()
    assert all(second[name]["psnr"] > first[name]["psnr"] for name in ("edges", "texture")), "it was trained on blur"
    assert "edges +" in result.verdict
    images = [
        image for axes in _all_axes(result.figure()) for image in axes.images if image.get_cmap().name == "RdBu_r"
    ]
    assert len(images) == 2 and len({image.get_clim() for image in images}) == 1
    assert images[0].get_clim()[0] == -images[0].get_clim()[1]


def _all_axes(figure) -> list:
    return list(dict.fromkeys([*figure.axes, *(axes for part in figure.subfigs for axes in part.axes)]))


def test_lam_weight_by_region_adds_up(photo):
    result = sr_hooks.run("regions", demo_network("baseline"), photo, window=(40, 40, 8), draws=9)
    rows = result.scalars["regions"].values()
    assert sum(row["lam_share"] for row in rows) == pytest.approx(1) and "lam_verdict" in result.scalars


def test_named_regions_and_what_cannot_be(photo):
    network = identity_with_error()
    named = {"left": (0, 0, 96, 56), "face": [[10, 60], [10, 100], [60, 80]]}
    rows = sr_hooks.run("regions", network, photo, regions=named).scalars["regions"]
    assert list(rows) == ["rest", "left", "face"] and rows["left"]["area"] == pytest.approx(0.5)
    for regions, message in (
        ({"a": (0, 0, 20, 20), "b": (10, 10, 20, 20)}, "overlaps a"),
        (np.zeros((5, 5), int), "the ground truth 96x112"),
        ("no_such.png", "no label image"),
        ("textures", "no word 'textures'; did you mean texture"),
        (np.arange(96 * 112).reshape(96, 112), "at most 40"),
        ([halves(photo), halves(photo) + 1], "2 label images|different labels"),
    ):
        images = [photo, photo, photo] if isinstance(regions, list) else photo
        with pytest.raises(sr_hooks.SRHooksError, match=message):
            sr_hooks.run("regions", network, images, regions=regions)
    with pytest.raises(sr_hooks.SRHooksError, match="scale"):
        sr_hooks.run("regions", demo_network("baseline"), photo, others=[network])


def test_the_command_line_takes_a_label_image(photo, tmp_path, capsys):
    write_image(photo, tmp_path / "photo.png")
    mask = np.zeros((1, 1, *photo.shape[-2:]), np.float32)
    mask[..., 20:60, 20:60] = 1
    write_image(torch.from_numpy(mask), tmp_path / "mask.png")
    command = ["regions", "--model", "demo:baseline", "--image", str(tmp_path / "photo.png"), "--regions"]
    assert main([*command, str(tmp_path / "mask.png"), "--draws", "19", "--out", str(tmp_path / "out")]) == 0
    assert sr_hooks.load(tmp_path / "out").scalars["regions"]["mask"]["area"] == pytest.approx(1600 / (96 * 112))
    assert (tmp_path / "out" / "figure.png").is_file()


def test_reruns_are_equal(photo):
    one, other = (sr_hooks.run("regions", demo_network("baseline"), photo, draws=19) for _ in range(2))
    assert one.scalars == other.scalars and all(np.array_equal(one.arrays[k], other.arrays[k]) for k in one.arrays)
