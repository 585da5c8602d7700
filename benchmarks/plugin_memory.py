"""Peak memory of spectra and similarity over many patches of SwinIR (light): features stream.

python benchmarks/plugin_memory.py spectra --patches 1000 --side 48
python benchmarks/plugin_memory.py similarity --patches 1000 --side 32
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

import sr_hooks
from sr_hooks.demo import photographs
from sr_hooks.images import cut_patches, read_image

LIGHT = {
    "upscale": 2, "img_size": 64, "window_size": 8, "depths": [6] * 4, "embed_dim": 60, "num_heads": [6] * 4,
    "mlp_ratio": 2, "upsampler": "pixelshuffledirect",
}  # fmt: skip


def crops(count: int, side: int) -> torch.Tensor:
    """(count,3,side,side): patches of the shipped photographs, again and again with noise of one grey level."""
    photos = [read_image(path) for path in photographs()]
    patches = cut_patches(photos, side, count, 0, "the photograph")
    repeated = patches.repeat(-(-count // len(patches)), 1, 1, 1)[:count]
    return (repeated + torch.randn(repeated.shape, generator=torch.Generator().manual_seed(0)) / 255).clamp(0, 1)


def peak() -> float:
    """GB of this process at most so far (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("analysis", choices=["spectra", "similarity"])
    parser.add_argument("--patches", type=int, default=1000)
    parser.add_argument("--side", type=int, default=32, help="of a patch in input pixels")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = sr_hooks.Network.from_basicsr("SwinIR", LIGHT)
    options = {"patch": args.side, "patches": args.patches} if args.analysis == "similarity" else {}
    images = crops(args.patches, args.side * (2 if args.analysis == "spectra" else 1))
    before, start = peak(), time.process_time()
    sr_hooks.run(args.analysis, network, images, layers="all", **options)
    seconds = time.process_time() - start
    print(f"{args.analysis}, {len(images)} patches of {args.side}x{args.side}: peak {peak():.2f} GB "
          f"({before:.2f} before), {seconds:.0f} s of CPU")  # fmt: skip


if __name__ == "__main__":
    main()
