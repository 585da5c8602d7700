"""Stands for neosr/models/image.py: torch's AveragedModel, accumulation counted twice as there, two optimizers."""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from neosr.models.base import base
from tests.support.training import Net


class image(base):
    def __init__(self, opt):
        super().__init__(opt)
        self.net_g = Net().to(self.device)
        if self.net_d is not None:
            self.net_d = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(), nn.Conv2d(4, 1, 3)).to(self.device)
        if self.is_train:
            self.init_training_settings()

    def init_training_settings(self):
        train_opt = self.opt["train"]
        self.ema = train_opt.get("ema", -1)
        if self.ema > 0:
            self.net_g_ema = AveragedModel(self.net_g, multi_avg_fn=get_ema_multi_avg_fn(self.ema), device=self.device)
        self.optimizer_g = torch.optim.Adam(self.net_g.parameters(), lr=train_opt["optim_g"]["lr"])
        self.optimizers.append(self.optimizer_g)
        if self.net_d is not None:
            self.optimizer_d = torch.optim.Adam(self.net_d.parameters(), lr=train_opt["optim_d"]["lr"])
            self.optimizers.append(self.optimizer_d)
        self.schedulers = [torch.optim.lr_scheduler.MultiStepLR(o, [3]) for o in self.optimizers]
        self.net_g.train()
        self.use_amp = self.opt.get("use_amp", False) is True
        self.amp_dtype = torch.bfloat16 if self.opt.get("bfloat16", False) is True else torch.float16
        self.gradscaler_g = torch.amp.GradScaler("cpu", enabled=self.use_amp, init_scale=2.0**5)
        self.n_accumulated = 0
        self.accum_iters = self.opt["datasets"]["train"].get("accumulate", 1)

    def feed_data(self, data):
        self.lq, self.gt = data["lq"].to(self.device), data["gt"].to(self.device)

    def closure(self, current_iter):
        self.n_accumulated += 1
        if self.n_accumulated >= self.accum_iters:
            self.n_accumulated = 0
        with torch.autocast(device_type="cpu", dtype=self.amp_dtype, enabled=self.use_amp):
            self.output = self.net_g(self.lq)
            l_g_total = F.l1_loss(self.output, self.gt) / self.accum_iters
        self.gradscaler_g.scale(l_g_total).backward()
        if self.net_d is not None:
            real, fake = self.net_d(self.gt), self.net_d(self.output.detach().float())
            (F.softplus(-real).mean() + F.softplus(fake).mean()).backward()

    def optimize_parameters(self, current_iter):
        self.n_accumulated += 1
        if self.n_accumulated >= self.accum_iters:
            self.n_accumulated = 0
        self.closure(current_iter)
        if self.n_accumulated % self.accum_iters == 0:
            self.gradscaler_g.step(self.optimizer_g)
            self.gradscaler_g.update()
            self.optimizer_g.zero_grad(set_to_none=True)
            if self.net_d is not None:
                self.optimizer_d.step()
                self.optimizer_d.zero_grad(set_to_none=True)
            if self.ema > 0:
                self.net_g_ema.update_parameters(self.net_g)

    def test(self):
        net = self.net_g_ema if self.ema > 0 else self.net_g
        net.eval()
        with torch.inference_mode():
            self.output = net(self.lq)
        self.net_g.train()

    def save(self, epoch, current_iter):
        name = "latest" if current_iter == -1 else current_iter
        net = self.net_g_ema.module if self.ema > 0 else self.net_g
        torch.save({"params": net.state_dict()}, Path(self.opt["path"]["models"]) / f"net_g_{name}.pth")
        self.save_training_state(epoch, current_iter)
