"""Blocks whose activations are computed again: equal gradients, less memory, other weights, nothing left."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from sr_hooks.errors import NetworkError
from sr_hooks.hooks.checkpoints import checkpointed, repeated_blocks
from tests.support.memory import SmallCard


class Residual(nn.Module):
    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.noise = nn.Dropout(0.3)
        self.in_place = in_place

    def forward(self, x: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        if self.in_place:
            x = x.mul_(0.5)
        return x + factor * self.second(self.noise(self.first(x).relu()))


class Net(nn.Module):
    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.ModuleList(Residual(in_place) for _ in range(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(x)
        for block in self.body:
            x = block(x, factor=0.5)
        return x


def gradients(net: nn.Module, weights: dict[str, torch.Tensor] | None = None) -> list[torch.Tensor]:
    torch.manual_seed(1)
    x = torch.linspace(0, 1, 3 * 24 * 24).view(1, 3, 24, 24).requires_grad_()
    leaves = list(weights.values()) if weights else list(net.parameters())
    output = functional_call(net, weights, (x,)) if weights else net(x)
    return list(torch.autograd.grad(output.square().sum(), [x, *leaves]))


def test_blocks_are_the_outermost_repeated_ones():
    net = Net()
    assert list(repeated_blocks(net)) == [f"body.{number}" for number in range(6)]
    groups = nn.Sequential(nn.Sequential(Net(), Net()), nn.Sequential(Net(), Net()))
    assert list(repeated_blocks(groups)) == ["0", "1"]
    assert repeated_blocks(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3))) == {}


@pytest.mark.parametrize("training", [False, True])
def test_equal_gradients_with_less_memory(training):
    net = Net().train(training)  # with dropout: the same random numbers are drawn again
    with SmallCard() as card:
        plain, first = gradients(net), card.peak
    with SmallCard() as card, checkpointed(net):
        again = gradients(net)
    assert all(map(torch.equal, plain, again)) and card.peak < 0.8 * first
    assert not any("forward" in vars(part) for part in net.modules())


def test_other_weights_are_those_of_the_call():
    """The backward computes the blocks again after functional_call has put the module's own weights back."""
    net = Net().eval()
    weights = {name: (2 * value).detach().requires_grad_() for name, value in net.named_parameters()}
    plain = gradients(net, weights)
    with checkpointed(net):
        again = gradients(net, weights)
    assert all(map(torch.equal, plain, again))


def test_hooks_fire_once():
    net, calls = Net().eval(), []
    net.body[2].register_forward_hook(lambda *_: calls.append("block"))
    net.body[3].first.register_forward_hook(lambda *_: calls.append("part"))
    with checkpointed(net):
        gradients(net)
    assert calls == ["block", "part"]


def test_a_forward_set_on_the_instance_stays():
    net = Net().eval()
    own = net.body[0].forward
    net.body[0].forward = lambda x, factor: own(x, factor)
    mine = net.body[0].forward
    with pytest.raises(ZeroDivisionError), checkpointed(net):
        _ = 1 / 0
    assert net.body[0].forward is mine and "forward" not in vars(net.body[1])


def test_blocks_that_write_into_their_input_are_refused():
    net = Net(in_place=True).eval()
    words = (
        "a Residual gets an input that is changed in place|modified by an inplace operation"  # ours, or newer torch's
    )
    with checkpointed(net), pytest.raises((NetworkError, RuntimeError), match=words):
        gradients(net)
