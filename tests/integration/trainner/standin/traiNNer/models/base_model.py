"""Stands for traiNNer/models/base_model.py: its options are structs, its __init__ builds no network."""

from abc import abstractmethod

import torch


class BaseModel:
    def __init__(self, opt):
        self.opt = opt
        self.device = torch.device("cuda" if opt.num_gpu != 0 else "cpu")
        self.is_train = opt.is_train
        self.schedulers, self.optimizers, self.optimizers_skipped = [], [], []
        self.net_g = self.net_g_ema = self.net_d = None
        self.accum_iters = 1
        self.current_iter = 0

    def set_current_iter(self, iter_):
        self.current_iter = iter_

    @abstractmethod
    def feed_data(self, data):
        pass

    @abstractmethod
    def optimize_parameters(self, current_iter, current_accum_iter, apply_gradient):
        pass

    def validation(self, dataloader, current_iter, tb_logger, save_img=False, multi_val_datasets=False):
        self.is_train = False
        for val_data in dataloader:
            self.feed_data(val_data)
            self.test()
        self.is_train = True

    def update_learning_rate(self, current_iter, warmup_iter=-1):
        if current_iter > 1:
            for scheduler in self.schedulers:
                scheduler.step()

    def resume_training(self, resume_state):
        for optimizer, state in zip(self.optimizers, resume_state["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.net_g.load_state_dict(resume_state["net_g"])
        if self.net_g_ema is not None:
            self.net_g_ema.load_state_dict(resume_state["net_g_ema"])
