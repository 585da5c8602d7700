"""Whatever a plugin raises, and whatever its figures and sinks do, training goes on bit for bit."""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks import Result
from sr_hooks.analyses.base import Watcher
from sr_hooks.core.registry import registered
from sr_hooks.errors import PluginError
from sr_hooks.hookspecs import hookimpl
from sr_hooks.training.sinks import Sink
from tests.support.training import HERE, IMAGE, Net, Poke, entries, loop

pytestmark = pytest.mark.slow


class Cancelled(BaseException):
    """No Exception, as those of asyncio and of some test tools."""


def parse_wrongly() -> None:
    argparse.ArgumentParser().parse_args(["--no-such-flag"])


RAISING: dict[str, Any] = {
    "ValueError": lambda: int("x"),
    "argparse": parse_wrongly,
    "sys.exit": sys.exit,
    "exit with text": lambda: sys.exit("done"),
    "BaseException": lambda: (_ for _ in ()).throw(Cancelled()),
    "RecursionError": lambda: recurse(),
}


def recurse() -> None:
    recurse()


def misuse() -> None:
    """All that leaves a trace on the run, without an error."""
    random.random(), np.random.rand(3), torch.rand(3), random.seed(1), np.random.seed(1), torch.manual_seed(1)
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True, warn_only=True)
    np.seterr(all="raise")
    os.environ["SR_PLUGIN"] = "1"


class Act:
    """What is done, and where; the tests set it."""

    where: ClassVar[str] = ""
    what: ClassVar[Any] = None
    done: ClassVar[int] = 0

    @classmethod
    def at(cls, where: str) -> None:
        if cls.where == where:
            Act.done += 1
            cls.what()


class ActWatcher(Watcher):
    def due(self, network: Any, iteration: int) -> Any:
        Act.at("due")
        if Act.where == "network":
            for parameter in network.module.parameters():
                parameter.data.zero_()
        return super().due(network, iteration)

    def before_step(self, network: Any, optimizer: Any, iteration: int) -> None:
        Act.at("before_step")

    def after_step(self, network: Any, optimizer: Any, iteration: int) -> None:
        Act.at("after_step")

    def state_dict(self) -> dict[str, Any]:
        Act.at("state_dict")
        return {"n": 1}

    def estimate(self, forward: float) -> float:
        return 0.0


class ActResult(Result):
    def headline(self) -> dict[str, Any]:
        Act.at("headline")
        return super().headline()


class Acting(Poke):
    name = "acting"
    watcher_type = ActWatcher
    result_type = ActResult

    def run(self, network: Any, images: Any, options: Any) -> Any:
        Act.at("run")
        network(images)
        return ActResult("acting", {"a": np.zeros(2)}, {"n": 1.0}, {}, "fine")

    @classmethod
    def figure(cls, result: Result) -> Any:
        Act.at("figure")
        return None


class ActSink(Sink):
    def __init__(self, context: Any) -> None:
        super().__init__(context)
        Act.at("sink opens")

    def write(self, result: Result, *, iteration: int, folder: str) -> None:
        Act.at("sink writes")

    def close(self) -> None:
        Act.at("sink closes")


class Writer:
    """A SummaryWriter whose methods fail."""

    def add_scalar(self, *_: Any, **__: Any) -> None:
        Act.at("TensorBoard")

    add_image = flush = add_scalar


class Plugin:
    @hookimpl
    def register_analyses(self) -> list[Any]:
        return [Acting]

    @hookimpl
    def register_sinks(self) -> dict[str, Any]:
        return {"acting-sink": ActSink}

    @hookimpl
    def before_analysis(self, analysis: str, network: Any, options: Any) -> None:
        Act.at("before_analysis")

    @hookimpl
    def after_analysis(self, result: Any) -> None:
        Act.at("after_analysis")


WHERE = ["run", "due", "figure", "headline", "sink opens", "sink writes", "sink closes", "TensorBoard", "state_dict"]
WHERE += ["before_analysis", "after_analysis", "before_step", "after_step"]


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Act, "done", 0)
    with registered(Plugin(), name="acting_plugin"):
        yield


def watch() -> dict[str, Any]:
    sinks = ["folder", "tensorboard", "log", "acting-sink"]
    return {**HERE, "acting": {"every": 2}, "sinks": sinks, "tensorboard": Writer()}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("what", RAISING)
def test_whatever_is_raised_is_contained(
    where: str, what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = loop(8)
    monkeypatch.setattr(Act, "where", where)
    monkeypatch.setattr(Act, "what", RAISING[what])
    with caplog.at_level(logging.WARNING):
        watched = loop(8, watch=watch())
    assert watched == plain
    assert Act.done >= 1, "else this test could not fail"
    assert caplog.messages, "it is told"


@pytest.mark.parametrize("where", [*WHERE, "network"])
def test_whatever_is_done_leaves_no_trace(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = loop(8)
    monkeypatch.setattr(Act, "where", where)
    monkeypatch.setattr(Act, "what", misuse)
    assert loop(8, watch=watch()) == plain
    assert torch.is_grad_enabled() and torch.get_default_dtype() is torch.float32
    assert "SR_PLUGIN" not in os.environ and np.geterr()["divide"] != "raise"
    assert where == "network" or Act.done >= 1


def test_a_sink_that_ends_gradients_does_not_end_the_users_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Act, "where", "sink writes")
    monkeypatch.setattr(Act, "what", lambda: torch.set_grad_enabled(False))
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with sr_hooks.watch(net, optimizer, **watch()):
        for _ in range(4):
            optimizer.zero_grad()
            net(IMAGE).sum().backward()
            optimizer.step()
    assert Act.done == 2


def test_a_figure_that_exits_costs_the_figure_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Act, "where", "figure")
    monkeypatch.setattr(Act, "what", sys.exit)
    loop(4, watch=watch())
    assert [entry["iteration"] for entry in entries()] == [2, 4]


def test_an_error_is_logged_once_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Act, "where", "run")
    monkeypatch.setattr(Act, "what", sys.exit)
    with caplog.at_level(logging.ERROR):
        loop(12, watch=watch())
    told = [message for message in caplog.messages if "acting" in message and "SystemExit" in message]
    assert len(told) == 3 and sum("Traceback" in message for message in told) == 1


def test_on_error_raise_lets_it_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Act, "where", "run")
    monkeypatch.setattr(Act, "what", sys.exit)
    with pytest.raises((SystemExit, PluginError)):
        loop(4, watch={**watch(), "on_error": "raise"})
