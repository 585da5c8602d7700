"""Stands for neosr/utils/options.py: TOML, and a strict argparse."""

import argparse
from pathlib import Path

from sr_hooks.core.yaml_files import read_options


def parse_options(root_path, is_train=True):
    parser = argparse.ArgumentParser()
    parser.add_argument("-opt", type=str, required=True)
    parser.add_argument("--auto_resume", action="store_true", default=False)
    args = parser.parse_args()
    opt = read_options(args.opt)
    opt["auto_resume"], opt["is_train"], opt["dist"], opt["num_gpu"] = args.auto_resume, is_train, False, 0
    for phase, dataset in opt["datasets"].items():
        dataset["phase"], dataset["scale"] = phase.split("_")[0], opt["scale"]
    root = Path(root_path) / "experiments" / opt["name"]
    opt.setdefault("path", {}).update(
        experiments_root=root, models=root / "models", training_states=root / "training_states", log=root
    )
    return opt, args
