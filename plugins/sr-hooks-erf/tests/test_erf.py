"""The effective receptive field of networks whose field is known."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sr_hooks_erf import side_of
from torch import nn

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import downsample, read_image, write_image
from sr_hooks.loaders import import_basicsr


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


OPTIONS = """
name: tiny
model_type: SRModel
scale: 2
num_gpu: 0
manual_seed: 7
datasets:
  train: {name: crops, type: PairedImageDataset, dataroot_gt: gt, dataroot_lq: lq, io_backend: {type: disk},
          gt_size: 32, use_hflip: true, use_rot: true, num_worker_per_gpu: 0, batch_size_per_gpu: 2, prefetch_mode: ~}
  val: {name: held_out, type: PairedImageDataset, dataroot_gt: gt, dataroot_lq: lq, io_backend: {type: disk}}
network_g: {type: MSRResNet, num_feat: 8, num_block: 2, upscale: 2}
path: {pretrain_network_g: ~, resume_state: ~}
train:
  ema_decay: 0
  optim_g: {type: Adam, lr: 0.0002, betas: [0.9, 0.99]}
  scheduler: {type: MultiStepLR, milestones: [100], gamma: 0.5}
  total_iter: 2
  warmup_iter: -1
  pixel_opt: {type: L1Loss, loss_weight: 1.0, reduction: mean}
val: {val_freq: 100, save_img: false, metrics: {psnr: {type: calculate_psnr, crop_border: 2, test_y_channel: false}}}
logger: {print_freq: 1, save_checkpoint_freq: 100, use_tb_logger: true, wandb: {project: ~}}
dist_params: {backend: gloo, port: 29500}
sr_hooks: {erf: {size: 20, images: 2, at: 2}}
"""


def test_a_block_in_an_option_file(tmp_path: Path):
    """The real BasicSR trains two iterations; the field lies in the run's folder and in its TensorBoard file."""
    import_basicsr()
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for index, path in enumerate(photographs()):
        crop = read_image(path)[..., 64:112, 64:112]
        for name, image in (("gt", crop), ("lq", downsample(crop, 2))):
            (tmp_path / name).mkdir(exist_ok=True)
            write_image(image, tmp_path / name / f"{index}.png")
    (tmp_path / "train.yml").write_text(OPTIONS)
    done = subprocess.run(
        [sys.executable, "-m", "sr_hooks", "train", "-opt", "train.yml"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    folder = tmp_path / "experiments/tiny/sr_hooks/2/erf"
    result = sr_hooks.load(folder)
    assert result.scalars["images"] == 2 and (folder / "figure.png").is_file()
    (log,) = tmp_path.glob("tb_logger/tiny")
    found = events.EventAccumulator(str(log))
    found.Reload()
    assert "sr_hooks/erf/side_99" in found.Tags()["scalars"] and "sr_hooks/erf/figure" in found.Tags()["images"]
