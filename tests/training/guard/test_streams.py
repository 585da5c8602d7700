"""Random streams: what other threads draw meanwhile is not rewound, and what an analysis draws leaves no trace."""

from __future__ import annotations

import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.core.seeds import frozen_streams, other_threads_may_draw, own_streams
from sr_hooks.training import preserved
from tests.support.training import IMAGE, Net

pytestmark = pytest.mark.slow

SIDES = 4


def seed() -> None:
    for function in (random.seed, np.random.seed, torch.manual_seed):
        function(5)


DRAWS: dict[str, Callable[[], float]] = {
    "python": random.random,
    "numpy": lambda: float(np.random.rand()),
    "numpy, an older name": lambda: float(np.random.random_sample()),
    "torch": lambda: float(torch.rand(1)),
    "torch, in place": lambda: float(torch.empty(1).uniform_()),
}


@contextmanager
def another_thread(draw: Callable[[], float], count: int) -> Iterator[list[float]]:
    """A thread that draws `count` numbers, each when the block calls it to, or when the block ends."""
    drawn: list[float] = []
    tickets: queue.Queue[bool] = queue.Queue()
    done: queue.Queue[bool] = queue.Queue()

    def work() -> None:
        for _ in range(count):
            tickets.get()
            drawn.append(draw())
            done.put(True)

    thread = threading.Thread(target=work)
    thread.start()

    def call() -> None:
        tickets.put(True)
        done.get()

    another_thread.call = call  # type: ignore[attr-defined]
    try:
        yield drawn
    finally:
        while thread.is_alive():
            tickets.put(True)
            thread.join(0.01)


def ours() -> None:
    """What analyses and networks do with the global streams."""
    random.random(), random.shuffle([1, 2, 3]), random.gauss(0, 1), random.seed(1)
    np.random.rand(2), np.random.randn(3), np.random.permutation(4), np.random.seed(2), np.random.get_state()
    (
        torch.rand(2),
        torch.randn(2),
        torch.randperm(4),
        torch.empty(3).normal_(),
        torch.manual_seed(3),
        torch.get_rng_state(),
    )
    F.dropout(torch.ones(8)), nn.Dropout2d(0.5)(torch.ones(1, 4, 2, 2)), torch.bernoulli(torch.full((3,), 0.5))
    nn.Conv2d(3, 3, 3), torch.multinomial(torch.ones(4), 2), torch.distributions.Normal(0.0, 1.0).sample()


@pytest.mark.parametrize("name", DRAWS)
def test_another_threads_draws_are_not_rewound(name: str) -> None:
    draw = DRAWS[name]
    seed()
    wanted = [draw() for _ in range(6)]
    seed()
    with another_thread(draw, 6) as drawn:
        call = another_thread.call  # type: ignore[attr-defined]
        call()
        with preserved():
            call()
            ours()
            call()
            ours()
        call()
        with own_streams():
            call()
    assert drawn == wanted


def test_what_is_drawn_beside_another_thread_leaves_no_trace() -> None:
    seed()
    wanted = [draw() for draw in DRAWS.values()]
    seed()
    with another_thread(lambda: 0.0, 2):
        assert other_threads_may_draw()
        with preserved():
            ours()
        with own_streams(3):
            torch.rand(3), nn.Linear(3, 3)
        with frozen_streams(4, torch.device("cpu")):
            F.dropout(torch.ones(8))
        assert [draw() for draw in DRAWS.values()] == wanted


def test_numbers_inside_are_random_and_those_of_the_seed() -> None:
    def numbers() -> list[float]:
        with own_streams(7):
            layer = nn.Linear(2, 2)
            return [*layer.weight.flatten().tolist(), float(torch.rand(1)), *F.dropout(torch.ones(6)).tolist()]

    alone = numbers()
    with another_thread(lambda: 0.0, 2):
        assert numbers() == alone, "one question has one answer, whatever threads there are"
        with preserved():
            assert random.random() != random.random() and np.random.rand() != np.random.rand()
            assert not torch.equal(torch.rand(4), torch.rand(4))


