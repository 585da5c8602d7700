"""Measure the error of LAM with 21 gradients and with automatic steps, beside that of the published 50 steps.

    OMP_NUM_THREADS=1 python benchmarks/lam_accuracy.py --data shared/data

Each error is the relative L2 distance of the attribution to the 256-interval integral of the same side's own objective.
One row a network and image, as Markdown; minutes a row on one thread.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from lam import network_of, published, published_reference, relative

import sr_hooks
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.images.image import downsample, read_image
from sr_hooks.images.windows import Window


def cases(
    data: Path, networks: list[str], names: list[str], size: int
) -> list[tuple[str, sr_hooks.Network, str, torch.Tensor]]:
    """(network, itself, image, LR) for every network and photograph."""
    cases = []
    for name in networks:
        network = demo_network(name.removeprefix("demo:")) if name.startswith("demo:") else network_of(name, data)
        for path in [path for path in photographs() if path.stem in names]:
            lr = downsample(read_image(path), network.scale)
            start = (lr.shape[-1] - size) // 2
            crop = lr[..., start : start + size, start : start + size].contiguous()
            cases.append((name, network, path.stem, crop))
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the development data")
    parser.add_argument("--networks", nargs="+", default=["demo:baseline", "demo:target", "baseline", "target"])
    parser.add_argument("--photographs", nargs="+", default=[path.stem for path in photographs()])
    parser.add_argument("--size", type=int, default=64, help="side of the LR image")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | image | published, 50 | ours, 21 | ours, auto | auto's estimate | auto's gradients |")
    print("|---|---|---|---|---|---|---|")
    for name, network, image, lr in cases(arguments.data, arguments.networks, arguments.photographs, arguments.size):
        network.module.eval()
        middle = int(lr.shape[-1] * network.scale) // 2 - 8
        window = Window(middle, middle, 16, 16)
        bar = relative(published(network, lr, window), published_reference(network, lr, window))
        reference = sr_hooks.lam(network, lr, window=window, steps=257).attribution
        fixed = sr_hooks.lam(network, lr, window=window, steps=21)
        auto = sr_hooks.lam(network, lr, window=window)
        errors = [relative(result.attribution, reference) for result in (fixed, auto)]
        print(
            f"| {name} | {image} | {bar:.4f} | {errors[0]:.4f} | {errors[1]:.4f} | {auto.error:.4f} | {auto.steps} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
