"""What watching costs: armed but never due, and how well a budget is kept.

    python benchmarks/overhead.py [--seconds 30]

Prints, for a training of MSRResNet (16 blocks of 64 features where BasicSR is installed, the demo network otherwise;
one thread, 4 patches of 24x24):

1. the time that one step's events take when nothing is due, as a share of an iteration (claimed: under 0.5 %), through
   BasicSR's adapter and through an optimizer's step hook, both as the plain cost of the added calls and as the
   difference between interleaved iterations with and without;
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
from sr_hooks.demo import demo_network
from sr_hooks.errors import SRHooksError
from sr_hooks.watch_config import parse_block

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
    model = Model(network())
    for i in range(3):
        model.optimize_parameters(i)
    plain_times, armed_times = [], []
    plan = parse_block({"lam": {**LAM, "every": NEVER}, "sinks": ["log"]})
    watched = Model(model.net_g)
    attached = Attached(watched, {"name": "armed"}, plan)
    attached._begin(1)
    for i in range(rounds):
        pair = [(plain_times, model), (armed_times, watched)]
        for times, each in pair if i % 2 else reversed(pair):
            times.append(seconds(each.optimize_parameters, i + 1))
    iteration = statistics.median(plain_times)
    quartiles = statistics.quantiles([a - p for a, p in zip(armed_times, plain_times, strict=True)], n=4)

    empty = SimpleNamespace(net_g=model.net_g, optimizer_g=model.optimizer_g, optimize_parameters=lambda i: None)
    bare = per_call(lambda: empty.optimize_parameters(5))
    attached_empty = Attached(empty, {"name": "empty"}, plan)
    attached_empty._begin(1)
    adapter = per_call(lambda: empty.optimize_parameters(5)) - bare
    attached_empty.close()
    attached.close()

    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter, *model.net_g.parameters()], 0.0)
    for p in model.net_g.parameters():
        p.grad = None
    bare = per_call(optimizer.step, 300)
    with (
        TemporaryDirectory() as folder,
        sr_hooks.watch(model.net_g, optimizer, lam={**LAM, "every": NEVER}, sinks=["log"], folder=folder) as watch,
    ):
        hook = per_call(watch._stepped)
    print(f"iteration                            {1e3 * iteration:8.2f} ms (median of {rounds})")
    for name, cost in (("BasicSR's adapter", adapter), ("optimizer hook", hook)):
        print(f"{name:36s} {1e6 * cost:8.2f} us = {cost / iteration:.5%} of an iteration")
    print(
        f"interleaved, with minus without      {1e6 * quartiles[1]:8.0f} us = {quartiles[1] / iteration:.3%}, median; "
        f"the quartiles, {1e6 * quartiles[0]:.0f} to {1e6 * quartiles[2]:.0f} us, are the machine's noise"
    )


def kept(share: str, duration: float) -> None:
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
    parser.add_argument("--rounds", type=int, default=60, help="pairs of interleaved iterations")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("sr_hooks").addHandler(logging.NullHandler())
    armed(arguments.rounds)
    for share in ("2%", "5%", "10%"):
        kept(share, arguments.seconds)


if __name__ == "__main__":
    main()
