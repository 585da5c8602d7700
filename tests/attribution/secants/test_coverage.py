"""Which networks have slopes everywhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sr_hooks.attribution.receptive_field.trace import record
from sr_hooks.attribution.secants.coverage import has_slopes


def covered(module):
    return has_slopes(record(lambda x: [module(x)], module.eval(), [(1, 3, 12, 12)], torch.device("cpu")))


class Gate(nn.Module):
    def forward(self, x):
        return x * x.mean(dim=(2, 3), keepdim=True)


class Detached(nn.Module):
    def forward(self, x):
        return x + x.detach()


class Rounded(nn.Module):
    def forward(self, x):
        return x + torch.div(x, 0.1, rounding_mode="floor")


class Whole(nn.Module):
    def forward(self, x):
        return x + (x * 8).to(torch.int32).float()


def layers(*between):
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *between, nn.Conv2d(4, 3, 3, padding=1))


COVERED = {
    "relu": nn.ReLU(),
    "relu in place": nn.ReLU(inplace=True),
    "leaky": nn.LeakyReLU(0.1),
    "prelu": nn.PReLU(4),
    "batch normalisation": nn.BatchNorm2d(4),
    "average pooling": nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")),
    "pixel shuffle": nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)),
    "nothing": nn.Identity(),
}
OTHERS = {
    "gelu": nn.GELU(),
    "sigmoid": nn.Sigmoid(),
    "silu": nn.SiLU(),
    "softmax": nn.Softmax(dim=1),
    "maximum pooling": nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2)),
    "layer normalisation": nn.GroupNorm(1, 4),
    "a gate of another shape": Gate(),
    "a cut": Detached(),
    "a division that rounds": Rounded(),
    "whole numbers": Whole(),
}


@pytest.mark.parametrize("name", COVERED)
def test_linear_operations_and_rectifiers_have_slopes(name):
    assert covered(layers(COVERED[name]))


@pytest.mark.parametrize("name", OTHERS)
def test_other_operations_have_none(name):
    assert not covered(layers(OTHERS[name]))
