"""The training code's own hooks rest while an analysis looks; torch's and the network's own do not."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrizations, prune

import sr_hooks
from sr_hooks.training import preserved
from tests.support.training import IMAGE, Net

X = torch.rand(1, 3, 8, 8)


class Feature(nn.Module):
    """A network that reads its own feature by a hook, as extractors of features do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)
        self.feature: Any = None
        self.body.register_forward_hook(self._keep)
        self.body.register_forward_pre_hook(lambda part, args: (args[0] * 2,))

    def _keep(self, part: nn.Module, args: Any, out: torch.Tensor) -> None:
        self.feature = out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.body(x)
        return self.feature


class Caller:
    def __init__(self) -> None:
        self.fired = 0

    def __call__(self, *_: Any) -> None:
        self.fired += 1

    method = __call__


def plain(caller: Caller, *_: Any) -> None:
    caller.fired += 1


FORMS: dict[str, Callable[[Caller], Any]] = {
    "a callable object": lambda caller: caller,
    "a method": lambda caller: caller.method,
    "a partial": lambda caller: functools.partial(plain, caller),
    "a function": lambda caller: lambda *_: plain(caller),
    "a function without gradients": lambda caller: torch.no_grad()(lambda *_: plain(caller)),
}
REGISTER: dict[str, Callable[[nn.Module, Any], Any]] = {
    "forward": lambda net, hook: net.head.register_forward_hook(hook),
    "forward, of the whole": lambda net, hook: net.register_forward_hook(hook, always_call=True),
    "forward_pre": lambda net, hook: net.tail.register_forward_pre_hook(hook),
    "backward": lambda net, hook: net.head.register_full_backward_hook(hook),
    "backward_pre": lambda net, hook: net.head.register_full_backward_pre_hook(hook),
    "parameter": lambda net, hook: net.head.weight.register_hook(hook),
    "accumulated gradient": lambda net, hook: net.head.weight.register_post_accumulate_grad_hook(hook),
    "all modules": lambda net, hook: torch_module.register_module_forward_hook(hook),
    "all modules, before": lambda net, hook: torch_module.register_module_forward_pre_hook(hook),
    "all modules, backward": lambda net, hook: torch_module.register_module_full_backward_hook(hook),
}


@pytest.mark.parametrize("kind", REGISTER)
@pytest.mark.parametrize("form", FORMS)
def test_hooks_rest_and_come_back(kind: str, form: str) -> None:
    net, caller = Net(), Caller()
    handle = REGISTER[kind](net, FORMS[form](caller))
    try:
        told: list[str] = []
        with preserved(net, report=told.append):
            net(X).sum().backward()
        assert caller.fired == 0 and told == ["changed norm.running_mean", "changed norm.running_var", *told[2:]]
        assert not any("hooks" in text for text in told)
        net(X).sum().backward()
        assert caller.fired > 0
    finally:
        handle.remove()
    fired = caller.fired
    net(X).sum().backward()
    assert caller.fired == fired, "the handle still removes the hook"


def test_their_order_and_the_tables_themselves_are_the_same() -> None:
    net, order = Net(), []
    for number in range(4):
        net.head.register_forward_hook(lambda *_, number=number: order.append(number), prepend=number == 3)
    table, keys = net.head._forward_hooks, list(net.head._forward_hooks)
    with preserved(net):
        net(X)
        net.head.register_forward_hook(lambda *_: order.append("theirs"))
    assert net.head._forward_hooks is table and list(table) == keys
    net(X)
    assert order == [3, 0, 1, 2]


def norm(net: nn.Module) -> None:
    nn.utils.weight_norm(net.head)
    net.head.weight_g.data.mul_(2)


def spectral(net: nn.Module) -> None:
    nn.utils.spectral_norm(net.head)


def parametrized(net: nn.Module) -> None:
    parametrizations.weight_norm(net.head)


def pruned(net: nn.Module) -> None:
    prune.random_unstructured(net.head, "weight", 0.5)
    net.head.weight_orig.data.mul_(3)


@pytest.mark.parametrize("add", [norm, spectral, parametrized, pruned])
def test_torchs_own_hooks_run(add: Callable[[nn.Module], None]) -> None:
    net = Net().eval()
    add(net)
    wanted = net(X)
    with preserved(net):
        assert torch.equal(net(X), wanted)


def test_the_networks_own_hooks_run() -> None:
    net = Feature().eval()
    wanted = net(X).detach()
    with preserved(net):
        net.feature = None
        assert torch.equal(net(X), wanted)


@pytest.mark.parametrize("where", ["on a part", "on all modules"])
def test_a_counting_hook_counts_training_alone(where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counts = []
    for watch in (False, True):
        torch.manual_seed(0)
        net, caller = Net(), Caller()
        handle = net.head.register_forward_hook(caller) if where == "on a part" else None
        handle = handle or torch_module.register_module_forward_hook(caller)
        optimizer = torch.optim.SGD(net.parameters(), 0.01)
        lam = {"windows": [[8, 8, 8]], "every": 2, "steps": 3}
        given: Any = {"image": IMAGE, "folder": tmp_path, "budget": "off", "sinks": ["log"], "lam": lam}
        watching = sr_hooks.watch(net, optimizer, **given) if watch else None
        with caplog.at_level(logging.INFO):
            for _ in range(4):
                optimizer.zero_grad()
                net(IMAGE).square().mean().backward()
                optimizer.step()
        if watching is not None:
            watching.end()
        counts.append(caller.fired)
        handle.remove()
    assert counts[0] == counts[1] > 0


def test_the_run_says_which_hooks_rest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = Net()
    net.head.register_forward_hook(lambda *_: None)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with caplog.at_level(logging.INFO):
        watching = sr_hooks.watch(
            net, optimizer, image=IMAGE, folder=tmp_path, lam={"windows": [[8, 8, 8]], "every": 9}
        )
        assert any("hooks of the training code on head do not run" in text for text in caplog.messages)
        watching.close()
