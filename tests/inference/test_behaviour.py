"""Two forwards that differ, gradients that are cut, images of a batch that change each other: seen, and said first."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import sr_hooks
from sr_hooks.analyses.base import execute
from sr_hooks.inference.behaviour import observe
from sr_hooks.networks.network import Network


class Odd(nn.Module):
    """Two convolutions, with an operation between them."""

    def __init__(self, operation: Any) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.head, self.tail = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)
        self.inner = nn.Conv2d(6, 6, 3, padding=1)
        self.operation, self.calls = operation, 0
        self.noise = torch.Generator().manual_seed(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.3 * self.tail(self.operation(self, torch.tanh(self.head(x))))


def counted(net: Odd, y: torch.Tensor) -> torch.Tensor:
    net.calls += 1
    return y * (1 + 0.1 * net.calls)


def averaged(net: Odd, y: torch.Tensor) -> torch.Tensor:
    net.mean = 0.5 * getattr(net, "mean", 0) + y.mean()
    return y + net.mean


def without_gradient(net: Odd, y: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        z = torch.sin(net.inner(y))
    return y + z


def through_numpy(net: Odd, y: torch.Tensor) -> torch.Tensor:
    return y + torch.from_numpy(np.tanh(y.detach().cpu().numpy()))


def written_into_a_buffer(net: Odd, y: torch.Tensor) -> torch.Tensor:
    z = torch.zeros_like(y)
    with torch.no_grad():
        z[:, :3] = net.inner(y)[:, :3]
    return y + z


class Blocking(torch.autograd.Function):
    """A sine without a gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> None:
        return None


def every(period: int) -> Any:
    def changed(net: Odd, y: torch.Tensor) -> torch.Tensor:
        net.calls += 1
        return y * (1.3 if net.calls % period == 0 else 1)

    return changed


def remembering(net: Odd, y: torch.Tensor) -> torch.Tensor:
    last, net.last = getattr(net, "last", y), y.detach()
    return y + 0.5 * last if last.shape == y.shape else y


def scaled_by_a_list(net: Odd, y: torch.Tensor) -> torch.Tensor:
    return torch.stack([y[:, i] * mean for i, mean in enumerate(y[0].mean((1, 2)).tolist())], 1)


def codebook(net: Odd, y: torch.Tensor) -> torch.Tensor:
    rows = y.permute(0, 2, 3, 1)
    nearest = net.head.weight.flatten(1)[torch.cdist(rows.reshape(-1, 6), net.inner.weight[:, :, 1, 1]).argmin(1)]
    nearest = nearest[:, :6].view_as(rows)
    return (rows + (nearest - rows).detach()).permute(0, 3, 1, 2)


def note_features(net: Odd, y: torch.Tensor) -> torch.Tensor:
    net.seen = y.detach().flatten(2)
    return y * 2


