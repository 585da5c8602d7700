"""The cost of watching a training run: a session that is never due, and a session with a budget.

    python benchmarks/overhead.py [--seconds 30]

Prints, for a training of MSRResNet (16 blocks of 64 features where BasicSR is installed, the demo network otherwise;
one thread, 4 patches of 24x24):

1. the time that one step's events take when nothing is due, as a share of an iteration (claimed: under 0.5 %), through
   BasicSR's adapter and through an optimizer's step hook; and the difference between interleaved iterations of a
   smaller network with and without;
2. analysis time over training time at three budgets, with LAM due at every iteration of a smaller network (claimed: the
   budget, to a tenth).
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional as F

import sr_hooks
from sr_hooks.adapters.basicsr import Attached
from sr_hooks.demo.assets import demo_network
from sr_hooks.errors import SRHooksError
from sr_hooks.training.config import WatchPlan, parse_block

LAM = {"windows": [[16, 16, 8]], "steps": 5, "image": torch.rand(1, 3, 16, 16)}
NEVER = 10**9


class Model:
    """What BasicSR's SRModel does in an iteration, under the names by which a BasicSR model is known."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.net_g = network.train()
        self.optimizer_g = torch.optim.Adam(network.parameters(), 1e-5)
        self.lq = torch.rand(4, 3, 24, 24)

    def feed_data(self, data: torch.Tensor) -> None:
        self.lq = data

    def optimize_parameters(self, current_iter: int) -> None:
        self.optimizer_g.zero_grad()
        output = self.net_g(self.lq)
        F.l1_loss(output, torch.zeros_like(output)).backward()
        self.optimizer_g.step()


def network(features: int = 64, blocks: int = 16) -> torch.nn.Module:
    try:
        arguments = {"num_feat": features, "num_block": blocks, "upscale": 2}
        return sr_hooks.Network.from_basicsr("MSRResNet", arguments).module
    except SRHooksError:
        return demo_network("baseline").module


def seconds(call: Any, *arguments: Any) -> float:
    begin = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - begin


def cpu_seconds(call: Any, *arguments: Any) -> float:
    begin = time.thread_time()
    call(*arguments)
    return time.thread_time() - begin


def per_call(call: Any, count: int = 20_000) -> float:
    """Seconds of one call, the best of five."""
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, time.perf_counter() - begin)
    return best / count


def armed(rounds: int) -> None:
    plan = parse_block({"lam": {**LAM, "every": NEVER}, "sinks": ["log"]})
    model = Model(network())
    iteration = statistics.median(seconds(model.optimize_parameters, i) for i in range(8))

    empty = SimpleNamespace(net_g=model.net_g, optimizer_g=model.optimizer_g, optimize_parameters=lambda i: None)
    bare = per_call(lambda: empty.optimize_parameters(5))
    with Attached(empty, {"name": "empty"}, plan) as attached:
        attached._begin(1)
        adapter = per_call(lambda: empty.optimize_parameters(5)) - bare
    block = {"lam": {**LAM, "every": NEVER}, "sinks": ["log"]}
    with (
        TemporaryDirectory() as folder,
        sr_hooks.watch(model.net_g, model.optimizer_g, folder=folder, **block) as watch,
    ):
        hook = per_call(watch._stepped)
    print(f"iteration of the network       {1e3 * iteration:8.2f} ms")
    for name, cost in (("BasicSR's adapter", adapter), ("optimizer's step hook", hook)):
        print(f"{name:30s} {1e6 * cost:8.2f} us = {cost / iteration:.5%} of it")
    interleaved(plan, rounds)


def interleaved(plan: WatchPlan, rounds: int) -> None:
    """One model, its step called in turn as it is and wrapped, in this thread's CPU time: others may be busy."""
    model = Model(network(16, 4))
    attached = Attached(model, {"name": "armed"}, plan)
    attached._begin(1)
    wrapped = model.optimize_parameters
    plain = Model.optimize_parameters.__get__(model)
    differences, iterations = [], []
    for i in range(rounds + 10):
        times = {call: cpu_seconds(call, i + 1) for call in ((plain, wrapped) if i % 2 else (wrapped, plain))}
        if i >= 10:
            differences.append(times[wrapped] - times[plain])
            iterations.append(times[plain])
    attached.close()
    differences.sort()
    half = round(0.98 * rounds**0.5)
    low, middle, high = (differences[rounds // 2 + shift] for shift in (-half, 0, half))
    size = statistics.median(iterations)
    print(
        f"interleaved, a smaller network {1e3 * size:8.2f} ms an iteration; with minus without {middle / size:+.3%}, "
        f"95 % interval {low / size:+.3%} to {high / size:+.3%} (median of {rounds} pairs)"
    )


def budget_kept(share: str, duration: float) -> None:
    model = Model(network(16, 4))  # a small one, so that a short run has many looks to share out
    with TemporaryDirectory() as folder:
        watch = sr_hooks.watch(
            model.net_g, model.optimizer_g, lam={**LAM, "every": 1, "budget": share}, sinks=["log"], folder=Path(folder)
        )
        begin, i, worst, runs = time.perf_counter(), 0, 0.0, 0
        while time.perf_counter() - begin < duration:
            i += 1
            before = watch.session.analysing
            model.optimize_parameters(i)
            if watch.session.analysing > before:
                runs += 1
                if runs > 3:
                    worst = max(worst, watch.session.analysing / watch.session.training)
        session = watch.session
        used = session.analysing / session.training
        watch.close()
    wanted = float(share.rstrip("%")) / 100
    print(
        f"budget {share:>4s}: {used:.3%} of training time, {used / wanted:.3f} of the budget; {runs} runs in {i} "
        f"iterations; the largest share after any run past the third {worst / wanted:.3f} of the budget"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="of training for each budget")
    parser.add_argument("--rounds", type=int, default=1500, help="pairs of interleaved iterations")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("sr_hooks").addHandler(logging.NullHandler())
    armed(arguments.rounds)
    for share in ("2%", "5%", "10%"):
        budget_kept(share, arguments.seconds)


if __name__ == "__main__":
    main()
