"""A session on a plain loop: schedule, budget, guard, faults, resume, and nothing left behind."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import _global_optimizer_pre_hooks

import sr_hooks
from sr_hooks import Analysis, Result, option
from sr_hooks.adapters.loop import Watch
from sr_hooks.analyses.base import Watcher
from sr_hooks.core.registry import registered
from sr_hooks.errors import OptionError, RunStopped, SRHooksError, TapError, WindowError
from sr_hooks.hookspecs import hookimpl
from sr_hooks.results.run_index import RunIndex, read_index
from sr_hooks.training import session
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


@pytest.fixture(autouse=True)
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Poke.calls.clear()
    monkeypatch.chdir(tmp_path)
    with registered(Plugin(), name="third_party"):
        yield


IMAGE = torch.linspace(0, 1, 3 * 16 * 16).view(1, 3, 16, 16)
HERE = {"image": IMAGE, "folder": "out", "budget": "off"}


def entries() -> list[dict[str, Any]]:
    return read_index("out")


@pytest.mark.parametrize("ema", [False, True])
def test_bit_for_bit_however_badly_it_behaves(ema: bool) -> None:
    plain = loop(ema=ema)
    lam = {"windows": [[8, 8, 8]], "every": 5}
    watched = loop(watch={**HERE, "lam": lam, "poke": {"every": 3, "what": "spoil"}, "sums": {"every": 4}}, ema=ema)
    assert watched == plain
    assert {(e["iteration"], e["analysis"]) for e in entries()} == {
        (5, "lam"),
        (10, "lam"),
        (3, "poke"),
        (6, "poke"),
        (9, "poke"),
        (12, "poke"),
        (4, "sums"),
        (8, "sums"),
        (12, "sums"),
    }
    assert {e["network"] for e in entries()} == {"ema" if ema else "raw"}


def test_the_guard_is_what_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = loop()
    monkeypatch.setattr(session, "preserved", lambda *_, **__: nullcontext())
    assert loop(watch={**HERE, "poke": {"every": 3}})["streams"] != plain["streams"]


def test_who_changes_weights_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        loop(3, watch={**HERE, "poke": {"at": 2, "what": "spoil"}})
    assert any("poke" in m and "changed" in m and "put back" in m for m in caplog.messages)


def test_when(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        loop(10, watch={**HERE, "poke": {"every": 4, "at": [1, 4], "at_end": True}})
    assert [e["iteration"] for e in entries()] == [1, 4, 8, 10]
    assert sum("poke at iteration" in m for m in caplog.messages) == 4, "one line a result"
    assert len(set(Poke.calls)) == 4


def test_results_know_where_they_come_from() -> None:
    loop(4, watch={**HERE, "poke": {"at": 3, "network": "raw"}, "name": "mine", "seed": 5}, ema=True)
    result = sr_hooks.load("out/3/poke")
    assert result.provenance["watch"] == {
        "run": "mine",
        "iteration": 3,
        "network": "raw",
        "seed": 5,
        "put_off_from": None,
    }
    assert result.provenance["input_file"] == "image 1" and result.provenance["network"]["sha256"]


def test_the_moving_average_is_looked_at_when_it_is_up_to_date() -> None:
    loop(3, watch={**HERE, "poke": {"at": 3}}, ema=True)
    seen = Poke.calls[-1]
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(11)
    net = Net().train()
    average = torch.optim.swa_utils.AveragedModel(net, avg_fn=lambda a, b, n: 0.9 * a + 0.1 * b)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(3):
        x = torch.rand(2, 3, 12, 12) * random.random() + np.random.rand() * 0.1
        optimizer.zero_grad()
        F.l1_loss(net(x), F.interpolate(x, scale_factor=2.0)).backward()
        optimizer.step()
        average.update_parameters(net)
    assert sr_hooks.Network(average.module).sha256() == seen


def test_the_budget_stretches_the_interval_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        begin = time.perf_counter()
        loop(60, watch={**HERE, "poke": {"every": 1, "budget": "20%", "cost": 0.02}, "sinks": ["log"]}, pause=0.04)
        seconds = time.perf_counter() - begin
    assert any("put off from iteration" in m and "20%" in m for m in caplog.messages)
    assert 0 < len(Poke.calls) * 0.02 <= 0.2 * seconds
    spent = RunIndex("out").time
    assert spent["poke"]["spent"] <= 0.2 * spent["training"] * 1.1


def test_faults_are_logged_and_after_three_it_is_set_aside(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        watched = loop(12, watch={**HERE, "poke": {"every": 2, "what": "raise"}, "sums": {"every": 6}})
    assert watched == loop(12)
    assert len(Poke.calls) == 3
    failures = [m for m in caplog.messages if "poke failed" in m]
    assert len(failures) == 3 and "Traceback" in failures[0] and "Traceback" not in failures[1] + failures[2]
    assert "set aside after 3 faults" in failures[2]
    assert [e["iteration"] for e in entries()] == [6, 12], "the other analysis goes on"


def test_on_error_raise() -> None:
    with pytest.raises(ValueError, match="poked"):
        loop(watch={**HERE, "poke": {"every": 2, "what": "raise", "on_error": "raise"}})


@pytest.mark.parametrize("what", ["raise", "interrupt"])
def test_nothing_is_left_however_it_ends(what: str) -> None:
    net = Net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    error = KeyboardInterrupt if what == "interrupt" else ValueError
    with (
        pytest.raises(error),
        sr_hooks.watch(net, optimizer, **HERE, sums={"every": 1}, poke={"every": 1, "what": what, "on_error": "raise"}),
    ):
        net(IMAGE).sum().backward()
        before = {k: v.clone() for k, v in net.state_dict().items()}
        optimizer.step()
    assert hooks_on(net) == 0 and not optimizer._optimizer_step_post_hooks and not optimizer._optimizer_step_pre_hooks
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.requires_grad and p.grad is not None for p in net.parameters()) and net.training
    assert not list(Path("out").rglob(".*")), "nothing half-written"


def test_running_sums_are_taken_up_again() -> None:
    whole = {}
    for name, pieces in (("whole", [8]), ("parts", [5, 3])):
        torch.manual_seed(0)
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        done = 0
        for steps in pieces:
            with sr_hooks.watch(
                net, optimizer, image=IMAGE, folder=name, start=done, budget="off", sums={"at_end": True}
            ):
                for _ in range(steps):
                    optimizer.zero_grad()
                    net.eval()(IMAGE).square().mean().backward()
                    optimizer.step()
            done += steps
        whole[name] = sr_hooks.load(f"{name}/8/sums").scalars
    assert whole["whole"] == whole["parts"]
    assert [e["iteration"] for e in read_index("parts")] == [5, 8]
    assert [e["run"] for e in read_index("parts")] == [0, 1]


def test_hooks_on_steps_only_for_those_that_want_them() -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with sr_hooks.watch(net, optimizer, **HERE, poke={"every": 5}):
        assert len(optimizer._optimizer_step_pre_hooks) == 0 and len(optimizer._optimizer_step_post_hooks) == 1
        assert hooks_on(net) == 0
    with sr_hooks.watch(net, optimizer, **HERE, sums={"every": 5}):
        assert len(optimizer._optimizer_step_pre_hooks) == 1


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"poke": {"every": 1, "layers": ["hed"]}}, TapError, ["poke", "'hed'", "did you mean head"]),
        ({"lam": {"windows": [[30, 30, 8]]}}, WindowError, ["lam", "32 pixels high"]),
        ({"lam": {"windows": [[8, 8, 8]], "image": "no.png"}}, SRHooksError, ["lam", "no.png"]),
        ({"poke": {"network": "ema"}}, OptionError, ["poke", "ema", "raw"]),
        ({"poke": {"image": torch.zeros(1, 1, 8, 8)}}, SRHooksError, ["poke", "1 channel"]),
        ({}, OptionError, ["nothing to watch"]),
    ],
)
def test_refused_before_training(given: dict[str, Any], error: type[Exception], words: list[str]) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    state = torch.get_rng_state()
    with pytest.raises(error) as caught:
        sr_hooks.watch(net, optimizer, **HERE, **given)
    for word in words:
        assert word in str(caught.value)
    assert torch.equal(torch.get_rng_state(), state) and hooks_on(net) == 0 and net.training
    assert not optimizer._optimizer_step_post_hooks and not Path("out").exists()


def test_the_hosts_modes_do_not_reach_the_analysis() -> None:
    maps = []
    for name in ("plain", "modes"):
        net = Net()
        net.load_state_dict({k: torch.full_like(v, 0.05) for k, v in net.state_dict().items()})
        optimizer = torch.optim.SGD(net.parameters(), 0.0)
        lam = {"windows": [[8, 8, 8]], "on_validation": True, "steps": 5}
        with sr_hooks.watch(net, optimizer, image=IMAGE, folder=name, budget="off", lam=lam) as watching:
            net(IMAGE).sum().backward()
            optimizer.step()
            if name == "modes":
                with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                    watching.validated()
                    assert torch.is_autocast_enabled("cpu") and not torch.is_grad_enabled()
            else:
                watching.validated()
        maps.append(sr_hooks.load(f"{name}/1/lam").arrays["attribution"])
    np.testing.assert_array_equal(*maps)


def test_no_images_is_refused() -> None:
    net = Net()
    with pytest.raises(OptionError, match="image must be given"):
        sr_hooks.watch(net, torch.optim.SGD(net.parameters(), 0.1), lam={"windows": [[8, 8, 8]]})


def test_a_foreign_optimizer_is_refused() -> None:
    with pytest.raises(OptionError, match="optimizer that holds"):
        sr_hooks.watch(Net(), torch.optim.SGD(Net().parameters(), 0.1), **HERE, poke={})


def test_a_compiled_network_is_looked_at_uncompiled() -> None:
    net = Net()
    compiled = torch.compile(net, backend="eager")
    with sr_hooks.watch(compiled, torch.optim.SGD(net.parameters(), 0.1), **HERE, poke={"every": 1}) as watching:
        assert isinstance(watching, Watch) and watching.session.networks["raw"] is net


class TestDecorator:
    """`analyze` on a function with a plain loop."""

    @staticmethod
    def trained(**given: Any) -> Any:
        @sr_hooks.analyze(**given)
        def train(steps: int = 6) -> nn.Module:
            net = Net()
            optimizer = torch.optim.SGD(net.parameters(), 0.01)
            other = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.01)
            for _ in range(steps):
                optimizer.zero_grad()
                net(IMAGE).sum().backward()
                other.step()
                optimizer.step()
            train.net = net  # type: ignore[attr-defined]
            return net

        return train

    def test_by_name(self) -> None:
        net = self.trained(network="net", **HERE, poke={"every": 3})()
        assert [e["iteration"] for e in entries()] == [3, 6] and hooks_on(net) == 0
        assert not _global_optimizer_pre_hooks

    def test_without_a_name_the_trained_network_is_found(self, basicsr: Any) -> None:
        self.trained(**HERE, poke={"every": 2})()
        assert [e["iteration"] for e in entries()] == [2, 4, 6]

    def test_from_a_file(self) -> None:
        Path("watch.yml").write_text("sr_hooks: {poke: {every: 2}, budget: off}\n")
        self.trained(network="net", config="watch.yml", image=IMAGE, folder="out")()
        assert [e["iteration"] for e in entries()] == [2, 4, 6]

    def test_it_returns_what_the_function_returns_and_keeps_its_name(self) -> None:
        train = self.trained(network="net", **HERE, poke={"at": 1})
        assert isinstance(train(1), Net) and train.__name__ == "train"

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"network": "nett", "poke": {}}, ["'nett'", "train()", "net"]),
            ({"network": "optimizer", "poke": {}}, ["optimizer", "SGD"]),
            ({"network": "net", "pokee": {}}, ["'pokee'", "poke"]),
            ({"network": "net", "poke": {"layers": "hed"}}, ["'hed'", "head"]),
        ],
    )
    def test_stops_before_training(self, given: dict[str, Any], words: list[str]) -> None:
        with pytest.raises(RunStopped) as caught:
            self.trained(**HERE, **given)()
        for word in words:
            assert word in str(caught.value)
        assert isinstance(caught.value, SystemExit) and isinstance(caught.value, SRHooksError)
        assert not _global_optimizer_pre_hooks and Poke.calls == []

    def test_an_exception_passes_and_nothing_is_left(self) -> None:
        nets = []

        @sr_hooks.analyze(network="net", **HERE, poke={"every": 1})
        def train() -> None:
            net = Net()
            nets.append(net)
            optimizer = torch.optim.SGD(net.parameters(), 0.01)
            net(IMAGE).sum().backward()
            optimizer.step()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            train()
        assert hooks_on(nets[0]) == 0 and not _global_optimizer_pre_hooks
        assert [e["iteration"] for e in entries()] == [1]

    def test_only_functions(self) -> None:
        with pytest.raises(OptionError, match="function that trains"):
            sr_hooks.analyze(Net())

        async def train() -> None: ...

        with pytest.raises(OptionError, match="awaited"):
            sr_hooks.analyze(train)
