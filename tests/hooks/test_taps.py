"""Taps: call-indexed, safe from in-place changes, and gone afterwards however it ended."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import sr_hooks
from sr_hooks.errors import TapError
from sr_hooks.hooks.activations import features
from sr_hooks.hooks.layer_list import deep_feature, layers, resolve
from sr_hooks.hooks.taps import parse_tap
from tests.conftest import hooks_on
from tests.support.networks import Tiny


class Shared(nn.Module):
    """One activation used three times, in place."""

    def __init__(self, checkpointed: str = "no") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.lrelu = nn.LeakyReLU(0.1, inplace=True)
        self.checkpointed = checkpointed

    def middle(self, x):
        return self.lrelu(self.b(x))

    def forward(self, x):
        x = self.lrelu(self.a(x))
        if self.checkpointed != "no":
            x = checkpoint(self.middle, x, use_reentrant=self.checkpointed == "reentrant")
        else:
            x = self.middle(x)
        return self.lrelu(self.c(x))


def test_names_are_parsed_and_written_back():
    for text in ("body.15", "lrelu#2", "conv_last:in", "a#0:in"):
        assert str(parse_tap(text)) == text
    for text in ("a#x", "a:out", "a#1#2"):
        with pytest.raises(TapError, match="not understood"):
            parse_tap(text)


def test_call_index_and_in_place_safety(small_lr):
    network = Shared()
    with sr_hooks.capture(network, ["a", "lrelu#0", "lrelu#2", "b:in"]) as kept:
        network(small_lr)
    plain = network.a(small_lr)
    assert torch.equal(kept["a"], plain)  # although lrelu then changed it in place
    assert torch.equal(kept["lrelu#0"], nn.functional.leaky_relu(plain, 0.1))
    assert torch.equal(kept["b:in"], kept["lrelu#0"])
    assert torch.equal(kept["lrelu#2"], network(small_lr))
    assert hooks_on(network) == 0


def test_a_name_that_runs_often_must_say_which(small_lr):
    network = Shared()
    with pytest.raises(TapError, match="lrelu#0"), sr_hooks.capture(network, ["lrelu"]):
        network(small_lr)
    with pytest.raises(TapError, match="runs 3 times"):
        resolve(network, "lrelu", lambda: network(small_lr))
    with pytest.raises(TapError, match="the last is #2"):
        resolve(network, "lrelu#3", lambda: network(small_lr))
    assert hooks_on(network) == 0


def test_patterns_auto_and_all(small_lr):
    network = Shared()

    def forward():
        return network(small_lr)

    assert [str(t) for t in resolve(network, "auto", forward)] == ["c:in"]
    assert [str(t) for t in resolve(network, ["?", "lrelu*"], forward)] == [
        "a",
        "b",
        "c",
        "lrelu#0",
        "lrelu#1",
        "lrelu#2",
    ]
    assert [str(t) for t in resolve(network, "all", forward)] == ["a", "b", "c"]
    assert str(deep_feature(network, layers(network, forward))) == "c:in"
    with pytest.raises(TapError, match="no layer matches"):
        resolve(network, "z*", forward)


@pytest.mark.parametrize("kind", ["reentrant", "non-reentrant"])
def test_checkpointing_does_not_count_twice(small_lr, kind):
    network = Shared(kind)
    x = small_lr.clone().requires_grad_()
    with sr_hooks.capture(network, ["lrelu#2", "b"]) as kept:
        network(x).sum().backward()
        first = kept["b"].clone()
        network(x).sum().backward()
    assert torch.equal(first, kept["b"])


def test_features_stop_at_the_deepest_tap(small_lr):
    network = Shared()
    ran = []
    network.c.register_forward_hook(lambda *a: ran.append("c"))
    kept = features(network, lambda: network(small_lr), ["a", "b:in"])
    assert ran == [] and set(kept) == {"a", "b:in"}


def test_intervention(small_lr):
    network = Shared()
    plain = network(small_lr)
    with sr_hooks.intervene(network, {"b": lambda f: f * 0}):
        silenced = network(small_lr)
    with sr_hooks.intervene(network, {"lrelu#2": lambda f: f + 1, "a:in": lambda x: x}):
        lifted = network(small_lr)
    assert not torch.equal(silenced, plain) and torch.allclose(lifted, plain + 1)
    assert torch.equal(network(small_lr), plain) and hooks_on(network) == 0


def test_kept_graph_gives_gradients_of_features(small_lr):
    network = Shared()
    with sr_hooks.capture(network, ["b"], keep_graph=True) as kept:
        out = network(small_lr)
    (gradient,) = torch.autograd.grad(out.sum(), kept["b"])
    assert gradient.shape == kept["b"].shape and gradient.abs().sum() > 0


class Stop(Exception):
    pass


def _fail(error):
    def hook(*args):
        raise error

    return hook


@pytest.mark.parametrize("ending", ["returns", "raises in forward", "raises in objective", "is interrupted"])
def test_no_handle_survives_and_all_is_put_back(small_lr, ending):
    network = Tiny()
    network.train()
    network.head.eval()
    network.tail.weight.requires_grad_(False)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    options = {}
    own = None
    if ending == "raises in forward":
        own = network.tail.register_forward_hook(_fail(Stop()))
    elif ending == "is interrupted":
        own = network.tail.register_forward_hook(_fail(KeyboardInterrupt()))
    elif ending == "raises in objective":
        options["objective"] = _fail(Stop())
    if ending == "returns":
        sr_hooks.lam(network, small_lr, window=(8, 8, 8), steps=3)
    else:
        with pytest.raises((Stop, KeyboardInterrupt, sr_hooks.SRHooksError)):
            sr_hooks.lam(network, small_lr, window=(8, 8, 8), steps=3, **options)
    if own:
        own.remove()
    assert hooks_on(network) == 0
    assert network.training and not network.head.training and network.tail.training
    assert [p.requires_grad for p in network.parameters()] == [True, True, False, True]
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
