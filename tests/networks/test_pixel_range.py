"""What stands between an image and a network: range, mean, standard deviation, order of the channels."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks import Network
from sr_hooks.errors import NetworkError
from sr_hooks.networks.pixel_range import PixelValues
from tests.support.networks import Tiny


def test_inside_is_the_formula_and_outside_its_inverse() -> None:
    x = torch.rand(2, 3, 5, 6)
    pixels = PixelValues(255.0, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0), True)
    inside = pixels.inside(x)
    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 0.25), (0.3, 2.0)]):
        torch.testing.assert_close(inside[:, channel], (x[:, 2 - channel] - mean) / std * 255)
    torch.testing.assert_close(pixels.outside(inside), x)
    frames = torch.rand(1, 4, 3, 5, 6)  # (N,T,C,h,w)
    torch.testing.assert_close(pixels.inside(frames)[0], pixels.inside(frames[0]))


def test_what_is_not_stated_changes_no_bit() -> None:
    x = torch.rand(1, 3, 5, 6)
    assert PixelValues().inside(x) is x and PixelValues().outside(x) is x
    grey = torch.rand(1, 1, 5, 6)
    assert PixelValues(bgr=True).inside(grey) is grey


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"input_range": 0.0}, "input_range is 0"),
        ({"std": (0.5, 0.0, 0.5)}, "must be above 0"),
        ({"mean": "grey"}, "mean is 'grey'"),
        ({"mean": (math.nan,)}, "mean is"),
        ({"mean": ()}, "mean is"),
    ],
)
def test_mistakes(given: dict[str, Any], words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        PixelValues(**given)


def test_another_number_of_channels() -> None:
    with pytest.raises(NetworkError, match="mean has 3 values, and there are 1 channels"):
        PixelValues(mean=(0.1, 0.2, 0.3)).inside(torch.rand(1, 1, 4, 4))


class Normalised(nn.Module):
    """Takes and gives BGR, mean and std taken off and divided by: from outside, what is inside of it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, std = torch.tensor([0.4, 0.5, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1)
        return (self.inner((x * std + mean).flip(1)).flip(1) - mean) / std


def test_attribution_is_in_pixels_of_the_image(small_lr: torch.Tensor) -> None:
    plain = Network(Tiny())
    wrapped = Network(Normalised(Tiny()), mean=[0.4, 0.5, 0.3], std=[0.2, 0.3, 0.25], bgr=True)
    torch.testing.assert_close(wrapped(small_lr), plain(small_lr), atol=1e-6, rtol=0)
    one, other = (sr_hooks.lam(network, small_lr, window=(10, 12, 8)) for network in (plain, wrapped))
    torch.testing.assert_close(torch.tensor(other.attribution), torch.tensor(one.attribution), atol=1e-5, rtol=1e-4)
    assert other.provenance["network"]["bgr"] is True and other.provenance["network"]["mean"] == [0.4, 0.5, 0.3]
    assert wrapped.scale == 2
