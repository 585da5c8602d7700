"""Real BasicSR training runs, small: option files on real photographs, run in this process, the end state hashed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from sr_hooks.demo.assets import photographs
from sr_hooks.images.image import downsample, read_image, write_image
from tests.conftest import data_folder

NETWORKS: dict[str, dict[str, Any]] = {
    "MSRResNet": {"type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 2, "upscale": 2},
    "RCAN": {
        "type": "RCAN",
        "num_in_ch": 3,
        "num_out_ch": 3,
        "num_feat": 8,
        "num_group": 1,
        "num_block": 1,
        "squeeze_factor": 4,
        "upscale": 2,
        "rgb_mean": [0.4, 0.4, 0.4],
    },
    "SwinIR": {
        "type": "SwinIR",
        "upscale": 2,
        "in_chans": 3,
        "img_size": 16,
        "window_size": 8,
        "img_range": 1.0,
        "depths": [2],
        "embed_dim": 12,
        "num_heads": [2],
        "mlp_ratio": 2,
        "upsampler": "pixelshuffledirect",
        "resi_connection": "1conv",
        "drop_rate": 0.1,
    },
    "RRDBNet": {
        "type": "RRDBNet",
        "num_in_ch": 3,
        "num_out_ch": 3,
        "num_feat": 8,
        "num_block": 1,
        "num_grow_ch": 4,
        "scale": 2,
    },
}
"""Small ones of the real architectures; RCAN and SwinIR have attention, SwinIR dropout and stochastic depth."""


def photos(count: int) -> list[torch.Tensor]:
    """Real photographs, the development data's where it is present, ours otherwise."""
    folder = data_folder()
    if folder is not None:
        return [read_image(path) for path in sorted((folder / "bsds500/train").glob("*.jpg"))[:count]]
    return [read_image(path) for path in photographs()][:count]


def make_data(root: Path, *, side: int = 48, scale: int = 2, train: int = 4, val: int = 2) -> Path:
    """train/ and val/ with gt/ and lq/, crops of photographs of side x side pixels and bicubic inputs of them."""
    crops = [photo[..., 100 : 100 + side, 100 : 100 + side] for photo in photos(train + val)]
    while len(crops) < train + val:
        crops.append(crops[len(crops) - 1].flip(-1))
    for index, crop in enumerate(crops):
        part = root / ("train" if index < train else "val")
        for name, image in (("gt", crop), ("lq", downsample(crop, scale))):
            (part / name).mkdir(parents=True, exist_ok=True)
            write_image(image, part / name / f"{index:03d}.png")
    return root


def options(data: Path, network: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An option file's content: SRModel, batch 2, 16x16 inputs, no workers, so that augmentation uses our streams."""
    io = {"type": "disk"}
    content: dict[str, Any] = {
        "name": "tiny",
        "model_type": "SRModel",
        "scale": 2,
        "num_gpu": 0,
        "manual_seed": 7,
        "datasets": {
            "train": {
                "name": "crops",
                "type": "PairedImageDataset",
                "dataroot_gt": str(data / "train/gt"),
                "dataroot_lq": str(data / "train/lq"),
                "io_backend": dict(io),
                "gt_size": 32,
                "use_hflip": True,
                "use_rot": True,
                "num_worker_per_gpu": 0,
                "batch_size_per_gpu": 2,
                "dataset_enlarge_ratio": 10,
                "prefetch_mode": None,
            },
            "val": {
                "name": "held_out",
                "type": "PairedImageDataset",
                "dataroot_gt": str(data / "val/gt"),
                "dataroot_lq": str(data / "val/lq"),
                "io_backend": dict(io),
            },
        },
        "network_g": dict(network),
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            "ema_decay": 0,
            "optim_g": {"type": "Adam", "lr": 2e-4, "betas": [0.9, 0.99]},
            "scheduler": {"type": "MultiStepLR", "milestones": [1000], "gamma": 0.5},
            "total_iter": 20,
            "warmup_iter": -1,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        },
        "val": {
            "val_freq": 10,
            "save_img": False,
            "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": False}},
        },
        "logger": {"print_freq": 10, "save_checkpoint_freq": 10, "use_tb_logger": False, "wandb": {"project": None}},
        "dist_params": {"backend": "gloo", "port": 29500},
    }
    return deep(content, changes)


def gan(content: dict[str, Any], model: str) -> dict[str, Any]:
    """The same as an adversarial training with a moving average; no pretrained perceptual network is needed."""
    return deep(
        content,
        {
            "model_type": model,
            "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4, "skip_connection": True},
            "train": {
                "ema_decay": 0.9,
                "optim_d": {"type": "Adam", "lr": 1e-4, "betas": [0.9, 0.99]},
                "net_d_iters": 1,
                "net_d_init_iters": 0,
                "gan_opt": {
                    "type": "GANLoss",
                    "gan_type": "vanilla",
                    "real_label_val": 1.0,
                    "fake_label_val": 0.0,
                    "loss_weight": 0.05,
                },
            },
        },
    )


def deep(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` laid over `base`, mapping by mapping."""
    out = dict(base)
    for key, value in changes.items():
        out[key] = deep(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def write(content: dict[str, Any], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@contextlib.contextmanager
def inside(folder: Path, *arguments: str) -> Iterator[None]:
    """The working directory and the process's arguments, as a shell would have set them."""
    before, argv = Path.cwd(), sys.argv
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    sys.argv = ["train.py", *arguments]
    try:
        yield
    finally:
        os.chdir(before)
        sys.argv = argv


def train(file: Path, folder: Path, around: Callable[[Callable[[], Any]], Callable[[], Any]] | None = None) -> Any:
    """BasicSR's own train_pipeline on an option file, with outputs in `folder`; the model it built."""
    import basicsr.train as module

    built: list[Any] = []
    original = module.build_model

    def build_model(opt: Any) -> Any:
        built.append(original(opt))
        return built[-1]

    module.build_model = build_model
    try:
        with inside(folder, "-opt", str(file)):
            call = lambda: module.train_pipeline(str(folder))  # noqa: E731
            (around(call) if around else call)()
    finally:
        module.build_model = original
    return built[-1]


def fingerprint(model: Any) -> dict[str, str]:
    """SHA-256 of all weights, the moving average, optimizers' states, gradients, modes and the random streams."""
    found: dict[str, Any] = {}
    for name in ("net_g", "net_g_ema", "net_d"):
        net = getattr(model, name, None)
        if net is not None:
            found[name] = [(k, v) for k, v in net.state_dict().items()]
            found[f"{name} grad"] = [(k, p.grad) for k, p in net.named_parameters()]
            found[f"{name} mode"] = [(k, m.training) for k, m in net.named_modules()]
            found[f"{name} wanted"] = [(k, p.requires_grad) for k, p in net.named_parameters()]
    found["optimizers"] = [optimizer.state_dict() for optimizer in model.optimizers]
    found["schedulers"] = [scheduler.state_dict() for scheduler in model.schedulers]
    found["torch"], found["numpy"], found["python"] = torch.get_rng_state(), np.random.get_state(), random.getstate()
    return {key: hashlib.sha256(_bytes(value)).hexdigest() for key, value in found.items()}


def _bytes(value: Any) -> bytes:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous()
        return f"{value.dtype}{tuple(value.shape)}".encode() + value.numpy().tobytes()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict):
        return b"".join(repr(k).encode() + _bytes(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return b"".join(map(_bytes, value)) + b"|"
    return repr(value).encode()
