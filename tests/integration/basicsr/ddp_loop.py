"""A plain loop in two gloo processes: sums over ranks, and an analysis that would keep the other waiting for ever."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import sr_hooks
from sr_hooks import Analysis, Result
from sr_hooks.analyses.base import Watcher
from sr_hooks.core import registry as plugins
from sr_hooks.hookspecs import hookimpl
from tests.support.networks import Tiny
from tests.support.processes import leave
from tests.support.training import PokeOptions


class RankSums(Watcher):
    """Adds up, on each rank, its own number, and the gradients that it sees."""

    def __init__(self, kind: Any, options: Any, context: Any) -> None:
        super().__init__(kind, options, context)
        self.total, self.since = torch.zeros(2), torch.zeros(2)

    def before_step(self, network: Any, optimizer: Any, iteration: int) -> None:
        gradient = sum(float(p.grad.abs().sum()) for p in network.module.parameters())
        self.since += torch.tensor([self.context.rank + 1.0, gradient])

    def reduce(self, all_reduce: Any) -> None:
        self.total += all_reduce(self.since)
        self.since.zero_()

    def due(self, network: Any, iteration: int) -> Result:
        return Result("ranks", {}, {"numbers": float(self.total[0]), "gradients": float(self.total[1])}, {}, "")

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.total = state["total"]


class Ranks(Analysis[PokeOptions]):
    """Has sums to reduce."""

    name, options_type, watcher_type = "ranks", PokeOptions, RankSums


class Endless(Analysis[PokeOptions]):
    """Runs the network for ever."""

    name, options_type = "endless", PokeOptions

    def run(self, network: Any, images: Any, options: PokeOptions) -> Result:
        while True:
            network(images)


class Plugin:
    @hookimpl
    def register_analyses(self) -> list[Any]:
        return [Ranks, Endless]


def main() -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    plugins.registry().register(Plugin(), "ranked")
    net = DistributedDataParallel(Tiny())
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    blocks = {"ranks": {"every": 4}, "endless": {"at": 3, "limit": 1.0}}
    slowest, done = 0.0, 0
    for steps in (6, 6):  # the second half resumed
        with sr_hooks.watch(
            net, optimizer, folder="out", budget="off", image=torch.rand(1, 3, 8, 8), start=done, **blocks
        ):
            for _ in range(steps):
                begin = time.perf_counter()
                optimizer.zero_grad()
                net(torch.full((1, 3, 8, 8), 0.1 * (rank + 1))).square().mean().backward()
                optimizer.step()
                slowest = max(slowest, time.perf_counter() - begin)
        done += steps
        distributed.barrier()
    digest = sr_hooks.Network(net).sha256()
    Path(f"rank{os.environ['RANK']}.json").write_text(json.dumps({"slowest": slowest, "weights": digest}))
    leave()


if __name__ == "__main__":
    main()
