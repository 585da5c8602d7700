"""Every contribution, alone and from the doors that it is for. The package must be installed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from sr_hooks_example import DIRECTIONS, EdgeDirections

import sr_hooks
from sr_hooks.attribution import make_objective, make_path
from sr_hooks.cli import main
from sr_hooks.degradations import make_lr
from sr_hooks.demo import photographs
from sr_hooks.images import downsample, parse_window, read_image, upsample, write_image
from sr_hooks.networks import import_basicsr


@pytest.fixture(scope="module")
def lr() -> torch.Tensor:
    return downsample(read_image(photographs()[1]), 8)


def stripes(degrees: float) -> torch.Tensor:
    """Edges that run along a direction, counted from the right, upwards."""
    y, x = np.mgrid[:24, :24]
    across = x * math.sin(math.radians(degrees)) + y * math.cos(math.radians(degrees))
    return torch.from_numpy(0.5 + 0.4 * np.sin(across)).float().expand(1, 3, -1, -1)


@pytest.mark.parametrize("degrees", DIRECTIONS)
def test_the_downstream_network_sees_directions_and_its_loss_follows(degrees):
    image = stripes(degrees)
    logits = EdgeDirections()(image)
    assert DIRECTIONS[int(logits.argmax())] == degrees
    window = parse_window((4, 4, 16))
    losses = {d: float(make_objective(f"edge-direction:{d}")(image, image, window)) for d in DIRECTIONS}
    assert min(losses, key=losses.__getitem__) == degrees
    flat = EdgeDirections()(torch.full((1, 3, 16, 16), 0.5))
    assert torch.allclose(flat, flat[:, :1].expand(-1, 4))


def test_lam_of_a_downstream_loss_is_complete(lr):
    options = {"window": (40, 40, 32), "objective": "edge-direction:45", "path": "grey"}
    result = sr_hooks.lam(sr_hooks.Network.load("demo:baseline"), lr, **options)
    assert result.completeness_gap < 0.05 and np.abs(result.attribution).sum() > 0
    assert result.provenance["options"]["objective"] == "edge-direction:45"


def test_the_path_begins_without_colour_and_ends_with_the_image(lr):
    start, middle, end = make_path("grey")(lr, [0.0, 0.5, 1.0])
    assert torch.equal(end, lr[0]) and torch.equal(start[0], start[1]) and torch.allclose(middle, (start + end) / 2)


def test_dead_pixels_are_drawn_by_the_seed():
    hr = torch.full((2, 3, 64, 64), 0.5)
    lr = make_lr(hr, "dead:0.25", scale=2, seed=3)
    dead = (lr == 0).all(dim=1)
    assert dead.float().mean().item() == pytest.approx(0.25, abs=0.04) and not torch.equal(dead[0], dead[1])
    assert torch.equal(lr, make_lr(hr, "dead:0.25", scale=2, seed=3))
    assert torch.equal(make_lr(hr, "dead:0", scale=2), make_lr(hr, "clean", scale=2))


def test_the_loader_gives_plain_bicubic(lr):
    network = sr_hooks.Network.load("bicubic:3")
    assert torch.equal(network(lr), upsample(lr, (96, 96))) and network.scale == 3
    assert sr_hooks.Network.load("demo:baseline").name == "CompactResNet baseline"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_objective("edge-direction:30"), "0, 45, 90, 135 degrees"),
        (lambda: make_path("grey:1"), "takes no argument"),
        (lambda: make_lr(torch.zeros(1, 3, 8, 8), "dead:2", scale=2), "between 0 and 1"),
        (lambda: sr_hooks.Network.load("bicubic:x"), "whole number"),
    ],
)
def test_mistakes_are_said(call, message):
    with pytest.raises(sr_hooks.SRHooksError, match=message):
        call()


def test_from_the_command_line(lr, tmp_path, capsys):
    write_image(lr, tmp_path / "lr.png")
    image, out = str(tmp_path / "lr.png"), tmp_path / "out"
    window = ["--window", "40", "40", "16", "--steps", "5"]
    chosen = ["--objective", "edge-direction:45", "--path", "grey"]
    assert main(["lam", "--model", "bicubic:4", "--image", image, *window, *chosen, "--out", str(out)]) == 0
    assert sr_hooks.load(out).provenance["network"]["name"] == "bicubic:4" and (out / "figure.png").is_file()
    assert main(["lam", "--model", "bicubic:4", "--image", image, *window, "--objective", "edge-direction:1"]) == 2
    assert "0, 45, 90, 135 degrees" in capsys.readouterr().err
    assert main(["plugins", "--json"]) == 0
    listing = {entry["plugin"]: entry for entry in json.loads(capsys.readouterr().out)}["example"]
    assert not listing["faults"] and listing["contributes"] == {
        "objectives": ["edge-direction"],
        "paths": ["grey"],
        "degradations": ["dead"],
        "network_loaders": ["bicubic"],
        "sinks": ["jsonl"],
    }


def test_the_degradation_from_the_command_line(tmp_path):
    photos = [str(path) for path in photographs()]
    flags = [
        "--degradations",
        "clean",
        "dead:0.3",
        "--patch",
        "32",
        "--patches",
        "12",
        "--subsamples",
        "20",
        "--out",
        str(tmp_path / "ddr"),
    ]
    assert main(["ddr", "--model", "demo:target", "--image", *photos, *flags]) == 0
    assert sr_hooks.load(tmp_path / "ddr").provenance["options"]["degradations"] == ["clean", "dead:0.3"]


OPTION_FILE = """
name: tiny
model_type: SRModel
scale: 2
num_gpu: 0
manual_seed: 0
datasets:
  train: {name: t, type: PairedImageDataset, dataroot_gt: gt, dataroot_lq: lq, io_backend: {type: disk}, gt_size: 32,
          use_hflip: true, use_rot: true, num_worker_per_gpu: 0, batch_size_per_gpu: 1, dataset_enlarge_ratio: 1,
          prefetch_mode: ~}
  val: {name: v, type: PairedImageDataset, dataroot_gt: gt, dataroot_lq: lq, io_backend: {type: disk}}
