"""A map is that of the network as it is at the call, whatever was changed since the last one."""

from __future__ import annotations

import dataclasses
import json
import types
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.attribution.receptive_field.proved_cones import AGREEMENT

pytestmark = pytest.mark.slow

GAIN = 1.0
STRENGTHS: dict[str, Any] = {"factors": [1.0, 1.0]}


@dataclasses.dataclass
class Settings:
    slope: float = 1.0


class Cut(torch.autograd.Function):
    """The identity, whose gradient is 0 in the upper half."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        gradient[..., : gradient.shape[-2] // 2, :] = 0
        return gradient


class Changeable(nn.Module):
    """A network with one attribute of each kind."""

    table: ClassVar[dict[str, float]] = {"bias": 0.0}

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.c = nn.Conv2d(8, 3, 3, padding=1)
        self.cfg = {"flip": False, "deep": {"taps": [1, 2]}}
        self.factors, self.shift = [1.0, 2.0], (0, 0)
        self.gains = torch.ones(8, 1, 1)
        self.settings = Settings()
        self.array = np.ones(8, dtype=np.float32)
        self.half_gradient = self.stopped = self.hooked = False
        self.register_buffer("mask", torch.ones(8, 1, 1))

    def act(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(3 * x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.a(x)) * self.gains * self.mask * torch.from_numpy(self.array)[:, None, None] * GAIN
        h = torch.roll(h, self.shift, (2, 3)) if any(self.shift) else h
        h = F.leaky_relu(self.b(h), self.settings.slope) * sum(self.factors) * STRENGTHS["factors"][0]
        h = h.flip(-1) if self.cfg["flip"] else h
        h = h + 0.1 * h * len(self.cfg["deep"]["taps"]) + self.table["bias"] * h
        if self.half_gradient:
            h = Cut.apply(h)
        if self.stopped:
            h = h + 3 * h.detach().sin()
        if self.hooked and h.requires_grad:
            h.register_hook(lambda gradient: gradient * torch.linspace(0, 1, gradient.shape[-1]))
        return self.c(torch.sin(3 * h)) + x


def dilated(module: Changeable) -> None:
    module.b.dilation = module.b.padding = (8, 8)


def replaced_method(module: Changeable) -> None:
    module.act = types.MethodType(lambda self, x: torch.relu(x), module)


def replaced_part_forward(module: Changeable) -> None:
    module.b.forward = lambda x: F.conv2d(F.pad(x, (5, 5, 5, 5)), module.b.weight, module.b.bias, dilation=5)


def set_flag(name: str, value: Any) -> Any:
    return lambda module: setattr(module, name, value)


CHANGES = {
    "a tuple of a part": dilated,
    "a flag in a dict": lambda m: m.cfg.update(flip=True),
    "a list in a dict in a dict": lambda m: m.cfg["deep"]["taps"].extend(range(40)),
    "a number in a list": lambda m: m.factors.__setitem__(0, 9.0),
    "a tuple": set_flag("shift", (3, 5)),
    "a tensor filled": lambda m: m.gains[:4].zero_(),
    "a tensor replaced": set_flag("gains", torch.linspace(-3, 3, 8)[:, None, None]),
    "a buffer filled": lambda m: m.mask[2:].zero_(),
    "a dataclass": lambda m: setattr(m.settings, "slope", -2.0),
    "a NumPy array": lambda m: m.array.__setitem__(slice(0, 5), -1.0),
    "a method of the instance": replaced_method,
    "the forward of a part": replaced_part_forward,
    "a part": lambda m: setattr(m, "b", nn.Conv2d(8, 8, 5, padding=2)),
    "weights": lambda m: m.a.weight.data.mul_(-4),
    "a gradient of its own": set_flag("half_gradient", True),
    "a gradient that stops": set_flag("stopped", True),
    "a hook on a tensor": set_flag("hooked", True),
}


def explained(module: nn.Module, lr: torch.Tensor, **options: Any) -> sr_hooks.LamResult:
    return sr_hooks.lam(module, lr, window=(24, 30, 8), steps=5, **options)


def assert_as_whole(module: nn.Module, lr: torch.Tensor, before: np.ndarray) -> None:
    """The map is that of the whole network as it is now, and not the one before."""
    now, whole = explained(module, lr), explained(module, lr, cone="off")
    norm = np.linalg.norm(whole.attribution)
    assert np.linalg.norm(now.attribution - whole.attribution) <= 10 * AGREEMENT * norm
    assert np.linalg.norm(now.attribution - before) > 0.01 * norm, "the change must change the map"


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_between_two_calls_is_seen(lr, change):
    module = Changeable()
    first = explained(module, lr)
    assert isinstance(first.scalars["cone"], dict), "the cone is on, or nothing is tested"
    CHANGES[change](module)
    assert_as_whole(module, lr, first.attribution)


def test_a_global_value_is_seen(lr, monkeypatch):
    module = Changeable()
    first = explained(module, lr)
    monkeypatch.setitem(STRENGTHS, "factors", [-4.0])
    assert_as_whole(module, lr, first.attribution)
    second = explained(module, lr)
    monkeypatch.setattr(__import__(__name__, fromlist=["GAIN"]), "GAIN", 7.0)
    assert_as_whole(module, lr, second.attribution)


def test_a_method_and_a_value_of_the_class_are_seen(lr, monkeypatch):
    module = Changeable()
    first = explained(module, lr)
    monkeypatch.setattr(Changeable, "act", lambda self, x: F.avg_pool2d(x, 7, 1, 3))
    assert_as_whole(module, lr, first.attribution)
    second = explained(module, lr)
    monkeypatch.setitem(Changeable.table, "bias", -5.0)
    assert_as_whole(module, lr, second.attribution)


@pytest.mark.parametrize("register", [nn.modules.module.register_module_forward_hook, None])
def test_hooks_on_a_module_and_on_all_modules_are_seen(lr, register):
    module = Changeable()
    first = explained(module, lr)

    def hook(part: nn.Module, args: Any, out: torch.Tensor) -> torch.Tensor | None:
        return out.roll(9, 2) if part is module.b else None

    handle = register(hook) if register else module.b.register_forward_hook(hook)
    try:
        assert_as_whole(module, lr, first.attribution)
        assert str(explained(module, lr).scalars["cone"]).startswith("off: a hook is attached to")
    finally:
        handle.remove()
    again = explained(module, lr)
    assert isinstance(again.scalars["cone"], dict) and np.array_equal(again.attribution, first.attribution)


class GrowsLate(Changeable):
    """Another network for large images: what small images show is not what it does."""

    late = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flip(-1) if self.late and x.shape[-1] > 48 else x)


def test_a_change_that_only_large_images_show_is_seen(lr):
    module = GrowsLate()
    first = explained(module, lr)
    module.late = True
    assert_as_whole(module, lr, first.attribution)
    assert_as_whole(module, F.interpolate(lr, scale_factor=3), first.attribution.repeat(3, 1).repeat(3, 2))


CACHE_FILES = ['{"batch": 0}', '{"batch": -3, "channels_last": "no"}', '{"answer": "proved"}', "[]", "", "\x00" * 99]
CACHE_FILES += ['{"batch": 1e9}', '{"batch": true}', '{"batch": NaN}', "[" * 9999]


@pytest.mark.parametrize("content", CACHE_FILES, ids=range(len(CACHE_FILES)))
def test_a_cache_file_changes_no_answer(lr, tmp_path, monkeypatch, content):
    """Whatever stands in a cache file: the answer is that without a cache, up to what a memory layout rounds."""
    from sr_hooks.inference import calibration

    monkeypatch.setenv("SR_HOOKS_CACHE", str(tmp_path))
    calibration._plans.clear()
    expected = explained(Changeable(), lr)
    files = sorted(tmp_path.rglob("*.json"))
    assert files and all(isinstance(json.loads(file.read_text()), dict) for file in files)
    for file in files:
        file.write_text(content)
    calibration._plans.clear()
    result = explained(Changeable(), lr)
    norm = np.linalg.norm(expected.attribution)
    assert np.linalg.norm(result.attribution - expected.attribution) <= 10 * AGREEMENT * norm
    calibration._plans.clear()


def test_a_value_in_a_dict_that_changes_between_two_looks_of_a_watched_run_is_seen(lr, tmp_path):
    module = Changeable()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    options = {"windows": [[24, 30, 8]], "every": 1, "steps": 5, "images": [lr]}
    with sr_hooks.watch(module, optimizer, folder=tmp_path, sinks=["folder"], budget="off", lam=options):
        for flip in (False, True, False):
            module.cfg["flip"] = flip
            module(lr).sum().backward()
            optimizer.step()
    looks = [sr_hooks.load(tmp_path / str(iteration) / "lam").attribution for iteration in (1, 2, 3)]
    module.cfg["flip"] = True
    flipped = explained(module, lr, cone="off").attribution
    norm = np.linalg.norm(flipped)
    assert np.linalg.norm(looks[1] - flipped) <= 10 * AGREEMENT * norm
    assert np.linalg.norm(looks[0] - looks[2]) <= 10 * AGREEMENT * norm < 0.01 * np.linalg.norm(looks[0] - flipped)
