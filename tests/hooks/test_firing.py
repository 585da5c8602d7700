"""capture, intervene and bypass fire in a Network and in compiled modules, or say why they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.errors import TapError
from sr_hooks.hooks import bypass, capture, features, intervene
from sr_hooks.training import preserved

X = torch.rand(1, 3, 8, 8)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.rare = nn.Conv2d(4, 4, 1)
        self.tail = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        feature = self.body(self.head(x))
        if x.shape[-1] == 99:
            feature = self.rare(feature)
        return self.tail(feature)


def whole(net: nn.Module) -> Any:
    return torch.compile(net, backend="eager")


def in_place(net: nn.Module) -> Any:
    net.compile(backend="eager")
    return net


def a_part(net: nn.Module) -> Any:
    net.body = torch.compile(net.body, backend="eager")
    return net


def a_part_in_place(net: nn.Module) -> Any:
    net.body.compile(backend="eager")
    return net


COMPILED = [whole, in_place, a_part, a_part_in_place]


@pytest.mark.parametrize("how", COMPILED)
def test_in_a_compiled_module_that_was_called(how: Callable[[nn.Module], Any]) -> None:
    net = Net().eval()
    with capture(net, ["head", "body"]) as wanted:
        net(X)
    compiled = how(net)
    with torch.no_grad():
        before = compiled(X)
        with capture(compiled, ["head", "body"]) as captured:
            compiled(X)
        assert all(torch.equal(captured[name], wanted[name]) for name in ("head", "body"))
        with intervene(compiled, {"body": lambda f: f * 0}):
            changed = compiled(X)
        assert not torch.equal(changed, before)
        with bypass(compiled, ["body"], stand="zero"):
            assert torch.equal(compiled(X), changed)
        assert torch.equal(compiled(X), before), "afterwards compiled code runs as before"


def test_in_a_module_inside_of_a_compiled_function() -> None:
    net = Net().eval()
    function = torch.compile(lambda x: net(x) * 2, backend="eager")
    with torch.no_grad():
        before = function(X)
        with capture(net, ["head"]) as captured, intervene(net, {"body": lambda f: f * 0}):
            assert not torch.equal(function(X), before)
        assert captured["head"].shape == (1, 4, 8, 8)


def test_a_network_is_taken_as_its_module() -> None:
    net = Net().eval()
    network = sr_hooks.Network(net, scale=1)
    with torch.no_grad():
        with capture(network, ["head"]) as captured:
            before = network(X)
        assert captured["head"].shape == (1, 4, 8, 8)
        with intervene(network, {"head": lambda f: f * 0}):
            assert not torch.equal(network(X), before)
        with bypass(network, ["body"]):
            assert not torch.equal(network(X), before)
        assert features(network, lambda: network(X), ["body"])["body"].shape == (1, 4, 8, 8)


def test_a_network_over_a_compiled_module() -> None:
    compiled = torch.compile(Net().eval(), backend="eager")
    with torch.no_grad():
        compiled(X)
        network = sr_hooks.Network(compiled, scale=1)
        with capture(network, ["head"]) as captured:
            network(X)
    assert captured["head"].shape == (1, 4, 8, 8)


@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net, X)])
def test_torchscript_is_refused_with_the_reason(make: Callable[[Any], Any]) -> None:
    script = make(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
    for enter in (
        lambda: capture(script, ["0"]),
        lambda: intervene(script, {"0": lambda f: f * 0}),
        lambda: bypass(script, ["0"]),
    ):
        with pytest.raises(TapError, match="TorchScript"), enter():
            script(X)


@pytest.mark.parametrize("tap", ["body", "body.0"])
def test_a_script_part_inside_a_plain_module(tap: str) -> None:
    net = Net().eval()
    net.body = torch.jit.script(net.body)
    with pytest.raises(TapError, match=r"nothing fires at body.*body is TorchScript"), capture(net, [tap]):
        pass
    with preserved(net), capture(net, ["head"]) as captured:
        net(X)
    assert captured["head"].shape == (1, 4, 8, 8)


@pytest.mark.parametrize("tap", ["rare", "head#3"])
def test_a_change_that_was_never_made_is_an_error(tap: str) -> None:
    net = Net().eval()
    with pytest.raises(TapError, match="nothing was changed"), intervene(net, {tap: lambda f: f * 0}):
        net(X)
    with intervene(net, {tap: lambda f: f * 0}):
        pass  # no forward pass was made
    assert not net.head._forward_hooks and not net._forward_hooks


def test_what_has_no_module_is_refused() -> None:
    with pytest.raises(TapError, match="not in a str"), capture("net", ["head"]):
        pass