def test_the_modules_functions_are_put_back() -> None:
    before = random.random, np.random.rand, torch.manual_seed, torch.random.get_rng_state
    with another_thread(lambda: 0.0, 2), preserved():
        assert random.random is not before[0]
    assert (random.random, np.random.rand, torch.manual_seed, torch.random.get_rng_state) == before


class TMonitor(threading.Thread):
    """By its module's name a thread of tqdm's, which draws nothing."""

    __module__ = "tqdm._monitor"


def test_threads_that_draw_nothing_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    threads = [TMonitor(target=stop.wait), threading.Thread(target=stop.wait)]
    frames = sys._current_frames
    for thread in threads:
        thread.start()
    try:
        for thread, may_draw in zip(threads, (False, True), strict=True):
            alone = threading.get_ident(), thread.ident  # whatever threads earlier tests have left
            monkeypatch.setattr(sys, "_current_frames", lambda: {i: frames()[i] for i in alone})  # noqa: B023
            assert other_threads_may_draw() == may_draw
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_own_streams_inside_of_own_streams_beside_another_thread() -> None:
    def numbers() -> list[torch.Tensor]:
        return [torch.rand(3), F.dropout(torch.ones(8)), torch.get_rng_state()]

    def inside(seed: int | None) -> list[torch.Tensor]:
        with own_streams(seed):
            return numbers()

    with another_thread(lambda: 0.0, 2):
        seed()
        state = torch.get_rng_state()
        with own_streams(3):
            outer = numbers()
        with own_streams(3):
            first, second = inside(7), inside(7)
            stands, unseeded, after = torch.get_rng_state(), inside(None), numbers()
        assert torch.equal(torch.get_rng_state(), state)
    wanted = inside(7)
    for value, other, own in zip(first, second, wanted, strict=True):
        assert torch.equal(value, other) and torch.equal(value, own), "the inner seed alone decides"
    assert all(torch.equal(value, other) for value, other in zip(unseeded, after, strict=True)), "from where they stand"
    assert not torch.equal(stands, after[-1])
    assert all(torch.equal(value, other) for value, other in zip(outer, after, strict=True)), (
        "no trace on the outer ones"
    )


class Prefetcher:
    """A loop's queue: a thread makes batches ahead, with augmentation from NumPy's global stream."""

    def __init__(self, count: int) -> None:
        self.batches: queue.Queue[torch.Tensor] = queue.Queue(maxsize=2)
        self.thread = threading.Thread(target=self.work, args=(count,), daemon=True)
        self.thread.start()

    def work(self, count: int) -> None:
        for _ in range(count):
            time.sleep(0.002)
            self.batches.put(torch.from_numpy(np.random.rand(1, 3, 16, 16).astype("float32")) * random.random())


class Noisy(Net):
    """Dropout that is left on draws from torch's global stream in evaluation mode too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 0.01 * F.dropout(F.interpolate(x, scale_factor=2.0), 0.5, training=True)


@pytest.mark.parametrize("network", [Net, Noisy])
def test_a_loop_with_a_queue_is_the_same_to_the_bit(network: type[Net], tmp_path: Any) -> None:
    seen = []
    for watch in (False, True):
        seed()
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), 0.01)
        batches = Prefetcher(12)
        lam = {"windows": [[8, 8, 8]], "every": 3, "steps": 3}
        given: Any = {"image": IMAGE, "folder": tmp_path, "budget": "off", "sinks": ["folder"], "lam": lam}
        watching = sr_hooks.watch(net, optimizer, **given) if watch else None
        sums = []
        for _ in range(12):
            x = batches.batches.get()
            sums.append(float(x.sum()))
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
        if watching is not None:
            watching.end()
        seen.append((sums, [p.tolist() for p in net.parameters()]))
    assert seen[0] == seen[1]
    assert len(list(tmp_path.glob("*/lam"))) == 4
