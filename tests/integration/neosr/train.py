"""train.py of neosr (31c7022) cut to what runs on a CPU: its order of calls and its numbering of iterations.

The package `neosr` is the real one where it is installed; that one is told to use the CPU. Left out: CUDA's prefetcher
and sampler, distributed runs, logging.
"""

import random
import sys
from pathlib import Path

import neosr.models.base
import numpy as np
import torch
from torch.utils.data import DataLoader

if not hasattr(sys.modules["neosr.models"], "BUILT"):  # the real one
    original_init, original_build = neosr.models.base.base.__init__, neosr.models.build_model

    def init(self, opt):
        original_init(self, opt)
        self.device = torch.device("cpu")

    def build(opt):
        neosr.models.BUILT.append(original_build(opt))
        return neosr.models.BUILT[-1]

    neosr.models.base.base.__init__ = init
    neosr.models.BUILT, neosr.models.build_model = [], build

from neosr.data import build_dataset
from neosr.models import build_model
from neosr.utils.options import parse_options


def train_pipeline(root_path):
    opt, _ = parse_options(root_path, is_train=True)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(opt["manual_seed"])
    for name in ("models", "training_states"):
        Path(opt["path"][name]).mkdir(parents=True, exist_ok=True)
    data = opt["datasets"]["train"]
    loader = DataLoader(build_dataset(data), batch_size=data["batch_size"], shuffle=True, drop_last=True)
    val_loaders = [DataLoader(build_dataset(opt["datasets"]["val"]))]
    states = sorted(Path(opt["path"]["training_states"]).glob("*.state"))
    resume_state = torch.load(states[-1], weights_only=True) if opt["auto_resume"] and states else None
    accumulate = data.get("accumulate", 1)
    total_iters = opt["logger"]["total_iter"] * accumulate
    model = build_model(opt)
    current_iter = 0
    if resume_state:  # its own load_network wants CUDA
        weights = Path(opt["path"]["models"]) / f"net_g_{int(resume_state['iter'])}.pth"
        model.net_g.load_state_dict(torch.load(weights, weights_only=True)["params"])
        model.resume_training(resume_state)
        current_iter = int(resume_state["iter"] * accumulate)
    while current_iter < total_iters:
        for train_data in loader:
            current_iter += 1
            if current_iter > total_iters:
                break
            model.feed_data(train_data)
            model.optimize_parameters(current_iter)
            model.update_learning_rate(current_iter, warmup_iter=opt["train"].get("warmup_iter", -1))
            current_iter_log = current_iter / accumulate if current_iter >= accumulate else current_iter
            if current_iter_log % opt["logger"]["save_checkpoint_freq"] == 0:
                model.save(0, int(current_iter_log))
            if current_iter_log % opt["val"]["val_freq"] == 0:
                for val_loader in val_loaders:
                    model.validation(val_loader, int(current_iter_log), None, False)
    model.save(epoch=-1, current_iter=-1)


if __name__ == "__main__":
    train_pipeline(str(Path.cwd()))
