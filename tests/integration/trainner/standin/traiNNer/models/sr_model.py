"""Stands for traiNNer/models/sr_model.py: accumulation, GradScaler, the real ema_pytorch.EMA, a discriminator."""

from pathlib import Path

import torch
from ema_pytorch import EMA
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from tests.support.training import Net
from traiNNer.models.base_model import BaseModel


class SRModel(BaseModel):
    def __init__(self, opt):
        super().__init__(opt)
        self.use_amp = opt.use_amp
        self.amp_dtype = torch.bfloat16 if opt.amp_bf16 else torch.float16
        self.net_g = Net().to(self.device)
        if opt.network_d is not None:
            self.net_d = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(), nn.Conv2d(4, 1, 3)).to(self.device)
        self.scaler_g = GradScaler(enabled=self.use_amp and not opt.amp_bf16, device=self.device.type)
        self.accum_iters = opt.datasets["train"].accum_iter
        if opt.train.ema_decay > 0:
            self.net_g_ema = EMA(
                self.net_g, beta=opt.train.ema_decay, update_after_step=0, update_every=1, power=0.75
            ).to(self.device)
        self.net_g.train()
        self.optimizer_g = torch.optim.Adam(self.net_g.parameters(), lr=opt.train.optim_g["lr"])
        self.optimizers.append(self.optimizer_g)
        self.optimizers_skipped.append(False)
        if self.net_d is not None:
            self.optimizer_d = torch.optim.Adam(self.net_d.parameters(), lr=opt.train.optim_d["lr"])
            self.optimizers.append(self.optimizer_d)
        self.schedulers = [torch.optim.lr_scheduler.StepLR(o, 3, 0.9) for o in self.optimizers]

    def feed_data(self, data):
        self.lq, self.gt = data["lq"].to(self.device), data["gt"].to(self.device)

    def optimize_parameters(self, current_iter, current_accum_iter, apply_gradient):
        with torch.autocast(self.device.type, dtype=self.amp_dtype, enabled=self.use_amp):
            self.output = self.net_g(self.lq)
            l_g_total = F.l1_loss(self.output, self.gt)
            if self.net_d is not None:
                l_g_total = l_g_total - 0.01 * self.net_d(self.output).mean()
        self.scaler_g.scale(l_g_total / self.accum_iters).backward()
        if apply_gradient:
            self.scaler_g.unscale_(self.optimizer_g)
            clip_grad_norm_(self.net_g.parameters(), 1.0)
            scale_before = self.scaler_g.get_scale()
            self.scaler_g.step(self.optimizer_g)
            self.scaler_g.update()
            self.optimizers_skipped[0] = self.scaler_g.get_scale() < scale_before
            self.optimizer_g.zero_grad()
        if self.net_d is not None:
            self.net_d.zero_grad()
            real, fake = self.net_d(self.gt), self.net_d(self.output.detach().float())
            (F.softplus(-real).mean() + F.softplus(fake).mean()).backward()
            self.optimizer_d.step()
            self.optimizer_d.zero_grad()
        if self.net_g_ema is not None and apply_gradient and not (self.use_amp and self.optimizers_skipped[0]):
            self.net_g_ema.update()

    def test(self):
        net = self.net_g_ema if self.net_g_ema is not None else self.net_g
        net.eval()
        with torch.inference_mode():
            self.output = net(self.lq)
        if self.net_g_ema is None:
            net.train()

    def save(self, epoch, current_iter):
        state = {
            "iter": current_iter,
            "net_g": self.net_g.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "streams": torch.get_rng_state(),
        }
        if self.net_g_ema is not None:
            state["net_g_ema"] = self.net_g_ema.state_dict()
        torch.save(state, Path(self.opt.path.models) / f"{current_iter}.state")
