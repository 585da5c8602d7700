"""Features replaced, scaled, dropped; modules bypassed; nothing left behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sr_hooks.errors import OptionError, TapError
from sr_hooks.hooks.activations import features
from sr_hooks.hooks.interventions import bypass, drop, drop_each, intervene, replace, scale
from sr_hooks.hooks.layer_list import layers
from tests.conftest import hooks_on
from tests.support.networks import Tiny


@pytest.fixture
def tiny() -> nn.Module:
    return Tiny().eval()


@torch.no_grad()
def test_scaling_and_replacing_agree(tiny, small_lr):
    x = torch.cat([small_lr, small_lr.flip(-1)])
    feature = features(tiny, lambda: tiny(x), ["head"])["head"]
    with intervene(tiny, {"head": scale(0.5)}):
        halved = tiny(x)
    with intervene(tiny, {"head": replace(feature * 0.5)}):
        assert torch.equal(tiny(x), halved)
    with intervene(tiny, {"head": scale(torch.full((8,), 0.5))}):
        assert torch.equal(tiny(x), halved)
    with intervene(tiny, {"head": scale(torch.tensor([[1.0], [0.5]]).expand(2, 8))}):
        mixed = tiny(x)
    assert torch.equal(mixed[0], tiny(x)[0]) and torch.equal(mixed[1], halved[1])
    assert hooks_on(tiny) == 0


@torch.no_grad()
def test_dropping_channels(tiny, small_lr):
    keep = torch.ones(8)
    keep[[2, 5]] = 0
    with intervene(tiny, {"act": scale(keep)}):
        expected = tiny(small_lr)
    with intervene(tiny, {"act": drop([2, 5])}):
        assert torch.equal(tiny(small_lr), expected)
    with intervene(tiny, {"act": drop_each([2, 5])}):
        both = tiny(small_lr.expand(2, -1, -1, -1))
    for row, channel in enumerate([2, 5]):
        with intervene(tiny, {"act": drop([channel])}):
            assert torch.allclose(both[row : row + 1], tiny(small_lr), atol=1e-6)


class Gated(nn.Module):
    """A chain with a channel attention whose gate is a module of its own, used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.gate = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = x * self.gate(x)
        return x * self.gate(x)


@torch.no_grad()
def test_bypassing(small_lr):
    network = Gated()
    plain = network.conv(small_lr)
    with bypass(network, ["gate"], stand="one"):
        assert torch.equal(network(small_lr), plain)
    with bypass(network, ["gate"], stand="zero"):
        assert not network(small_lr).any()
    with bypass(network, ["gate"]):
        assert torch.allclose(network(small_lr), plain**4)
    with bypass(network, ["gate"], stand="mean"):
        first = plain * network.gate(plain).mean(dim=(2, 3), keepdim=True)
        assert first.shape == plain.shape and not torch.equal(network(small_lr), plain)
    with bypass(network, ["conv", "gate"]):
        assert torch.allclose(network(small_lr), small_lr**4)
    assert hooks_on(network) == 0


def test_mistakes_are_named_and_leave_nothing(tiny, small_lr):
    cases = [
        ({"act": drop([8])}, "channels 0 to 7"),
        ({"act": drop_each([1, 2])}, "2 channels to drop for a batch of 1"),
        ({"act": scale(torch.ones(9))}, r"factors of shape \(9,\)"),
        ({"act": replace(torch.zeros(1, 7, 24, 24))}, "cannot replace"),
    ]
    for changes, message in cases:
        with pytest.raises(TapError, match=message), intervene(tiny, changes):
            tiny(small_lr)
    with pytest.raises(TapError, match="its output"), bypass(tiny, ["head"]):
        tiny(small_lr)
    with pytest.raises(TapError, match="no layer 'haed'; did you mean head"), bypass(tiny, ["haed"]):
        pass
    with pytest.raises(OptionError, match="input, zero, one, mean"), bypass(tiny, ["head"], stand="none"):  # type: ignore[arg-type]
        pass
    assert hooks_on(tiny) == 0


class Wrapped(nn.Module):
    """A block that takes its input by name and returns a tuple, a dict, or a tuple of two tensors."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.kind = nn.Conv2d(3, 3, 1), kind

    def forward(self, *, hidden: torch.Tensor, number: float = 1.0):
        y = self.conv(hidden) * number
        return {"tuple": (y,), "dict": {"note": "", "sample": y}, "two": (y, (hidden,))}[self.kind]


class Outside(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.block = Wrapped(kind)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.block(hidden=x, number=2.0)
        return out["sample"] if isinstance(out, dict) else out[0]


@torch.no_grad()
@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_the_only_tensor_of_a_tuple_and_an_input_by_name_are_replaced(kind, small_lr):
    network = Outside(kind)
    whole = network(small_lr)
    with intervene(network, {"block": scale(0.5)}):
        assert torch.equal(network(small_lr), whole * 0.5)
    with intervene(network, {"block:in": torch.zeros_like}):
        assert torch.equal(network(small_lr), network(small_lr * 0))
    with bypass(network, ["block"]):
        assert torch.equal(network(small_lr), small_lr)
    assert torch.equal(network(small_lr), whole) and hooks_on(network) == 0


@torch.no_grad()
def test_one_of_several_tensors_is_not_replaced(small_lr):
    network = Outside("two")
    with (
        pytest.raises(TapError, match="a tuple of 2 tensors; one can be replaced only where"),
        intervene(network, {"block": scale(0.5)}),
    ):
        network(small_lr)
    with pytest.raises(TapError, match="block returns a tuple; only"), bypass(network, ["block"]):
        network(small_lr)
    assert [layer.outputs for layer in layers(network, lambda: network(small_lr)) if layer.name == "block"] == [2]
