"""What follows a tap, from recorded operations, against whole forwards with the tap's feature replaced."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sr_hooks.attribution import RecordedTails, Untraceable
from sr_hooks.errors import TapError
from sr_hooks.hooks import intervene, parse_tap, replace
from sr_hooks.inference import ExecutionPlan
from sr_hooks.networks import Network


class Residual(nn.Module):
    """Writes in place, skips over its blocks, and convolves one feature twice: with groups, and strided."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.first, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.lower = nn.Conv2d(8, 8, 4, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(8, 12, 3, padding=2, dilation=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        head = self.head(x)
        feature = self.act(head)
        feature = self.second(self.act(self.first(feature))) + feature
        feature += F.interpolate(self.lower(feature), scale_factor=2, mode="nearest")
        return F.pixel_shuffle(self.last(feature), 2) + F.interpolate(x, scale_factor=2, mode="bilinear")


class Undecided(nn.Conv2d):
    """Does one thing or another, depending on the values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1 if x.mean() > 0.5 else 2)


TAPS = [parse_tap(tap) for tap in ("head", "act#0", "act#1", "second", "lower", "last:in")]


@pytest.fixture
def network() -> Network:
    return Network(Residual().eval(), scale=2, multiple=2, channels=3)


def started(network: Network, x: torch.Tensor, *, channels_last: bool = False, batch: int = 3) -> RecordedTails:
    tails = RecordedTails(network, x.shape[1:], TAPS, ExecutionPlan(channels_last), batch=batch)
    tails.start(x)
    return tails


@pytest.mark.quick
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("tap", TAPS, ids=str)
def test_a_tail_is_the_whole_network_with_its_feature_replaced(tap, channels_last, network):
    images = torch.rand(2, 1, 3, 12, 10)
    tails = started(network, images[0], channels_last=channels_last)
    tails.start(images[1])  # what an earlier image left behind must not show
    with torch.no_grad():
        assert torch.allclose(tails.output, network(images[1]), atol=1e-6)
        tail = tails.tail(tap)
        without = tail.feature.repeat(2, 1, 1, 1)
        without[0, 6] = without[1, 7] = 0
        given = without.clone()
        for answer in (tail(without), tail.without(without, range(6, 8))):
            for row in range(2):
                with intervene(network.module, {tap: replace(without[row : row + 1])}):
                    expected = network(images[1])
                assert float((answer[row : row + 1] - expected).abs().max()) < 2e-6
        assert torch.equal(without, given)
        assert float((tail(tail.feature) - tails.output).abs().max()) < 2e-6


@pytest.mark.quick
def test_the_update_convolves_one_channel_only(network):
    x = torch.rand(1, 3, 12, 10)
    tail = started(network, x).tail(TAPS[1])
    seen: list[int] = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is F.conv2d:
                seen.append(args[0].shape[1])
            return function(*args, **(kwargs or {}))

    features = tail.feature.repeat(3, 1, 1, 1)
    features[range(3), range(3)] = 0
    with Watch():
        tail(features)
        assert not seen
        tail.without(features, range(3))
    assert seen == [1, 1, 1]  # of `first`; the sum that follows takes the feature too, and is computed as it is


@pytest.mark.quick
def test_what_a_tail_does_not_take_is_refused(network):
    x = torch.rand(1, 3, 12, 10)
    tail = started(network, x).tail(TAPS[0])
    for features in (tail.feature.repeat(4, 1, 1, 1), tail.feature[..., 1:]):
        with pytest.raises(TapError, match="cannot replace 3 or fewer of what passes head"):
            tail(features)
    with pytest.raises(Untraceable, match=r"DataDependent|data"):
        undecided = Network(Undecided(3, 3, 1), scale=1, multiple=1, channels=3)
        RecordedTails(undecided, (3, 8, 8), [], ExecutionPlan(), batch=1)
    with pytest.raises(Untraceable, match="second#3 did not fire"):
        RecordedTails(network, (3, 12, 10), [parse_tap("second#3")], ExecutionPlan(), batch=1)
