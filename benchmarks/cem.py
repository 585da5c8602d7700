"""CEM against one full-image forward for every block and patch: time at the same map. MSRResNet x2.

    python benchmarks/cem.py [--image 1] [--side 320] [--block 8] [--fine 10] [--share 40] [--demo]

Both sides make the same map: the same patches (they follow from seed, block and draw), the same tolerance, the same
draws in the coarse and the fine stage. The plain side runs the whole image with one block replaced, one forward at a
time, for every block of the image, under no_grad, which is more than is asked of it. Ours is `sr_hooks.run("cem", ...)`
as it is: reach proved by a probe, blocks out of it skipped, a crop of the image run in batches; without cache and LAM.

The plain side is too long to run whole: of its forwards every `share`-th is run, spread evenly over all blocks and
draws, and its time multiplied by what was left out; all of its forwards cost the same, since all are of one size. The
PSNR of each of those must equal ours (within 1e-3 dB), and for blocks that we skip the PSNR without a replacement.

One thread, process time; the two sides take turns: the plain side's coarse forwards, ours, the plain side's fine ones.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import torch  # noqa: E402
from faig import ARCHITECTURE, data_folder  # noqa: E402
from sr_hooks_cem.pool import Pool  # noqa: E402

import sr_hooks  # noqa: E402
from sr_hooks.demo.assets import demo_network, photographs  # noqa: E402
from sr_hooks.images.image import downsample, read_image  # noqa: E402
from sr_hooks.images.metrics import psnr  # noqa: E402
from sr_hooks.images.windows import Window  # noqa: E402
from sr_hooks.inference.perturbation import blocks_of  # noqa: E402

COARSE = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true", help="the shipped network and photographs, no other data")
    parser.add_argument("--image", type=int, default=1, help="which photograph, from 0")
    parser.add_argument("--side", type=int, default=320, help="of the centre crop, in ground-truth pixels")
    parser.add_argument("--window", type=int, default=32, help="side of the window, in the middle")
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--fine", type=int, default=10)
    parser.add_argument("--share", type=int, default=40, help="run every so-many-th forward of the plain side")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network, hr = _setting(arguments)
    middle = [(side - arguments.window) // 2 // arguments.block * arguments.block for side in hr.shape[-2:]]
    window = Window(*middle, arguments.window, arguments.window)
    options = {"window": window.as_tuple(), "block": arguments.block, "coarse": COARSE, "fine": arguments.fine}

    sides = [side // arguments.block for side in hr.shape[-2:]]
    coarse = [(block, draw) for block in range(sides[0] * sides[1]) for draw in range(COARSE)]
    before, differences = plain(network, hr, window, arguments.block, coarse[:: arguments.share])
    start = time.process_time()
    result = sr_hooks.run("cem", network, hr, lam=False, cache="", **options)
    ours = time.process_time() - start
    draws = result.arrays["draws"].ravel()
    fine = [(block, draw) for block in range(len(draws)) for draw in range(COARSE, int(draws[block]))]
    after, more = plain(network, hr, window, arguments.block, fine[:: arguments.share])
    differences += more
    each, count = (before + after) / len(differences), len(coarse) + len(fine)
    worst = _disagreement(result, differences)
    print(
        json.dumps(
            {
                "network": network.name,
                "lr": "x".join(str(side) for side in result.arrays["lr"].shape[-2:]),
                "crop": "x".join(str(side) for side in result.scalars["crop"][2:]),
                "blocks": result.scalars["blocks"],
                "in reach": result.scalars["in_reach"],
                "fine blocks": result.scalars["fine_blocks"],
                "plain forwards": count,
                "of them run": len(differences),
                "our forwards": result.scalars["forwards"],
                "plain s a forward": round(each, 4),
                "plain s": round(each * count, 1),
                "ours s": round(ours, 1),
                "ratio": round(each * count / ours, 1),
                "largest difference dB": float(f"{worst:.2g}"),
            }
        )
    )


def _setting(arguments: argparse.Namespace) -> tuple[sr_hooks.Network, torch.Tensor]:
    if arguments.demo:
        return demo_network("target"), read_image(photographs()[arguments.image])
    weights = data_folder() / "weights/msrresnet_x2_target.pth"
    photo = read_image(sorted((data_folder() / "bsds500/val").glob("*.jpg"))[arguments.image])
    top, left = ((size - min(size, arguments.side)) // 2 for size in photo.shape[-2:])
    hr = photo[..., top : top + arguments.side, left : left + arguments.side]
    height, width = (side // arguments.block * arguments.block for side in hr.shape[-2:])
    hr = hr[..., :height, :width]
    return sr_hooks.Network.from_basicsr("MSRResNet", ARCHITECTURE, weights=weights), hr.contiguous()


def plain(
    network: sr_hooks.Network, hr: torch.Tensor, window: Window, block_size: int, chosen: list[tuple[int, int]]
) -> tuple[float, list[tuple[int, int, float]]]:
    """Seconds and (block, draw, dB lost): the whole image with one block replaced, one forward at a time."""
    lr = downsample(hr, network.scale)
    side = block_size // int(network.scale)
    blocks, pool = blocks_of(lr.shape[-2], lr.shape[-1], side), Pool(network, None, "clean", 0)
    differences = []
    with network.prepared(), torch.no_grad():
        base = float(psnr(window.crop(network(lr).clamp(0, 1)), window.crop(hr)))
        start = time.process_time()
        for block, draw in chosen:
            box = blocks[block]
            image = lr.clone()
            box.crop(image)[0] = pool.patch(block, draw, box.height, box.width)
            value = float(psnr(window.crop(network(image).clamp(0, 1)), window.crop(hr)))
            differences.append((block, draw, base - value))
        seconds = time.process_time() - start
    return seconds, differences


def _disagreement(result: Any, differences: list[tuple[int, int, float]]) -> float:
    """Largest difference in dB between a forward of theirs and ours of the same patch, or 0 for a block skipped."""
    lost = result.arrays["lost"]
    counts = result.arrays["draws"].ravel()
    return max(abs(value - (lost[block, draw] if counts[block] else 0.0)) for block, draw, value in differences)


if __name__ == "__main__":
    main()
