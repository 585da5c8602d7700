"""What `preserved` puts back, and what it reports."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from sr_hooks.training.guard.preserved import preserved


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(self.conv(x)))


def streams() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def bits(net: nn.Module) -> dict[str, bytes]:
    return {name: value.contiguous().numpy().tobytes() for name, value in net.state_dict().items()}


def test_random_streams_go_on_as_if_nothing_had_been() -> None:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    wanted = streams()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    with preserved():
        streams()
        torch.manual_seed(9)
    assert streams() == wanted


def test_weights_buffers_and_modes() -> None:
    net, told = Net().train(), []
    before = bits(net)
    with preserved(net, report=told.append):
        net.eval()
        net.conv.weight.data.mul_(2)
        net.norm.running_mean.add_(1)
        net.conv.bias.requires_grad_(False)
    assert bits(net) == before
    assert all(part.training for part in net.modules())
    assert net.conv.bias.requires_grad
    assert told == ["changed conv.weight", "changed norm.running_mean"]


def test_exchanged_tensors_and_layouts() -> None:
    net, told = Net(), []
    weight, place = net.conv.weight, net.conv.weight.data_ptr()
    with preserved(net, report=told.append):
        net.to(memory_format=torch.channels_last)
        net.norm.running_var = torch.zeros(4)
        net.conv.bias = nn.Parameter(torch.zeros(4))
    assert net.conv.weight is weight and weight.data_ptr() == place and weight.is_contiguous()
    assert float(net.norm.running_var.min()) == 1
    assert float(net.conv.bias.detach().abs().sum()) > 0
    assert any("exchanged buffers of norm" in text for text in told)


def test_to_the_bit() -> None:
    net, told = Net(), []
    with torch.no_grad():
        net.conv.bias.copy_(torch.tensor([0.0, -0.0, float("nan"), 1.0]))
    with preserved(net, report=told.append):
        pass
    assert told == [], "a NaN that stayed is no change"
    with preserved(net, report=told.append):
        net.conv.bias.data[1] = 0.0
    assert told == ["changed conv.bias"]
    assert torch.signbit(net.conv.bias.detach()).tolist()[:2] == [False, True]


def test_gradients_are_out_of_reach_and_come_back_as_the_same_objects() -> None:
    net = Net()
    net(torch.rand(1, 3, 8, 8)).sum().backward()
    kept = {name: (p.grad, p.grad.clone()) for name, p in net.named_parameters()}
    with preserved(net):
        assert all(p.grad is None for p in net.parameters())
        net(torch.rand(1, 3, 8, 8)).square().sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is kept[name][0] and torch.equal(p.grad, kept[name][1])


def test_every_kind_of_hook_is_taken_off() -> None:
    net, told, fired = Net(), [], []
    mine = net.conv.register_forward_hook(lambda *_: fired.append("mine"))
    with preserved(net, report=told.append):
        net.conv.register_forward_hook(lambda *_: fired.append("theirs"))
        net.conv.register_forward_pre_hook(lambda *_: fired.append("theirs"))
        net.norm.register_full_backward_hook(lambda *_: fired.append("theirs"))
        net.conv.weight.register_hook(lambda g: fired.append("theirs"))
        net.conv.bias.register_post_accumulate_grad_hook(lambda p: fired.append("theirs"))
        nn.modules.module.register_module_forward_hook(lambda *_: fired.append("theirs"))
    net(torch.rand(1, 3, 8, 8)).sum().backward()
    assert fired == ["mine"]
    assert "left hooks on conv" in told and "left hooks on all modules" in told and "left hooks on conv.weight" in told
    mine.remove()
    assert not net.conv._forward_hooks


def test_switches() -> None:
    before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.backends.cudnn.benchmark, torch.get_num_threads()
    with preserved():
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.backends.cudnn.benchmark = not before[2]
        torch.use_deterministic_algorithms(True)
    after = torch.get_default_dtype(), torch.is_grad_enabled(), torch.backends.cudnn.benchmark, torch.get_num_threads()
    assert after == before and not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_however_it_ends(error: type[BaseException]) -> None:
    net = Net().train()
    before = bits(net)
    with pytest.raises(error), preserved(net):
        net.eval()
        net.conv.weight.data.zero_()
        net.register_forward_hook(lambda *_: None)
        raise error
    assert bits(net) == before and net.training and not net._forward_hooks


def test_shared_weights() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    before = bits(net)
    with preserved(net):
        net[1].weight.data.zero_()
    assert bits(net) == before and net[0].weight is net[1].weight
