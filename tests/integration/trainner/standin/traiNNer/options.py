"""Stands for traiNNer/utils/redux_options.py and options.py: strict msgspec structs, which refuse an unknown block."""

import argparse
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct


class StrictStruct(Struct, forbid_unknown_fields=True):
    pass


class DatasetOptions(StrictStruct):
    name: str
    type: str
    dataroot_gt: str | list[str] | None = None
    dataroot_lq: str | list[str] | None = None
    batch_size_per_gpu: int | None = None
    accum_iter: int = 1
    lq_size: int | None = None
    phase: str | None = None
    scale: int | None = None


class PathOptions(StrictStruct):
    experiments_root: str | None = None
    models: str | None = None
    resume_state: str | None = None


class TrainOptions(StrictStruct):
    total_iter: int
    optim_g: dict[str, Any]
    optim_d: dict[str, Any] | None = None
    warmup_iter: int = -1
    ema_decay: float = 0


class ValOptions(StrictStruct):
    val_freq: int
    save_img: bool = False


class LogOptions(StrictStruct):
    save_checkpoint_freq: int


class ReduxOptions(StrictStruct):
    name: str
    scale: int
    manual_seed: int
    datasets: dict[str, DatasetOptions]
    network_g: dict[str, Any]
    path: PathOptions
    train: TrainOptions
    logger: LogOptions
    network_d: dict[str, Any] | None = None
    val: ValOptions | None = None
    num_gpu: int = 0
    use_amp: bool = False
    amp_bf16: bool = False
    is_train: bool | None = None
    root_path: str | None = None


def parse_options(root_path, is_train=True):
    parser = argparse.ArgumentParser()
    parser.add_argument("-opt", type=str, required=True)
    parser.add_argument("--auto_resume", action="store_true")
    arguments = parser.parse_args()
    opt = msgspec.yaml.decode(Path(arguments.opt).read_text(encoding="utf-8"), type=ReduxOptions, strict=True)
    opt.is_train, opt.root_path = is_train, root_path
    for full_phase, dataset in opt.datasets.items():
        dataset.phase, dataset.scale = full_phase.split("_")[0], opt.scale
        dataset.dataroot_gt, dataset.dataroot_lq = [dataset.dataroot_gt], [dataset.dataroot_lq]
    opt.path.experiments_root = str(Path(root_path) / "experiments" / opt.name)
    opt.path.models = str(Path(opt.path.experiments_root) / "models")
    return opt
