"""Models and optimizers that the real Accelerate has prepared are watched; not one bit changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.results.run_index import read_index
from tests.conftest import hooks_on
from tests.integration import hosts
from tests.integration.basicsr import runs
from tests.support.training import IMAGE, Net

accelerate = pytest.importorskip("accelerate", reason="Accelerate is not installed here: pip install accelerate")
from ema_pytorch import EMA  # noqa: E402

WATCH = {"lam": {**hosts.LAM, "steps": 5}, "image": IMAGE, "sinks": ["folder"], "folder": "out"}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "EMA": {"ema": True},
    "AMP": {"precision": "bf16"},
    "accumulation": {"accumulate": 3},
    "two optimizers": {"critic": True},
    "all": {"ema": True, "precision": "bf16", "accumulate": 2, "critic": True},
}


@pytest.fixture(autouse=True)
def _reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def accelerated(precision: str = "no", accumulate: int = 1) -> Any:
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    return accelerate.Accelerator(cpu=True, mixed_precision=precision, gradient_accumulation_steps=accumulate)


def train(
    watch: Any = None, *, ema: bool = False, precision: str = "no", accumulate: int = 1, critic: bool = False,
    steps: int = 7, done: int = 0, state: str | None = None, save: str | None = None,
) -> tuple[Any, dict[str, str]]:  # fmt: skip
    """A training as Accelerate's guide writes it; the prepared network, and SHA-256 of all at the end."""
    hosts.seeded()
    accelerator = accelerated(precision, accumulate)
    judge = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(), nn.Conv2d(4, 1, 3))
    net, judge = accelerator.prepare(Net().train(), judge)
    optimizer, other = accelerator.prepare(
        torch.optim.Adam(net.parameters(), 1e-2), torch.optim.SGD(judge.parameters(), 1e-3)
    )
    schedule = accelerator.prepare(torch.optim.lr_scheduler.StepLR(optimizer.optimizer, 3, 0.9))
    average = EMA(accelerator.unwrap_model(net), beta=0.9, update_after_step=0, update_every=1) if ema else None
    if average is not None:
        accelerator.register_for_checkpointing(average)
    if state is not None:
        accelerator.load_state(state)
    keywords = {"ema": average, "start": done}
    with watch(net, optimizer, **keywords) if watch else nullcontext():
        for number in range(done * accumulate, steps * accumulate):
            lr = torch.rand(2, 3, 12, 12)
            with accelerator.accumulate(net):
                loss = F.l1_loss(net(lr), F.interpolate(lr, scale_factor=2.0))
                if critic:
                    loss = loss - 0.01 * judge(net(lr)).mean()
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                if critic:
                    accelerator.backward(judge(lr).mean())
                    other.step()
                    other.zero_grad()
            if average is not None and accelerator.sync_gradients:
                average.update()
            if save is not None and number + 1 == 4 * accumulate:
                accelerator.save_state(save)
    assert hooks_on(net) == 0
    if watch:  # a decorator takes its hooks off later
        bare = optimizer.optimizer
        assert not bare._optimizer_step_post_hooks and not bare._optimizer_step_pre_hooks
    model = type("Model", (), {})()
    model.net_g, model.net_g_ema, model.net_d = net, average, judge
    model.optimizers, model.schedulers = [optimizer, other], [schedule]
    return net, runs.fingerprint(model)


def watching(net: Any, optimizer: Any, **keywords: Any) -> Any:
    return sr_hooks.watch(net, optimizer, **WATCH, **keywords)


@pytest.mark.parametrize("kind", KINDS)
def test_bit_for_bit(kind: str) -> None:
    _, without = train(**KINDS[kind])
    net, watched = train(watching, **KINDS[kind])
    assert watched == without
    which = "ema" if KINDS[kind].get("ema") else "raw"
    assert [(entry["iteration"], entry["network"]) for entry in read_index("out")] == [(3, which), (6, which)]
    assert hasattr(net.forward, "__wrapped__") == ("precision" in KINDS[kind]), "the wrapped forward is there again"


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_map_is_that_of_the_bare_network_in_float32(precision: str) -> None:
    lam = {"windows": [[8, 8, 8]], "steps": 5, "at": [7]}
    net, _ = train(lambda n, o, **k: sr_hooks.watch(n, o, **{**WATCH, "lam": lam}, **k), precision=precision)
    bare = Net()
    bare.load_state_dict(net.state_dict())
    direct = sr_hooks.lam(bare, IMAGE, window=(8, 8, 8), steps=5)
    watched = sr_hooks.load("out/7/lam")
    assert (watched.arrays["attribution"] == direct.arrays["attribution"]).all()
    again = sr_hooks.lam(net, IMAGE, window=(8, 8, 8), steps=5)
    assert (again.arrays["attribution"] == direct.arrays["attribution"]).all(), "by the other door, too"


@pytest.mark.parametrize("kind", ["plain", "all"])
def test_a_run_resumed_from_accelerates_own_checkpoint(kind: str, tmp_path: Path) -> None:
    train(save=str(tmp_path / "state"), steps=4, **KINDS[kind])
    resumed = {"state": str(tmp_path / "state"), "done": 4, **KINDS[kind]}
    _, without = train(**resumed)
    _, watched = train(watching, **resumed)
    assert watched == without
    assert [entry["iteration"] for entry in read_index("out")] == [6]


def test_by_the_decorator_and_the_network_s_name() -> None:
    _, without = train(accumulate=2)
    decorated = sr_hooks.analyze(network="net", **WATCH)(lambda: train(accumulate=2))
    assert decorated()[1] == without
    assert [entry["iteration"] for entry in read_index("out")] == [3, 6]


def test_the_optimizer_of_another_network_is_refused() -> None:
    accelerator = accelerated()
    net, other = accelerator.prepare(Net(), torch.optim.Adam(Net().parameters()))
    with pytest.raises(sr_hooks.errors.OptionError, match="the optimizer that holds the network's weights"):
        sr_hooks.watch(net, other, **WATCH)
