"""A recording on stand-ins leaves nothing behind in tables outside of the network."""

from __future__ import annotations

import functools
import sys
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import sr_hooks

pytestmark = pytest.mark.slow

TABLE: dict[int, torch.Tensor] = {}
PAIRS: dict[int, tuple[torch.Tensor, int]] = {}


@functools.lru_cache(None)
def ramp(side: int) -> torch.Tensor:
    return torch.linspace(0.5, 1, side).view(1, 1, 1, side)


@functools.lru_cache(8)
def few_ramps(side: int) -> torch.Tensor:
    return torch.linspace(0.5, 1, side).view(1, 1, 1, side)


def from_a_dict(side: int) -> torch.Tensor:
    if side not in TABLE:
        TABLE[side] = torch.linspace(0.5, 1, side).view(1, 1, 1, side)
    return TABLE[side]


def from_pairs(side: int) -> torch.Tensor:
    if side not in PAIRS:
        PAIRS[side] = (torch.linspace(0.5, 1, side).view(1, 1, 1, side), side)
    return PAIRS[side][0]


class WithTable(nn.Module):
    def __init__(self, table: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.table = nn.Conv2d(3, 3, 3, padding=1), table

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.1 * self.conv(torch.sin(3 * self.conv(x * self.table(x.shape[-1]))))


@pytest.mark.parametrize("table", [ramp, few_ramps, from_a_dict, from_pairs])
def test_a_table_outside_of_the_network_gets_no_stand_ins(lr, table):
    module = WithTable(table).eval()
    result = sr_hooks.lam(module, lr, window=(20, 20, 8), steps=5)
    whole = sr_hooks.lam(module, lr, window=(20, 20, 8), steps=5, cone="off")
    norm = np.linalg.norm(whole.attribution)
    assert norm > 0 and np.linalg.norm(result.attribution - whole.attribution) <= 1e-4 * norm
    for side in {24, 40, 72, lr.shape[-1]}:  # those of the proof, and the image's
        assert not torch._is_functional_tensor(table(side)) and float(table(side).mean()) == pytest.approx(0.75)
        assert torch.isfinite(module(torch.rand(1, 3, side, side))).all()


class Profiled(WithTable):
    """When it is recorded first, another thread takes the frames of all threads and holds them for a moment.

    The profiler of a Dask worker does so at any moment.
    """

    asked, held = threading.Event(), threading.Event()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch._is_functional_tensor(x) and not self.asked.is_set():
            self.asked.set()
            assert self.held.wait(60)
        return x + 0.1 * self.conv(torch.sin(3 * self.conv(x)))

    def sample(self) -> None:
        assert self.asked.wait(60)
        frames = sys._current_frames()
        self.held.set()
        time.sleep(1)
        del frames


def test_a_profiler_does_not_cost_the_cone(lr):
    module = Profiled(None).eval()
    thread = threading.Thread(target=module.sample)
    thread.start()
    try:
        result = sr_hooks.lam(module, lr, window=(20, 20, 8), steps=5)
    finally:
        thread.join()
    assert module.held.is_set() and not isinstance(result.scalars["cone"], str), result.scalars["cone"]


class OneByOne(nn.Module):
    """Two images of one batch are computed in a way that cannot be recorded."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1 and float(x.detach().sum()) == 0:
            return x
        return x + 0.1 * torch.sin(3 * self.conv(x))


def test_a_batch_that_cannot_be_recorded_costs_the_cone_alone(lr, monkeypatch):
    from sr_hooks.analyses.lam import integration
    from sr_hooks.inference.calibration import ExecutionPlan

    monkeypatch.setattr(integration, "calibrate", lambda *_: ExecutionPlan(batch=4))
    result = sr_hooks.lam(OneByOne().eval(), lr, window=(20, 20, 8), steps=5)
    assert "a batch" in result.scalars["cone"]
    whole = sr_hooks.lam(OneByOne().eval(), lr, window=(20, 20, 8), steps=5, cone="off")
    assert np.array_equal(result.attribution, whole.attribution)
