"""How true LAM's stated error is: true over stated error, with a fixed number of gradients and with automatic ones.

    OMP_NUM_THREADS=1 python benchmarks/lam_calibration.py --data shared/data

True errors are relative L2 distances from the 256-interval integral along the same path. Its 257 gradients are computed
once a case; every number of steps then takes its nodes from them, by the rule that LAM uses. A case is a network, a
photograph and a window. With `--published` the error of the published 50 steps stands beside (it costs 50 to 300 more
gradients a case).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from lam import network_of, published, published_reference, relative

import sr_hooks
from sr_hooks.analyses.lam import question
from sr_hooks.attribution.path_integrals import Node, SmallRounds
from sr_hooks.attribution.quadrature import Bisection, error_of_steps, integral_of, left_out, terms_of
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.images.image import downsample, read_image
from sr_hooks.images.windows import Window

INTERVALS = 256


class Dense:
    """Evidence from equally spread nodes; a position between two of them is taken for the nearer one."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes, self.sums = list(nodes), dict[tuple[int, ...], torch.Tensor]()

    def numbers(self, positions: Sequence[float]) -> tuple[int, ...]:
        return tuple(round(position * INTERVALS) for position in positions)

    def integral(self, positions: Sequence[float]) -> torch.Tensor:
        numbers = self.numbers(positions)
        if numbers not in self.sums:
            chosen = [self.nodes[number] for number in numbers]
            self.sums[numbers] = integral_of([n.gradient for n in chosen], [n.point for n in chosen])
        return self.sums[numbers]

    def term(self, start: float, end: float) -> float:
        a, b = (self.nodes[number] for number in self.numbers((start, end)))
        return float(terms_of((a.gradient, b.gradient), (a.point, b.point)))

    def size(self, positions: Sequence[float]) -> float:
        return float(self.integral(positions).norm())

    def errors(self, steps: int | None) -> tuple[float, float]:
        """The true and the stated error of LAM with so many steps, or with automatic ones."""
        rule = Bisection(self, tolerance=0.04, steps=steps)
        while wanted := rule.request():
            rule.take(wanted)
        total, exact = self.integral(rule.positions), self.integral([i / INTERVALS for i in range(INTERVALS + 1)])
        changes = [float((total - self.integral(half)).norm()) for half in left_out(rule.positions)]
        stated = rule.error if steps is None else error_of_steps(changes, float(total.norm()))
        return float((total - exact).norm() / exact.norm()), stated


class Everything(SmallRounds):
    """A strategy that keeps the nodes of its integrals."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def integrals(self, integrand):
        times = integrand.times(integrand.images)[0]
        positions = [i / INTERVALS for i in range(INTERVALS + 1)]
        points = torch.cat([integrand.path(integrand.images, [times(at)]) for at in positions])
        samples = integrand.gradients(points, [list(integrand.windows)] * len(points)).on_cpu()
        self.nodes = [
            Node(at, point, sample[integrand.windows[0]].gradient)
            for at, point, sample in zip(positions, points.split(1), samples, strict=True)
        ]
        return super().integrals(integrand)


def dense(network: sr_hooks.Network, lr: torch.Tensor, window: Window) -> Dense:
    """The evidence of one case."""
    strategy, before = Everything(), question.strategy_of
    question.strategy_of = lambda device: strategy
    try:
        sr_hooks.lam(network, lr, window=window, steps=2)
    finally:
        question.strategy_of = before
    return Dense(strategy.nodes)


def cases(arguments: argparse.Namespace) -> Iterator[tuple[str, sr_hooks.Network, str, torch.Tensor, Window]]:
    files = sorted(arguments.folder.iterdir()) if arguments.folder else photographs()
    for name, path in itertools.product(arguments.networks, files):
        if not arguments.folder and path.stem not in arguments.photographs:
            continue
        torch.manual_seed(0)
        demo = name.startswith("demo:")
        network = demo_network(name.removeprefix("demo:")) if demo else network_of(name, arguments.data)
        network.module.eval()
        lr = downsample(read_image(path), network.scale)
        top, left = ((side - arguments.size) // 2 for side in lr.shape[-2:])
        lr = lr[..., top : top + arguments.size, left : left + arguments.size].contiguous()
        side = int(arguments.size * network.scale)
        middle = side // 2 - 8
        for top, left in ((middle, middle), (side // 6, side * 2 // 3), (side * 2 // 3, side // 5)):
            yield name, network, path.stem, lr, Window(top, left, 16, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the development data")
    parser.add_argument("--networks", nargs="+", default=["demo:baseline", "demo:target", "baseline", "target"])
    parser.add_argument("--photographs", nargs="+", default=[path.stem for path in photographs()])
    parser.add_argument("--folder", type=Path, help="of images, instead of the photographs")
    parser.add_argument("--size", type=int, default=48, help="side of the LR image")
    parser.add_argument("--steps", type=int, nargs="+", default=[9, 13, 17, 21, 33])
    parser.add_argument("--published", action="store_true", help="the published procedure's error beside")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ratios: dict[int | None, list[float]] = {steps: [] for steps in [*arguments.steps, None]}
    for name, network, photograph, lr, window in cases(arguments):
        evidence, row = dense(network, lr, window), f"{name} {photograph} {window.as_tuple()[:2]}:"
        for steps in ratios:
            true, stated = evidence.errors(steps)
            ratios[steps].append(true / stated)
            row += f" {steps or 'auto'} {true:.4f}/{stated:.4f}"
        if arguments.published:
            row += (
                f" published {relative(published(network, lr, window), published_reference(network, lr, window)):.4f}"
            )
        print(row, flush=True)
    print("\n| steps | cases | true over stated, 5 % | median | 95 % | least | most | between 0.5 and 1.5 |")
    print("|---|---|---|---|---|---|---|---|")
    for steps, each in ratios.items():
        values = np.array(each)
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        inside = np.mean((values >= 0.5) & (values <= 1.5))
        numbers = f"{low:.2f} | {middle:.2f} | {high:.2f} | {values.min():.2f} | {values.max():.2f} | {inside:.0%}"
        print(f"| {steps or 'auto'} | {len(values)} | {numbers} |")


if __name__ == "__main__":
    main()
