"""LAM by secants against LAM by gradients, both with automatic steps: work, stated error, true error.

    OMP_NUM_THREADS=1 python benchmarks/secants.py --data shared/data
    OMP_NUM_THREADS=1 python benchmarks/secants.py --networks demo:baseline demo:target --folder photographs

One row a network, image and window. Work is in gradients, a forward and a backward each. True errors are relative L2
distances from 129 gradients. Only networks of linear operations and rectifiers are of interest: others have no secants.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from lam import network_of, relative

import sr_hooks
from sr_hooks.analyses.lam import question
from sr_hooks.attribution.path_integrals import SmallRounds
from sr_hooks.attribution.secants.strategy import SecantsOrGradients
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.images.image import downsample, read_image
from sr_hooks.images.windows import Window

SIDE = 16  # of the windows


def answer(strategy: object, network: sr_hooks.Network, lr: torch.Tensor, window: Window, **options: object) -> object:
    before = question.strategy_of
    question.strategy_of = lambda device: strategy  # type: ignore[assignment, return-value]
    try:
        return sr_hooks.lam(network, lr, window=window, **options)
    finally:
        question.strategy_of = before


def windows_of(height: int, width: int) -> list[Window]:
    """In the middle, and halfway to a corner."""
    middle = Window(height // 2 - SIDE // 2, width // 2 - SIDE // 2, SIDE, SIDE)
    return [middle, Window(height // 4, width // 2, SIDE, SIDE)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the development data")
    parser.add_argument("--networks", nargs="+", default=["demo:baseline", "demo:target", "baseline", "target"])
    parser.add_argument("--folder", type=Path, help="of images; the demo's photographs without")
    parser.add_argument("--size", type=int, default=48, help="side of the LR image")
    parser.add_argument("--tolerance", type=float, default=0.04)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(arguments.folder.iterdir()) if arguments.folder else photographs()
    print("| network | image | window | gradients: work | stated | true | secants: work | stated | true |")
    print("|---|---|---|---|---|---|---|---|---|")
    shares, ratios = [], []
    for name in arguments.networks:
        demo = name.startswith("demo:")
        network = demo_network(name.removeprefix("demo:")) if demo else network_of(name, arguments.data)
        for path in files:
            lr = downsample(read_image(path), network.scale)
            top, left = ((side - arguments.size) // 2 for side in lr.shape[-2:])
            lr = lr[..., top : top + arguments.size, left : left + arguments.size].contiguous()
            for window in windows_of(*network.output_size(*lr.shape[-2:])):
                reference = answer(SmallRounds(), network, lr, window, steps=129).attribution
                both = [
                    answer(strategy, network, lr, window, tolerance=arguments.tolerance)
                    for strategy in (SmallRounds(), SecantsOrGradients())
                ]
                errors = [relative(each.attribution, reference) for each in both]
                shares.append(both[1].steps / both[0].steps)
                ratios.append(errors[1] / both[1].error)
                cells = [
                    f"{each.steps} | {each.error:.4f} | {error:.4f}" for each, error in zip(both, errors, strict=True)
                ]
                print(f"| {name} | {path.stem} | {window} | {' | '.join(cells)} |", flush=True)
    print(f"\nwork of secants over that of gradients: median {statistics.median(shares):.2f}, most {max(shares):.2f}")
    print(f"true error over stated: median {statistics.median(ratios):.2f}, most {max(ratios):.2f}")


if __name__ == "__main__":
    main()
