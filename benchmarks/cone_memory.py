"""One gradient of a window's cone: its activations stored, and computed twice; MiB of tensors at most, and seconds.

    OMP_NUM_THREADS=1 python benchmarks/cone_memory.py

Needs BasicSR. Tensors are counted on the CPU, so that the figures are those of any device but for its allocator.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import sr_hooks
from sr_hooks.attribution import make_objective
from sr_hooks.attribution.receptive_field.cone import Cone
from sr_hooks.attribution.receptive_field.proved_cones import WindowCones
from sr_hooks.attribution.receptive_field.segments import SegmentedCone
from sr_hooks.images import Window
from sr_hooks.inference import ExecutionPlan
from tests.support.memory import SmallCard

THREE = {"num_in_ch": 3, "num_out_ch": 3}
SWINIR = {
    "upscale": 4, "img_size": 48, "window_size": 8, "depths": [6] * 4, "embed_dim": 60, "num_heads": [6] * 4,
    "mlp_ratio": 2, "upsampler": "pixelshuffledirect",
}  # fmt: skip
CASES = {
    "MSRResNet x2": ("MSRResNet", {"upscale": 2}, 48),
    "EDSR-M x4": ("EDSR", {**THREE, "num_feat": 64, "num_block": 16, "upscale": 4}, 48),
    "RRDBNet x4, 8 blocks": ("RRDBNet", {**THREE, "num_block": 8, "scale": 4}, 32),
    "SwinIR light x4": ("SwinIR", SWINIR, 64),
}
REPEATS = 5


def gradient(cone: Cone | SegmentedCone, part: torch.Tensor, fixed: dict) -> torch.Tensor:
    x = part.clone().requires_grad_()
    _, (value,) = cone(x, fixed)
    return torch.autograd.grad(value.sum(), x)[0]


def measure(name: str, architecture: str, arguments: dict, side: int) -> None:
    """Print one network's row; both ways take turns."""
    torch.manual_seed(0)
    network = sr_hooks.Network.from_basicsr(architecture, arguments)
    middle = int(side * network.scale) // 2 - 8
    with network.prepared():
        cones = WindowCones(network, make_objective("gradient"), [Window(middle, middle, 16, 16)], (3, side, side))
        if not cones.groups:
            print(f"{name}: no cone, {cones.reason}")
            return
        group = cones.groups[0]
        cone, fixed = group.cone(1), group.cone(1).prepare(group.weights(ExecutionPlan()))
    box = group.inputs
    part = torch.rand(1, 3, side, side)[..., box.top : box.bottom, box.left : box.right]
    ways = {"stored": cone, "computed twice": SegmentedCone(cone)}
    equal = torch.equal(*(gradient(way, part, fixed) for way in ways.values()))
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(REPEATS):
        for way, call in ways.items():
            begin = time.process_time()
            gradient(call, part, fixed)
            times[way].append(time.process_time() - begin)
    row = []
    for way, call in ways.items():
        with SmallCard() as card:
            gradient(call, part, fixed)
        row.append(f"{way} {card.peak / 2**20:.1f} MiB in {statistics.median(times[way]):.2f} s")
    print(f"{name}, LR {side}, cone {group.share:.2f}: {', '.join(row)}; gradients {'equal' if equal else 'differ'}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, case in CASES.items():
        measure(name, *case)
