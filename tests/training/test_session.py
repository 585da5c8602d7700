"""A session on a plain loop: schedule, budget, guard, faults, resume, and nothing left behind."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import sr_hooks
from sr_hooks.core.registry import registered
from sr_hooks.errors import OptionError, SRHooksError, TapError, WindowError
from sr_hooks.results.run_index import RunIndex, read_index
from sr_hooks.training import session
from tests.conftest import hooks_on
from tests.support.training import HERE, IMAGE, Net, Plugin, Poke, entries, loop

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Poke.calls.clear()
    monkeypatch.chdir(tmp_path)
    with registered(Plugin(), name="third_party"):
        yield


@pytest.mark.slow
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
    assert any("poke" in m and "changed" in m and "restored" in m for m in caplog.messages)


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
    assert any("postponed from iteration" in m and "20%" in m for m in caplog.messages)
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
    assert "disabled after 3 errors" in failures[2]
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


@pytest.mark.slow
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
