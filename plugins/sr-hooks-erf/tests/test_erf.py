"""The effective receptive field of networks whose field is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sr_hooks_erf import log_sides, numbers_alone, side_of
from torch import nn

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import downsample, read_image, write_image


@pytest.fixture(scope="module", autouse=True)
def _one_thread(tmp_path_factory):
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SR_HOOKS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def box(size: int) -> nn.Module:
    """A mean over size x size pixels, channel by channel."""
    convolution = nn.Conv2d(3, 3, size, padding=size // 2, groups=3, bias=False)
    nn.init.constant_(convolution.weight, 1 / size**2)
    return convolution


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 40, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [3, 7])
def test_a_box_filter_has_its_own_field(images, size):
    result = sr_hooks.run("erf", box(size), images, size=32)
    field = result.arrays["field"]
    assert np.count_nonzero(field) == size**2 and result.scalars["side_99"] == size
    assert field.sum() == pytest.approx(3, abs=1e-5)
    assert result.scalars["side_20"] == next(s for s in range(1, size + 1) if s**2 >= 0.2 * size**2 - 1e-3)
    assert result.verdict.startswith("sound")


def test_images_one_by_one_or_together(images):
    network = nn.Sequential(box(3), nn.ReLU(), box(3))
    together = sr_hooks.run("erf", network, images, size=32).arrays["field"]
    one_by_one = [sr_hooks.run("erf", network, image, size=32).arrays["field"] for image in images.split(1)]
    assert np.allclose(together, np.mean(one_by_one, axis=0), atol=1e-6)


def test_a_field_beyond_the_crop_is_said(images):
    assert sr_hooks.run("erf", box(31), images, size=32).verdict.startswith("cut off")


def test_bad_input(images):
    with pytest.raises(sr_hooks.SRHooksError, match="smaller than size 64"):
        sr_hooks.run("erf", box(3), images, size=64)
    with pytest.raises(sr_hooks.SRHooksError, match="at least 2"):
        sr_hooks.run("erf", box(3), images, size=1)


def test_side_of_a_point():
    field = np.zeros((9, 9))
    field[4, 4] = 1
    assert side_of(field, 0.99) == 1 and side_of(np.zeros((9, 9)), 0.5) == 0


def test_negative_gradients_are_cut_off(images):
    laplace = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False)
    with torch.no_grad():
        laplace.weight.copy_(torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]).expand(3, 1, 3, 3))
    field = sr_hooks.run("erf", laplace, images, size=16).arrays["field"]
    assert np.count_nonzero(field) == 1 and field[8, 8] == pytest.approx(12)


def test_the_field_is_the_mean_of_gradients_taken_one_by_one():
    network = demo_network("target")
    photos = torch.cat([downsample(read_image(path), 4) for path in photographs()])
    result = sr_hooks.run("erf", network, photos, size=40)
    total = np.zeros((40, 40))
    for photo in photos.split(1):
        x = photo[..., 12:52, 12:52].clone().requires_grad_()
        network.module(x)[..., 80, 80].sum().backward()
        total += x.grad.clamp(min=0).sum(dim=(0, 1)).numpy()
    assert np.allclose(result.arrays["field"], total / 4, atol=1e-6 * total.max())
    assert result.arrays["sides"].shape == (4, 4)
    sides = [result.scalars[f"side_{share}"] for share in (20, 50, 90, 99)]
    assert sides == sorted(sides) and 0 < sides[0] < sides[-1] < 40


def test_images_of_other_sizes_and_from_a_folder(images, tmp_path):
    alone = sr_hooks.run("erf", box(5), images[:, :, :32, :32], size=32).arrays["field"]
    mixed = [images[:1], images[1:, :, :32, :32]]
    assert np.allclose(sr_hooks.run("erf", box(5), mixed, size=16).arrays["field"].max(), alone.max())
    for index, image in enumerate(images):
        write_image(image, tmp_path / f"{index}.png")
    assert sr_hooks.run("erf", box(5), str(tmp_path), size=16).scalars["images"] == 3


def test_memory_that_runs_out_halves_the_batch(images):
    class Narrow(nn.Sequential):
        def forward(self, x):
            if len(x) > 1:
                raise torch.OutOfMemoryError("out of memory")
            return super().forward(x)

    assert sr_hooks.run("erf", Narrow(box(3)), images, size=16).scalars["images"] == 3


def test_a_network_that_detaches_is_refused(images):
    class Detached(nn.Sequential):
        def forward(self, x):
            return super().forward(x).detach()

    with pytest.raises(sr_hooks.SRHooksError, match="no gradient reaches"):
        sr_hooks.run("erf", Detached(box(3)), images, size=16)


def test_saved_with_its_figure(images, tmp_path):
    sr_hooks.run("erf", box(7), images, size=32).save(tmp_path / "erf")
    assert (tmp_path / "erf/figure.png").is_file() and sr_hooks.load(tmp_path / "erf").scalars["images"] == 3


def test_the_command(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["erf", "--help"])
    assert ended.value.code == 0 and "--size" in capsys.readouterr().out
    files = [str(path) for path in photographs()]
    assert (
        main(["erf", "--model", "demo:target", "--hr", "--size", "48", "--image", *files, "--out", str(tmp_path / "o")])
        == 0
    )
    assert "sound" in capsys.readouterr().out and (tmp_path / "o/figure.png").is_file()
    assert main(["plugins"]) == 0 and "analyses: erf" in capsys.readouterr().out


def public_script(module: nn.Module, images: torch.Tensor, *, rectify: bool) -> np.ndarray:
    """The public scripts' mean of relu(gradient of the centre output pixel), image by image, in float32."""
    total = np.zeros(images.shape[-2:], np.float32)
    for image in images.split(1):
        x = image.clone().requires_grad_()
        out = module(x)
        centre = out[:, :, out.shape[2] // 2, out.shape[3] // 2]
        (grad,) = torch.autograd.grad((torch.relu(centre) if rectify else centre).sum(), x)
        total += torch.relu(grad).sum((0, 1)).numpy()
    return total / len(images)


def table_of(field: np.ndarray) -> list[int | None]:
    """RepLKNet's rectangle for 20, 30, 50, 99 % of log10(field + 1)."""
    data, middle, sides = np.log10(field + 1), len(field) // 2, []
    for share in (0.2, 0.3, 0.5, 0.99):
        reached = (
            2 * i + 1 for i in range(1, middle)
            if data[middle - i : middle + i + 1, middle - i : middle + i + 1].sum() / data.sum() > share
        )  # fmt: skip
        sides.append(next(reached, None))
    return sides


@pytest.fixture(scope="module")
def lr_photos() -> list[torch.Tensor]:
    return [downsample(read_image(path), 4) for path in photographs()]


class Dark(nn.Module):
    """Negative in one channel, whose gradient RepLKNet's relu leaves out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 3, 5, padding=2)
        with torch.no_grad():
            self.conv.bias.copy_(torch.tensor([-3.0, 2.0, 2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


@pytest.mark.parametrize("name", ["demo", "Dark"])
def test_compat_replknet_is_its_script(name, lr_photos):
    network = demo_network("target") if name == "demo" else sr_hooks.Network(Dark(), scale=1, multiple=1, channels=3)
    crops = torch.cat([photo[..., 12:52, 12:52] for photo in lr_photos])
    result = sr_hooks.run("erf", network, lr_photos, size=40, compat="replknet")
    expected = public_script(network.module, crops, rectify=True)
    assert np.allclose(result.arrays["field"], expected, rtol=1e-4, atol=1e-6 * expected.max())
    assert [row["side"] for row in result.scalars["log_sides"]] == table_of(expected)
    drawn = np.log10(expected + 1)
    assert np.allclose(result.arrays["shown"], drawn / drawn.max(), atol=1e-4)
    assert "negative outputs" in result.verdict and result.scalars["compat"] == "replknet"
    plain = sr_hooks.run("erf", network, lr_photos, size=40).arrays["field"]
    assert np.allclose(plain, expected, rtol=1e-4, atol=1e-6) == (name == "demo")  # without its relu Dark is another


def test_compat_mambair_is_its_script(lr_photos):
    network = demo_network("target")
    result = sr_hooks.run("erf", network, lr_photos, size=48, compat="mambair")
    resized = torch.cat([torch.nn.functional.interpolate(photo, size=(48, 48)) for photo in lr_photos])
    expected = public_script(network.module, resized, rectify=False)
    assert np.allclose(result.arrays["field"], expected, rtol=1e-4, atol=1e-6 * expected.max())
    drawn = np.power((expected + 1) - 1, 0.25)
    assert np.allclose(result.arrays["shown"], drawn / drawn.max(), atol=1e-2)  # the root of (x + 1) - 1 in float32
    assert np.median(np.abs(result.arrays["shown"] - drawn / drawn.max())) < 1e-4
    cropped = sr_hooks.run("erf", network, lr_photos, size=48).arrays["field"]
    assert not np.allclose(cropped, expected, rtol=1e-3)  # without its resizing it is another


def test_compat_skips_images_whose_gradient_is_no_number_and_stops_where_the_scripts_do():
    class Rooted(nn.Module):
        def forward(self, x):
            return x + x.mean().sqrt()

    network = sr_hooks.Network(Rooted(), scale=1, multiple=1, channels=3)
    bright, black = torch.full((1, 3, 16, 16), 0.25), torch.zeros(1, 3, 16, 16)
    fields = np.stack([np.ones((4, 4)), np.full((4, 4), np.nan)])
    assert len(numbers_alone(fields)) == 1
    assert sr_hooks.run("erf", network, [bright] * 52, size=8, compat="replknet").scalars["images"] == 50
    assert sr_hooks.run("erf", network, [bright, black], size=8).scalars["images"] == 2
    with pytest.raises(sr_hooks.SRHooksError, match="skip all"):
        numbers_alone(fields[1:])


def test_the_table_of_a_known_field():
    """A box of 7x7: 50 % of it lies within 5 (25 of 49, above one half); RepLKNet's sides are odd and from 3 up."""
    field = np.zeros((31, 31), np.float32)
    field[12:19, 12:19] = 1
    assert [row["side"] for row in log_sides(field)] == [5 if s > 9 / 49 else 3 for s in (0.2, 0.3, 0.5)] + [7]
    assert side_of(field, 0.1) == 3 and log_sides(np.ones((31, 31)))[-1]["side"] is None
