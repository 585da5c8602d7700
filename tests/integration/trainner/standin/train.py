"""Stands for train.py of traiNNer-redux (68629319): its order of calls, its numbering, its except and its last save.

Left out: CUDA, distributed runs, prefetchers, logging, the signal handler.
"""

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from traiNNer.data import build_dataset
from traiNNer.models import build_model
from traiNNer.options import parse_options


def train_pipeline(root_path):
    opt = parse_options(root_path)
    torch.manual_seed(opt.manual_seed)
    Path(opt.path.models).mkdir(parents=True, exist_ok=True)
    data = opt.datasets["train"]
    loader = DataLoader(build_dataset(data), batch_size=data.batch_size_per_gpu, shuffle=True, drop_last=True)
    val_loaders = [
        DataLoader(build_dataset(options)) for name, options in opt.datasets.items() if name.startswith("val")
    ]
    model = build_model(opt)
    current_iter = 0
    if opt.path.resume_state:
        state = torch.load(opt.path.resume_state, weights_only=False)
        model.resume_training(state)
        current_iter = state["iter"]
    current_accum_iter = 0
    crashed = False
    try:
        while current_iter < opt.train.total_iter:
            for batch in loader:
                current_accum_iter += 1
                if current_accum_iter >= model.accum_iters:
                    current_accum_iter = 0
                    current_iter += 1
                    apply_gradient = True
                else:
                    apply_gradient = False
                if current_iter > opt.train.total_iter:
                    break
                model.set_current_iter(current_iter)
                model.feed_data(batch)
                model.optimize_parameters(current_iter, current_accum_iter, apply_gradient)
                if apply_gradient:
                    model.update_learning_rate(current_iter, warmup_iter=opt.train.warmup_iter)
                if current_iter % opt.logger.save_checkpoint_freq == 0 and apply_gradient:
                    model.save(0, current_iter)
                if opt.val is not None and current_iter % opt.val.val_freq == 0 and apply_gradient:
                    for val_loader in val_loaders:
                        model.validation(val_loader, current_iter, None, opt.val.save_img, len(val_loaders) > 1)
                if current_iter >= opt.train.total_iter and apply_gradient:
                    break
    except Exception as error:
        print(error)
        crashed = True
    if crashed:
        sys.exit(0)
    model.save(epoch=-1, current_iter=-1)
    if opt.val is not None:
        for val_loader in val_loaders:
            model.validation(val_loader, current_iter, None, opt.val.save_img)


if __name__ == "__main__":
    train_pipeline(str(Path.cwd()))
