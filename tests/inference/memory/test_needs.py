"""What is free, what a gradient needs, and the batch that follows."""

from __future__ import annotations

import gc

import pytest
import torch

from sr_hooks.inference import ExecutionPlan, available_memory, calibrate, calibration, samples_that_fit
from sr_hooks.inference.memory import available, needs
from sr_hooks.networks.network import Network
from tests.support.memory import SmallCard
from tests.support.networks import Tiny

CPU = torch.device("cpu")


def test_the_system_tells_what_is_free():
    free = available_memory(CPU)
    assert free is not None and 2**24 < free < 2**50


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(available, "_CGROUP", tmp_path)
    for name, text in {
        "memory.max": "3000",
        "memory.current": "2500",
        "memory.stat": "anon 9\ninactive_file 700",
    }.items():
        (tmp_path / name).write_text(text)
    assert available_memory(CPU) == 3000 - 2500 + 700
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(CPU) > 2**24


def test_a_system_that_tells_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(available, "_CGROUP", tmp_path)
    monkeypatch.setattr(available, "_MEMINFO", tmp_path / "none")
    assert available_memory(CPU) is None
    assert samples_that_fit(Network(Tiny()), (3, 32, 32)) is None


@pytest.mark.parametrize("side", [32, 96])
def test_the_need_is_near_what_a_gradient_takes(baseline, side):
    x = torch.rand(1, 3, side, side).requires_grad_()
    with baseline.prepared(), SmallCard() as card:
        torch.autograd.grad(baseline(x).sum(), x)
        gc.collect()
        need = needs.bytes_of_gradient(baseline, (3, side, side))
    assert 0.8 * card.peak < need < 1.6 * card.peak
    assert card.live == 0


def test_a_batch_for_which_there_is_no_room_is_halved(baseline, monkeypatch):
    monkeypatch.setattr(calibration, "_measure", lambda *_: ExecutionPlan(True, 16))
    monkeypatch.setattr(calibration, "_plans", {})
    monkeypatch.setattr(calibration, "recall", lambda key: None)
    monkeypatch.setattr(calibration, "remember", lambda key, facts, is_sound: facts)
    need = needs.bytes_of_gradient(baseline, (3, 64, 64))
    for samples, batch in ((100, 16), (9, 8), (1.5, 1), (0.1, 1)):
        monkeypatch.setattr(needs, "available_memory", lambda device, n=samples: int(n * need / needs._USED) + 1)
        assert calibrate(baseline, (3, 64, 64)) == ExecutionPlan(True, batch)
