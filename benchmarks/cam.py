"""Time channel saliency at 19 taps against HiResCAM of the package grad-cam, which takes one layer at a time.

    OMP_NUM_THREADS=1 python benchmarks/cam.py

They answer different questions (HiResCAM sums gradient times activation over channels, CSM keeps channels apart), so
this row compares time alone: one forward and backward for all taps against one for each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from csm import stages
from torch import nn

import sr_hooks
from sr_hooks.demo.assets import photographs
from sr_hooks.images.image import read_image


class WindowSum(nn.Module):
    """What HiResCAM explains: the sum of the output's gradient magnitudes, as CSM has it."""

    def __call__(self, output: torch.Tensor) -> torch.Tensor:
        return output.diff(dim=-1).abs().sum() + output.diff(dim=-2).abs().sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=96, help="of the ground truth")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    from pytorch_grad_cam import HiResCAM

    torch.set_num_threads(1)
    network = sr_hooks.Network.from_basicsr("MSRResNet", {"upscale": 2})
    network.module.eval()
    hr = read_image(photographs()[0])[..., : arguments.side, : arguments.side].contiguous()
    lr = torch.nn.functional.interpolate(hr, scale_factor=0.5, mode="bicubic", antialias=True).clamp(0, 1)
    taps = [tap for _, tap in stages(2)]
    layers = [network.module.get_submodule(tap.split(":")[0].split("#")[0]) for tap in taps]

    def peer() -> None:
        for layer in layers:
            with HiResCAM(model=network.module, target_layers=[layer]) as cam:
                cam(input_tensor=lr, targets=[WindowSum()])

    def ours() -> None:
        sr_hooks.run("csm", network, hr, layers=taps, ablate=False)

    ours()
    pairs = []
    for _ in range(arguments.repeats):
        start = time.process_time()
        peer()
        between = time.process_time()
        ours()
        pairs.append((between - start, time.process_time() - between))
    ratios = [a / b for a, b in pairs]
    row = {
        "analysis": "CSM, saliency alone",
        "case": f"MSRResNet x2, LR {lr.shape[-2]}x{lr.shape[-1]}, {len(taps)} taps",
        "against": "grad-cam's HiResCAM, a layer at a time",
        "their s": round(statistics.median(a for a, _ in pairs), 2),
        "our s": round(statistics.median(b for _, b in pairs), 2),
        "ratio": round(statistics.median(ratios), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
