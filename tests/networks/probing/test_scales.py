"""Scales that are fractions are inferred, and two scales are refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks import Network
from sr_hooks.errors import NetworkError


class Resizing(nn.Module):
    def __init__(self, factor: float | tuple[float, float]) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(self.conv(x), scale_factor=self.factor, mode="bilinear", align_corners=False)


@pytest.mark.parametrize(
    ("scale", "multiple"), [(2.5, 2), (1.5, 2), (1.25, 4), (0.75, 4), (1.2, 5), (1.1, 10), (3.5, 2), (2, 1), (0.5, 2)]
)
def test_a_fraction_is_inferred_with_its_multiple(scale: float, multiple: int, small_lr: torch.Tensor) -> None:
    network = Network(Resizing(scale))
    assert network.scale == pytest.approx(scale) and network.multiple == multiple
    height, width = network.output_size(*small_lr.shape[-2:])
    with torch.no_grad():
        assert network(small_lr).shape[-2:] == (height, width)
    odd = small_lr[..., :21, :23]
    cone, whole = (
        sr_hooks.lam(network, odd, window=(1, 2, 8), steps=4, cone=kind).attribution for kind in ("auto", "off")
    )
    assert cone.shape == (3, 21, 23) and np.abs(cone - whole).max() <= 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize(
    ("factors", "words"), [((2.0, 1.0), "2 times and width 1"), ((1.0, 3.0), "1 times and width 3")]
)
def test_two_scales_are_refused(factors: tuple[float, float], words: str, small_lr: torch.Tensor) -> None:
    with pytest.raises(NetworkError, match=f"no scale, since height becomes {words} times as large"):
        sr_hooks.lam(Resizing(factors), small_lr, window=(4, 4, 8))
