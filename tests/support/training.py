"""A small plain training, and analyses of a plugin that behave in it as badly as asked."""

from __future__ import annotations

import hashlib
import random
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks import Analysis, Result, option
from sr_hooks.analyses.base import Watcher
from sr_hooks.hookspecs import hookimpl
from sr_hooks.results.run_index import read_index
from tests.conftest import hooks_on


class Net(nn.Module):
    """Doubles its input's size; batch normalisation and dropout inside."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.2)
        self.tail = nn.Conv2d(6, 12, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2.0) + F.pixel_shuffle(self.tail(self.drop(self.norm(self.head(x)))), 2)


def loop(steps: int = 12, watch: dict[str, Any] | None = None, ema: bool = False, pause: float = 0.0) -> dict[str, str]:
    """A plain training; SHA-256 of all that it depends on at the end."""
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(11)
    net = Net().train()
    average = torch.optim.swa_utils.AveragedModel(net, avg_fn=lambda a, b, n: 0.9 * a + 0.1 * b) if ema else None
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    given = dict(watch or {})
    if average is not None and watch is not None:
        given["ema"] = average.module
    with sr_hooks.watch(net, optimizer, **given) if watch is not None else nullcontext():
        for _ in range(steps):
            x = torch.rand(2, 3, 12, 12) * random.random() + np.random.rand() * 0.1
            optimizer.zero_grad()
            F.l1_loss(net(x), F.interpolate(x, scale_factor=2.0)).backward()
            optimizer.step()
            if average is not None:
                average.update_parameters(net)
            time.sleep(pause)
    assert hooks_on(net) == 0 and not optimizer._optimizer_step_post_hooks and not optimizer._optimizer_step_pre_hooks
    found: dict[str, Any] = {
        "weights": net.state_dict(),
        "grads": {k: p.grad for k, p in net.named_parameters()},
        "modes": [m.training for m in net.modules()],
        "optimizer": optimizer.state_dict(),
        "streams": [torch.get_rng_state(), repr(np.random.get_state()), repr(random.getstate())],
        "average": {} if average is None else average.state_dict(),
    }
    return {key: hashlib.sha256(_bytes(value)).hexdigest() for key, value in found.items()}


def _bytes(value: Any) -> bytes:
    if isinstance(value, torch.Tensor):
        return value.detach().contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return b"".join(repr(k).encode() + _bytes(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return b"".join(map(_bytes, value))
    return repr(value).encode()


@dataclass(frozen=True)
class PokeOptions:
    """Options of the analyses below."""

    layers: Any = option(None, "taps")
    cost: float = option(0.0, "seconds to sleep")
    what: str = option("", "what to do wrong")


class Poke(Analysis[PokeOptions]):
    """A plugin with nothing but run(), which behaves as badly as asked."""

    name = "poke"
    options_type = PokeOptions
    calls: ClassVar[list[str]] = []

    def run(self, network: Any, images: Any, options: PokeOptions) -> Result:
        type(self).calls.append(network.sha256())
        time.sleep(options.cost)
        with torch.no_grad():
            output = network(images)
        numbers = {"mean": float(output.mean()), "luck": random.random() + float(torch.rand(1)) + np.random.rand()}
        if options.what == "spoil":
            network.module.train()
            network.module(images)
            for part in network.module.modules():
                part.register_forward_hook(lambda *_: None)
            for parameter in network.module.parameters():
                parameter.data.add_(1)
                parameter.requires_grad_(False)
                parameter.grad = torch.ones_like(parameter)
            torch.set_grad_enabled(False)
        if options.what == "raise":
            raise ValueError("poked")
        if options.what == "interrupt":
            raise KeyboardInterrupt
        return Result("poke", {"output": output.numpy()}, numbers, {}, "poked")


class SumWatcher(Watcher):
    """Keeps a running sum over steps."""

    def __init__(self, kind: Any, options: Any, context: Any) -> None:
        super().__init__(kind, options, context)
        self.seen: list[int] = []
        self.total = torch.zeros(1)

    def before_step(self, network: Any, optimizer: Any, iteration: int) -> None:
        assert all(p.grad is not None for p in network.module.parameters())
        self.seen.append(iteration)
        self.total += float(sum(p.grad.abs().sum() for p in network.module.parameters()))
        torch.rand(3), random.random()

    def due(self, network: Any, iteration: int) -> Result:
        return Result("sums", {}, {"total": float(self.total), "steps": len(self.seen)}, {}, "")

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "total": self.total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen, self.total = list(state["seen"]), state["total"]


class Sums(Poke):
    """An analysis with a watcher of its own."""

    name = "sums"
    watcher_type = SumWatcher


class Plugin:
    """Registers both."""

    @hookimpl
    def register_analyses(self) -> list[type[Analysis[Any]]]:
        return [Poke, Sums]


IMAGE = torch.linspace(0, 1, 3 * 16 * 16).view(1, 3, 16, 16)


HERE = {"image": IMAGE, "folder": "out", "budget": "off"}


def entries() -> list[dict[str, Any]]:
    return read_index("out")
