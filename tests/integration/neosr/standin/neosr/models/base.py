"""Stands for neosr/models/base.py: the base class of all models is called `base`."""

from pathlib import Path

import torch


class base:
    def __init__(self, opt):
        self.opt = opt
        self.device = torch.device("cpu")
        self.is_train = opt["is_train"]
        self.optimizers, self.schedulers = [], []
        self.net_d = opt.get("network_d")

    def feed_data(self, data):
        pass

    def optimize_parameters(self, current_iter):
        pass

    def save(self, epoch, current_iter):
        pass

    def validation(self, dataloader, current_iter, tb_logger, save_img=True):
        for val_data in dataloader:
            self.feed_data(val_data)
            self.test()

    def update_learning_rate(self, current_iter, warmup_iter=-1):
        if current_iter > 0 and self.n_accumulated == 0:
            for scheduler in self.schedulers:
                scheduler.step()

    def save_training_state(self, epoch, current_iter):
        if current_iter != -1:
            state = {
                "epoch": epoch,
                "iter": current_iter,
                "optimizers": [o.state_dict() for o in self.optimizers],
                "schedulers": [s.state_dict() for s in self.schedulers],
            }
            torch.save(state, Path(self.opt["path"]["training_states"]) / f"{int(current_iter)}.state")

    def resume_training(self, resume_state):
        for kind in ("optimizers", "schedulers"):
            for each, state in zip(getattr(self, kind), resume_state[kind], strict=True):
                each.load_state_dict(state)