UNREPEATABLE = {
    "every second call": every(2),
    "every third call": every(3),
    "every fifth call": every(5),
    "the last features": remembering,
    "a generator of its own": lambda net, y: y + 0.2 * torch.randn(y.shape, generator=net.noise),
    "a counter": counted,
    "numpy's random numbers": lambda net, y: y + float(np.random.rand()),
    "an exponential average": averaged,
}
RANDOM = {
    "now and then": lambda net, y: y * (1.5 if torch.rand(()) < 0.4 else 1.0),
    "dropout left on": lambda net, y: F.dropout(y, 0.3, training=True),
    "noise of the global stream": lambda net, y: y + 0.2 * torch.randn_like(y),
    "a random shift": lambda net, y: torch.roll(y, int(torch.randint(0, 5, ())), 2),
}
CUT = {
    "a part without gradient": without_gradient,
    ".data": lambda net, y: y + torch.sin(y.data),
    "a detached context": lambda net, y: y * torch.sigmoid(net.inner(y).mean((2, 3), keepdim=True).detach()),
    "a buffer written without gradient": written_into_a_buffer,
    "a Python number": lambda net, y: y / y.abs().max().item(),
    "numpy": through_numpy,
    "a new leaf": lambda net, y: y + torch.sin(net.inner(y.detach().requires_grad_())),
    "a function without gradient": lambda net, y: y + Blocking.apply(y),
    "a list of numbers with gradients on": scaled_by_a_list,
    "a list of numbers": lambda net, y: y * torch.tensor(y.mean((0, 2, 3)).tolist())[:, None, None],
}
MIXING = {
    "a mean over the batch": lambda net, y: y - y.mean((0, 2, 3), keepdim=True),
    "the largest of the batch": lambda net, y: y / y.abs().amax(),
    "the next image": lambda net, y: y + 0.5 * y.roll(1, 0),
    "the first image": lambda net, y: y + y[:1],
    "the last image": lambda net, y: y + y[-1:],
    "the opposite image": lambda net, y: y + y.flip(0),
    "a running sum": lambda net, y: y.cumsum(0),
    "the largest value": lambda net, y: y / y.max(),
}
HARMLESS = {
    "nothing": lambda net, y: y,
    "a detached mask": lambda net, y: y * (y.detach() > 0),
    "a statistic aside": lambda net, y: (setattr(net, "seen", y.detach().mean()), y)[1],
    "rounding": lambda net, y: y + torch.round(y),
    "a detached view aside": note_features,
    "detached and rounded": lambda net, y: y + y.detach().floor(),
    "a straight-through estimator": lambda net, y: y + (torch.round(8 * y) / 8 - y).detach(),
    "another one": lambda net, y: torch.sign(y) - y.detach() + y,
    "a codebook": codebook,
    "an index": lambda net, y: y.gather(1, y.argsort(1)),
    "zeros like a detached tensor": lambda net, y: y + torch.zeros_like(y.detach()),
    "a constant from numpy": lambda net, y: y * torch.from_numpy(np.full((6, 1, 1), 2, dtype=np.float32)),
    "a checkpoint": lambda net, y: checkpoint(net.inner, y, use_reentrant=False),
    "in place": lambda net, y: y.clone().mul_(2).relu_(),
}  # fmt: skip


def behaviour_of(operation: Any) -> Any:
    return observe(Network(Odd(operation), scale=1, multiple=1, channels=3))


def answers(operation: Any, lr: torch.Tensor) -> list[sr_hooks.Result]:
    """A LAM and a DDR of the network."""
    network = Network(Odd(operation), scale=1, multiple=1, channels=3)
    window = sr_hooks.lam(network, lr, window=(8, 8, 8), steps=5)
    hr = lr.repeat(1, 1, 3, 3)
    features = sr_hooks.ddr(network, hr, layers="tail:in", patch=24, patches=6, permutations=9, tsne=0)
    return [window, features]


@pytest.mark.parametrize("name", UNREPEATABLE)
def test_a_network_that_does_not_repeat_itself(small_lr, name):
    assert not behaviour_of(UNREPEATABLE[name]).repeats
    for result in answers(UNREPEATABLE[name], small_lr):
        assert result.verdict.startswith("not repeatable: two forwards on one image differ by")
        assert "sound" not in result.verdict and result.provenance["warnings"]


@pytest.mark.parametrize("name", RANDOM)
def test_randomness_of_the_global_streams_is_frozen_by_a_seed(small_lr, name):
    behaviour = behaviour_of(RANDOM[name])
    assert behaviour.frozen and behaviour.repeats
    state = torch.get_rng_state()
    first, second = answers(RANDOM[name], small_lr), answers(RANDOM[name], small_lr)
    assert torch.equal(torch.get_rng_state(), state), "the caller's stream is where it was"
    for one, other in zip(first, second, strict=True):
        assert one.verdict.startswith("random: the network draws random numbers") and "sound" not in one.verdict
        for array in one.arrays:
            np.testing.assert_array_equal(one.arrays[array], other.arrays[array])


def test_randomness_is_frozen_beside_another_thread(small_lr):
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        behaviour = behaviour_of(RANDOM["dropout left on"])
    finally:
        stop.set()
        thread.join()
    assert behaviour.frozen and behaviour.repeats


