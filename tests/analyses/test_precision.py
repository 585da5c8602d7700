"""float32 is float32 in every forward and backward of an analysis, and tf32 is tf32; afterwards the process's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.core.registry import registered
from tests.support.networks import Tiny


def switches() -> tuple[object, object]:
    return torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision


class Seen(torch.autograd.Function):
    """The identity, which writes down the switches in its forward and in its backward."""

    seen: list[tuple[str, tuple[object, object]]] = []  # noqa: RUF012

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        Seen.seen.append(("forward", switches()))
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        Seen.seen.append(("backward", switches()))
        return gradient


class Noting(Tiny):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Seen.apply(super().forward(Seen.apply(x)))


class Own(sr_hooks.Analysis[Any]):
    """An analysis of a plugin that runs a forward and a backward by itself."""

    name = "own-backward"
    options_type = type("Options", (), {"__dataclass_fields__": {}})

    def run(self, network: Any, images: Any, options: Any) -> sr_hooks.Result:
        x = images.clone().requires_grad_()
        network(x).sum().backward()
        return sr_hooks.Result(self.name, verdict="sound")


@pytest.fixture(params=["tf32", "ieee"])
def process(request):
    """The process's own switches."""
    before = switches()
    torch.backends.cudnn.conv.fp32_precision = torch.backends.cuda.matmul.fp32_precision = request.param
    Seen.seen.clear()
    yield request.param
    assert switches() == (request.param, request.param), "put back"
    torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = before


def run(kind: str, lr: torch.Tensor, hr: torch.Tensor) -> None:
    network = Noting()
    if kind == "lam":
        sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3)
    elif kind == "lam, published":
        sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3, compat="lam_demo")
    elif kind == "check":
        sr_hooks.check(sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3))
    elif kind == "ddr":
        sr_hooks.ddr(network, hr, layers="tail:in", patch=24, patches=6, permutations=9, tsne=0)
    elif kind == "faig":
        baseline = Noting()
        nn.init.normal_(baseline.head.weight, std=0.1)
        sr_hooks.verify(sr_hooks.faig(baseline, network, images=hr, steps=3, any_order=True), hr)
    else:
        with registered(type("Plugin", (), {"register_analyses": sr_hooks.hookimpl(lambda self: [Own])})(), name="own"):
            sr_hooks.run("own-backward", network, lr)


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="this torch has the older switches alone")
@pytest.mark.parametrize("kind", ["lam", "lam, published", "check", "ddr", "faig", "a plugin's"])
def test_float32_is_float32_everywhere(process, small_lr, photo, kind):
    run(kind, small_lr, photo[..., :48, :48])
    assert {switch for _, switch in Seen.seen} == {("ieee", "ieee")}
    assert "forward" in {where for where, _ in Seen.seen}
    assert kind == "ddr" or "backward" in {where for where, _ in Seen.seen}


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="this torch has the older switches alone")
def test_tf32_is_tf32_in_the_backward_too(process, small_lr, monkeypatch):
    from sr_hooks.inference import calibration

    monkeypatch.setattr(calibration, "_plans", {})
    network = sr_hooks.Network(Noting())
    sr_hooks.lam(network, small_lr, window=(8, 8, 8), steps=3, precision="tf32", cone="off")
    backwards = [switch for where, switch in Seen.seen if where == "backward"]
    assert ("tf32", "tf32") in backwards, "the gradients"
    assert ("ieee", "ieee") in backwards, "the gradients in float32 that tell the deviation"
