"""State beside weights and buffers: found by comparing, restored where it can be copied, and named."""

from __future__ import annotations

import itertools
import logging
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.training import preserved
from tests.support.training import IMAGE

CALLS = 0
RNG = np.random.default_rng(0)
SEEN: list[int] = []


@dataclass
class Memory:
    calls: int = 0


class Slotted:
    """Keeps a number of its own."""

    def __init__(self) -> None:
        self.calls = 0


class Base(nn.Module):
    calls_of_class = 0

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.prepare()

    def prepare(self) -> None:
        """Make the state."""

    def advance(self) -> float:
        """Use and advance the state."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + 1e-3 * self.advance()


def kind(make: Callable[[], Any], use: Callable[[Any], Any]) -> type[Base]:
    class Stateful(Base):
        def prepare(self) -> None:
            self.state = make()

        def advance(self) -> float:
            value = use(self)
            return float(value) if isinstance(value, (int, float, np.number, torch.Tensor)) else 0.0

    return Stateful


def count(net: Any) -> int:
    net.state += 1
    return net.state


def count_in(net: Any) -> int:
    net.state.calls += 1
    return net.state.calls


def append(net: Any) -> int:
    net.state.append(len(net.state))
    return len(net.state)


def key(net: Any) -> int:
    net.state[len(net.state)] = 1
    return len(net.state)


def counted(net: Any) -> int:
    net.state["calls"] += 1
    return net.state["calls"]


def of_class(net: Any) -> int:
    Base.calls_of_class += 1
    return Base.calls_of_class


def of_module(net: Any) -> int:
    global CALLS
    CALLS += 1
    SEEN.append(CALLS)
    return CALLS + float(RNG.random())


def array(net: Any) -> float:
    net.state += 1
    return float(net.state[0])


STATES: dict[str, tuple[type[Base], Callable[[Any], Any]]] = {
    "counter": (kind(int, count), lambda net: net.state),
    "torch generator": (
        kind(lambda: torch.Generator().manual_seed(1), lambda net: torch.rand(1, generator=net.state)),
        lambda net: net.state.get_state().tolist(),
    ),
    "NumPy generator": (
        kind(lambda: np.random.default_rng(1), lambda net: net.state.random()),
        lambda net: net.state.bit_generator.state,
    ),
    "NumPy's older generator": (
        kind(lambda: np.random.RandomState(1), lambda net: net.state.rand()),
        lambda net: repr(net.state.get_state()),
    ),
    "Python generator": (
        kind(lambda: random.Random(1), lambda net: net.state.random()),
        lambda net: net.state.getstate(),
    ),
    "plain tensor": (kind(lambda: torch.zeros(2), lambda net: net.state.add_(1)[0]), lambda net: net.state.tolist()),
    "array": (kind(lambda: np.zeros(2), array), lambda net: net.state.tolist()),
    "list": (kind(list, append), lambda net: list(net.state)),
    "bounded deque": (kind(lambda: deque([1, 2], maxlen=3), append), lambda net: list(net.state)),
    "cache": (kind(dict, key), lambda net: dict(net.state)),
    "Counter": (kind(Counter, counted), lambda net: dict(net.state)),
    "dataclass": (kind(Memory, count_in), lambda net: net.state.calls),
    "object": (kind(Slotted, count_in), lambda net: net.state.calls),
    "namespace": (kind(lambda: SimpleNamespace(calls=0), count_in), lambda net: net.state.calls),
    "list of generators": (
        kind(lambda: [random.Random(1)], lambda net: net.state[0].random()),
        lambda net: net.state[0].getstate(),
    ),
    "generator in a dict in a list": (
        kind(lambda: [{"a": np.random.default_rng(2)}], lambda net: net.state[0]["a"].random()),
        lambda net: net.state[0]["a"].bit_generator.state,
    ),
    "module in a list": (
        kind(lambda: [nn.BatchNorm2d(3)], lambda net: net.state[0](torch.rand(2, 3, 4, 4)).mean()),
        lambda net: net.state[0].running_mean.tolist(),
    ),
    "itertools.count": (kind(lambda: itertools.count(3), lambda net: next(net.state)), lambda net: repr(net.state)),
    "class attribute": (kind(int, of_class), lambda net: Base.calls_of_class),
    "globals of its module": (kind(int, of_module), lambda net: (CALLS, list(SEEN), RNG.bit_generator.state)),
}


@pytest.mark.parametrize("name", STATES)
def test_state_in_attributes_is_restored_and_named(name: str) -> None:
    make, read = STATES[name]
    net, told = make(), []
    net(IMAGE)
    before = read(net)
    with preserved(net, report_state=told.append):
        net(IMAGE)
        assert read(net) != before, "else this test could not fail"
    assert read(net) == before
    assert told and all("cannot" not in text for text in told)
    told.clear()
    with preserved(net, report_state=told.append):
        pass
    assert told == [], "what has not changed is not named"


@pytest.mark.parametrize("name", ["counter", "torch generator", "dataclass", "cache", "class attribute"])
def test_a_watched_run_is_the_same_to_the_bit_and_says_so(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = []
    for watch in (False, True):
        torch.manual_seed(0)
        Base.calls_of_class = 0
        net = STATES[name][0]()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        lam = {"windows": [[4, 4, 4]], "every": 2, "steps": 3}
        with caplog.at_level(logging.INFO):
            given: Any = {"image": IMAGE, "folder": tmp_path, "budget": "off", "sinks": ["log"], "lam": lam}
            watching = sr_hooks.watch(net, optimizer, **given) if watch else None
            if watching is not None:
                assert any("are undone" in text for text in caplog.messages), "before the first step"
            for _ in range(5):
                optimizer.zero_grad()
                net(IMAGE).square().mean().backward()
                optimizer.step()
            if watching is not None:
                watching.end()
        weights.append({key: value.clone() for key, value in net.state_dict().items()})
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert any("lam at iteration 4" in text for text in caplog.messages), "it did look"


def endless(net: Any) -> int:
    return next(net.state)


def naturals() -> Any:
    number = 0
    while True:
        number += 1
        yield number


def test_what_cannot_be_copied_is_named_before_the_first_step(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = kind(naturals, endless)()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with caplog.at_level(logging.WARNING):
        sr_hooks.watch(net, optimizer, image=IMAGE, folder=tmp_path, lam={"windows": [[4, 4, 4]], "every": 2}).close()
    assert any("state goes on and cannot be restored" in text for text in caplog.messages)


def test_a_trainer_behind_an_attribute_is_left_alone() -> None:
    """Lightning's modules hold their trainer: restoring that would undo what other threads do to it."""
    net = kind(int, count)()
    trainer = SimpleNamespace(optimizer=torch.optim.SGD(net.parameters(), 0.1), queue=[1, 2])
    net.trainer = type("Trainer", (), {"__module__": "host"})()
    net.trainer.__dict__.update(vars(trainer))
    with preserved(net):
        net.trainer.queue.append(3)
    assert net.trainer.queue == [1, 2, 3]


class Closing(nn.Module):
    """Its forward is replaced on the instance by a function that counts, as wrappers do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)


def test_what_a_wrapper_around_forward_closes_over() -> None:
    net, calls = Closing(), 0
    log: list[int] = []

    def forward(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        log.append(calls)
        forward.calls += 1  # type: ignore[attr-defined]
        return net.conv(x)

    forward.calls = 0  # type: ignore[attr-defined]
    net.forward = forward  # type: ignore[method-assign]
    with preserved(net):
        net(IMAGE)
        assert calls == 1
    assert calls == 0 and log == [] and forward.calls == 0  # type: ignore[attr-defined]