@pytest.mark.parametrize("name", CUT)
def test_a_gradient_that_is_cut_in_part(small_lr, name):
    assert behaviour_of(CUT[name]).repeats
    result = sr_hooks.lam(Network(Odd(CUT[name]), scale=1, multiple=1, channels=3), small_lr, window=(8, 8, 8), steps=5)
    assert "gradient cut in part" in result.verdict.split(";")[0] + result.verdict.split(";")[1]
    assert "sound" not in result.verdict


@pytest.mark.parametrize("name", MIXING)
def test_images_of_a_batch_that_change_each_other(small_lr, name):
    behaviour = behaviour_of(MIXING[name])
    assert behaviour.mixes and behaviour.repeats
    assert answers(MIXING[name], small_lr)[0].verdict.startswith("batch-dependent: images of one batch change")


@pytest.mark.parametrize("name", HARMLESS)
def test_a_network_about_which_there_is_nothing_to_say(name):
    behaviour = behaviour_of(HARMLESS[name])
    assert behaviour.warnings() == [] and behaviour.signature == behaviour_of(HARMLESS[name]).signature


def test_the_part_of_a_cut_is_named():
    class Part(nn.Module):
        def forward(self, y: torch.Tensor) -> torch.Tensor:
            return y + torch.sin(y.detach())

    network = Odd(lambda net, y: net.part(y))
    network.part = Part()
    behaviour = observe(Network(network))
    assert behaviour.cuts == ("part",) and "in part a value" in behaviour.warnings()[0]


def test_the_users_streams_and_network_are_left_alone(small_lr):
    network = Odd(RANDOM["dropout left on"])
    network.train()
    torch.manual_seed(5)
    expected = network(small_lr)
    torch.manual_seed(5)
    observe(Network(network, scale=1, multiple=1, channels=3))
    assert network.training and torch.equal(network(small_lr), expected)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


class Enlarging(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv, self.factor, self.multiple = nn.Conv2d(3, 3, 3, padding=1), 2, 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] % self.multiple or x.shape[-2] % self.multiple:
            raise RuntimeError(f"sides must be multiples of {self.multiple}")
        return F.interpolate(self.conv(x), scale_factor=self.factor, mode="bilinear")


@pytest.mark.parametrize(("name", "value"), [("factor", 3), ("multiple", 16)])
def test_facts_are_inferred_anew_when_the_module_has_changed(small_lr, name, value):
    network = Network(Enlarging())
    lr = small_lr[..., :22, :22]
    assert sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3).scalars["canvas"]["output"] == [44, 44]
    setattr(network.module, name, value)
    result = sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3)
    assert result.scalars["canvas"]["output"] == [22 * network.module.factor] * 2
    assert getattr(network, {"factor": "scale"}.get(name, name)) == value


class Broken(nn.Module):
    """Scale 1; the features are numbers, the output is not."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.head(x)) * float("nan")


class Dividing(sr_hooks.Analysis[Any]):
    """An analysis whose arithmetic cannot do without numbers."""

    name = "dividing"
    options_type = type("Options", (), {"__dataclass_fields__": {}})

    def run(self, network: Any, images: Any, options: Any) -> sr_hooks.Result:
        return sr_hooks.Result(self.name, scalars={"largest": int(network(images).max())}, verdict="sound")


class Blind(Dividing):
    """One that does not look at the output."""

    def run(self, network: Any, images: Any, options: Any) -> sr_hooks.Result:
        return sr_hooks.Result(self.name, verdict="all is well")


def test_a_network_whose_output_is_not_finite_is_said_first(small_lr):
    network = Network(Broken(), scale=1, multiple=1, channels=3)
    assert not observe(network).finite
    with pytest.raises(sr_hooks.errors.NetworkError, match="NaN or infinite"):
        execute(Dividing, network, small_lr, None)
    assert execute(Blind, network, small_lr, None).verdict.startswith("not finite: the network returns NaN or infinite")
    with pytest.raises(ValueError, match="NaN"):
        int(network(small_lr).max())  # what the analysis itself says