network_g: {type: MSRResNet, num_in_ch: 3, num_out_ch: 3, num_feat: 8, num_block: 1, upscale: 2}
path: {pretrain_network_g: ~, strict_load_g: true, resume_state: ~}
train:
  optim_g: {type: Adam, lr: 0.0002}
  scheduler: {type: MultiStepLR, milestones: [100], gamma: 0.5}
  total_iter: 2
  warmup_iter: -1
  pixel_opt: {type: L1Loss, loss_weight: 1.0, reduction: mean}
val: {val_freq: 100, save_img: false}
logger: {print_freq: 1, save_checkpoint_freq: 100, use_tb_logger: false, wandb: {project: ~}}
dist_params: {backend: gloo, port: 29500}
sr_hooks:
  sinks: [folder, jsonl]
  lam: {windows: [[10, 10, 8]], objective: edge-direction:90, path: grey, steps: 5, at: [1, 2]}
  ddr: {layers: [conv_last:in], degradations: [clean, dead:0.3], patch: 32, patches: 6, subsamples: 10, at: 2,
        images: 4}
"""


def test_from_an_option_file(tmp_path, monkeypatch):
    try:
        import_basicsr()
    except sr_hooks.SRHooksError as error:
        pytest.skip(str(error))
    for index, path in enumerate(photographs()):
        hr = read_image(path)[..., :64, :64]
        for kind, image in (("gt", hr), ("lq", downsample(hr, 2))):
            (tmp_path / kind).mkdir(exist_ok=True)
            write_image(image, tmp_path / kind / f"{index}.png")
    (tmp_path / "x.yml").write_text(OPTION_FILE)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "-opt", "x.yml"]) == 0
    run = tmp_path / "experiments/tiny/sr_hooks"
    lines = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    assert [line["folder"] for line in lines] == ["1/lam", "2/lam", "2/ddr"]
    saved = sr_hooks.load(run / "2/lam")
    assert saved.provenance["options"]["objective"] == "edge-direction:90"
    assert lines[1]["diffusion_index"] == pytest.approx(saved.scalars["diffusion_index"])
    assert sr_hooks.load(run / "2/ddr").provenance["options"]["degradations"] == ["clean", "dead:0.3"]
