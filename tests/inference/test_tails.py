"""The network from a tap on: equal to whole forwards, the computation before the tap left out, nothing left behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sr_hooks.errors import ImageError, TapError
from sr_hooks.hooks.interventions import drop_each, intervene, scale
from sr_hooks.inference.tails import Tail
from sr_hooks.networks.network import Network
from tests.conftest import hooks_on
from tests.integration.basicsr.runs import NETWORKS
from tests.support.networks import Tiny


def ablated(feature: torch.Tensor, channels: list[int]) -> torch.Tensor:
    return drop_each(channels)(feature.repeat(len(channels), 1, 1, 1))


def check(network: Network, x: torch.Tensor, tap: str, *, replays: bool = True) -> Tail:
    """Three features through the tail, against a whole forward with each."""
    with network.prepared():
        tail = Tail(network, x, tap)
        assert tail.replays is replays and hooks_on(network.module) == 0
        factors = [0.0, 0.7, 2.0]
        changed = torch.cat([tail.feature * factor for factor in factors])
        with torch.no_grad():
            assert torch.equal(tail.output, network(x))
            for index, factor in enumerate(factors):
                with intervene(network.module, {tap: scale(factor)}):
                    expected = network(x)
                found = tail(changed)[index : index + 1]
                assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))
        assert not any("forward" in vars(part) for part in network.module.modules())
    return tail


CASES = {
    "MSRResNet": ["conv_first", "body.1", "body.1:in", "body.1.conv2", "lrelu#1", "conv_last:in", "conv_last"],
    "RCAN": ["body.0.residual_group.0.rcab.3", "conv_after_body"],
    "RRDBNet": ["body.0.rdb2.conv3", "body.0.rdb3:in", "conv_hr"],
    "SwinIR": ["layers.0.residual_group.blocks.1", "layers.0.residual_group.blocks.0.attn", "conv_after_body:in"],
}


@pytest.mark.parametrize("name", CASES)
def test_equal_to_whole_forwards(basicsr, small_lr, name):
    arguments = {key: value for key, value in NETWORKS[name].items() if key != "type"}
    network = Network.from_basicsr(name, arguments)
    for tap in CASES[name]:
        check(network, small_lr[..., :16, :16], tap)


def test_what_ran_before_the_tap_does_not_run_again(small_lr):
    network = Network(Tiny())
    ran: list[str] = []
    for part in ("head", "tail"):
        own = network.module.get_submodule(part)
        own._conv_forward = _counting(own._conv_forward, part, ran)  # type: ignore[union-attr,assignment]
    with network.prepared():
        tail = Tail(network, small_lr, "act")
        ran.clear()
        out = tail(ablated(tail.feature, [0, 3, 5]))
    assert ran == ["tail"] and len(out) == 3 and tail.gap is not None and tail.gap < 1e-5


def _counting(forward: Any, name: str, ran: list[str]) -> Any:
    def counted(*args: Any) -> Any:
        ran.append(name)
        return forward(*args)

    return counted


class Remembering(nn.Module):
    """Its convolution leaves something behind for later, so leaving it out changes what comes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.head = Leaving()
        self.tail = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.head.left = 0.0
        return self.tail(self.head(x)) + self.head.left


class Leaving(nn.Conv2d):
    left: Any = 0.0

    def __init__(self) -> None:
        super().__init__(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left = x.mean(dim=(1, 2, 3), keepdim=True)
        return super().forward(x)


class Mixing(nn.Module):
    """Its head's answer has no images in the first dimension: tiling it gives a wrong shape."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.table = Table()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        factors = self.table(x)
        return self.conv(x) * factors.view(1, 3, 1, 1)


class Table(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.arange(1.0, 4.0)


@pytest.mark.parametrize(("module", "tap"), [(Remembering, "tail"), (Mixing, "conv")])
def test_where_leaving_out_is_wrong_the_probe_says_so_and_whole_forwards_run(small_lr, module, tap):
    check(Network(module(), scale=1, multiple=1, channels=3), small_lr, tap, replays=False)


class InPlace(nn.Module):
    """What the head answered is changed in place afterwards, before and after the tap."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.head, self.middle, self.tail = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.head(x)
        first.mul_(0.5)
        second = self.middle(first)
        return self.tail(F.relu_(second)) + first.add_(1)


def test_in_place_operations_do_not_reach_what_is_kept(small_lr):
    network = Network(InPlace(), scale=1, multiple=1, channels=3)
    tail = check(network, small_lr, "middle")
    assert torch.equal(tail(tail.feature), tail(tail.feature))


def test_channels_last_and_padding_go_along(small_lr):
    network = Network(Tiny(), multiple=5)
    with network.prepared(), network.channels_last():
        tail = Tail(network, small_lr, "act")
        assert tail.replays and tail.output.shape == (1, 3, 48, 48)


def test_mistakes(small_lr):
    network = Network(Tiny())
    with pytest.raises(ImageError, match="from one image, not from 2"):
        Tail(network, small_lr.expand(2, -1, -1, -1), "act")
    with pytest.raises(TapError, match="did you mean act"):
        Tail(network, small_lr, "actt")
    tail = Tail(network, small_lr, "act", probe=False)
    with pytest.raises(TapError, match="cannot replace what passes act"):
        tail(tail.feature[..., 1:])
    assert hooks_on(network.module) == 0


def test_a_failure_inside_leaves_nothing(small_lr):
    network = Network(Tiny())
    tail = Tail(network, small_lr, "act")
    network.module.tail.register_forward_pre_hook(_raise)  # type: ignore[operator]
    with pytest.raises(KeyboardInterrupt):
        tail(tail.feature)
    assert not any("forward" in vars(part) for part in network.module.modules()) and hooks_on(network.module) == 1


def _raise(*_: Any) -> None:
    raise KeyboardInterrupt
