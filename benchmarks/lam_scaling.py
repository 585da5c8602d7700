"""How LAM's time grows with the image, the gradients, the windows and the network, with and without its cone.

    OMP_NUM_THREADS=1 python benchmarks/lam_scaling.py

Networks have the weights they are initialised with: time does not depend on them. Each
figure is the median of a few runs, in turn with the others of its table, of this process's own seconds on one thread.
The exponent is the slope of a straight line through the logarithms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

import sr_hooks
from sr_hooks.attribution.objectives.window_values import GradientMagnitude
from sr_hooks.attribution.receptive_field.cone import Cone
from sr_hooks.attribution.receptive_field.proved_cones import WindowCones
from sr_hooks.images.windows import Window

STEPS = 17
EDSR = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16, "upscale": 4}
SIZES = {  # 0.2 to 17 million parameters
    "MSRResNet, 32 features, 8 blocks": ("MSRResNet", {"num_feat": 32, "num_block": 8, "upscale": 4}),
    "MSRResNet, 64 features, 16 blocks": ("MSRResNet", {"upscale": 4}),
    "EDSR, 128 features, 16 blocks": ("EDSR", {**EDSR, "num_feat": 128}),
    "RRDBNet, 64 features, 23 blocks": ("RRDBNet", {"num_in_ch": 3, "num_out_ch": 3, "scale": 4}),
}


def picture(side: int) -> torch.Tensor:
    """Smooth, seeded (1,3,side,side)."""
    seed = torch.Generator().manual_seed(0)
    small = torch.rand(1, 3, side // 4, side // 4, generator=seed)
    return torch.nn.functional.interpolate(small, size=side, mode="bicubic").clamp(0, 1)


def in_turn(cases: Mapping[object, Callable[[], object]], repeats: int) -> dict[object, float]:
    """Median seconds of each, after one run that calibrates, records and proves."""
    seconds: dict[object, list[float]] = {case: [] for case in cases}
    for turn in range(repeats + 1):
        for case, run in cases.items():
            start = time.process_time()
            run()
            if turn:
                seconds[case].append(time.process_time() - start)
    return {case: statistics.median(each) for case, each in seconds.items()}


def exponent(xs: Sequence[float], ys: Sequence[float]) -> float:
    return round(float(np.polyfit(np.log(xs), np.log(ys), 1)[0]), 2)


def lam(network: sr_hooks.Network, image: torch.Tensor, **more: object) -> object:
    middle = int(image.shape[-1] * network.scale) // 2
    options = {"window": (middle, middle, 16), "steps": STEPS, "picture": "window", **more}
    return sr_hooks.lam(network, image, **options)


def by_image(name: str, arguments: Mapping[str, object], repeats: int) -> dict[str, object]:
    network = sr_hooks.Network.from_basicsr(name, arguments)
    sides = (64, 128, 256, 512)
    near = in_turn({side: lambda side=side: lam(network, picture(side)) for side in sides}, repeats)
    few = (64, 128)
    far = in_turn({side: lambda side=side: lam(network, picture(side), cone="off", steps=5) for side in few}, repeats)
    return {
        "table": f"LR side, {name} x4, {STEPS} gradients",
        "s": {side: round(near[side], 2) for side in sides},
        "exponent of the side from 128": exponent(sides[1:], [near[side] for side in sides[1:]]),
        "512 over 128": round(near[512] / near[128], 2),
        "without the cone, s for 5 gradients": {side: round(far[side], 2) for side in few},
        "exponent without": exponent(few, [far[side] for side in few]),
    }


def by_gradients(repeats: int) -> dict[str, object]:
    network, image = sr_hooks.Network.from_basicsr("MSRResNet", {"upscale": 4}), picture(64)
    counts = (5, 9, 17, 33)
    seconds = in_turn({count: lambda count=count: lam(network, image, steps=count) for count in counts}, repeats)
    return {
        "table": "gradients, MSRResNet x4, LR 64x64",
        "s": {count: round(seconds[count], 2) for count in counts},
        "exponent": exponent(counts, [seconds[count] for count in counts]),
    }


def by_windows(repeats: int) -> dict[str, object]:
    network, image = sr_hooks.Network.from_basicsr("MSRResNet", {"upscale": 4}), picture(128)
    counts = (1, 2, 4, 8)

    def near(count: int) -> list[tuple[int, int, int]]:
        return [(248 + 8 * (i // 4), 248 + 8 * (i % 4), 16) for i in range(count)]

    def apart(count: int) -> list[tuple[int, int, int]]:
        return [(32 + 220 * (i // 4), 32 + 110 * (i % 4), 16) for i in range(count)]

    out: dict[str, object] = {"table": "windows, MSRResNet x4, LR 128x128, 9 gradients each"}
    for name, corners in (("side by side", near), ("apart", apart)):
        cases = {
            count: lambda count=count, corners=corners: lam(network, image, window=corners(count), steps=9)
            for count in counts
        }
        seconds = in_turn(cases, repeats)
        out[f"{name}, s"] = {count: round(seconds[count], 2) for count in counts}
        out[f"{name}, exponent"] = exponent(counts, [seconds[count] for count in counts])
    return out


def by_network(repeats: int) -> dict[str, object]:
    networks = {name: sr_hooks.Network.from_basicsr(*arguments) for name, arguments in SIZES.items()}
    millions = {name: sum(p.numel() for p in network.module.parameters()) / 1e6 for name, network in networks.items()}
    cases = {name: lambda network=network: lam(network, picture(64), steps=5) for name, network in networks.items()}
    seconds = in_turn(cases, repeats)
    return {
        "table": "network, LR 64x64, 5 gradients",
        "s": {f"{name} ({millions[name]:.1f} M)": round(seconds[name], 2) for name in networks},
        "exponent of the parameters": exponent([millions[n] for n in networks], [seconds[n] for n in networks]),
    }


SWINIR = {
    "upscale": 4, "img_size": 64, "window_size": 8, "depths": [6] * 4, "embed_dim": 60, "num_heads": [6] * 4,
    "mlp_ratio": 2, "upsampler": "pixelshuffledirect",
}  # fmt: skip
HAT = {
    "upscale": 4, "img_size": 64, "window_size": 16, "depths": [6] * 6, "embed_dim": 144, "num_heads": [6] * 6,
    "mlp_ratio": 2, "compress_ratio": 24, "squeeze_factor": 24, "upsampler": "pixelshuffle",
}  # fmt: skip


def by_attention(repeats: int) -> dict[str, object]:
    """Two sizes of which the receptive field is a part."""
    network = sr_hooks.Network.from_basicsr("SwinIR", SWINIR)
    for side in (256, 512):
        lam(network, picture(side), steps=2)
    cases = {side: lambda side=side: lam(network, picture(side), steps=5) for side in (256, 512)}
    seconds: dict[int, list[float]] = {side: [] for side in cases}
    for _ in range(repeats):
        for side, run in cases.items():
            start = time.process_time()
            run()
            seconds[side].append(time.process_time() - start)
    middle = {side: statistics.median(each) for side, each in seconds.items()}
    return {
        "table": "LR side, SwinIR light x4, 5 gradients",
        "s": {side: round(value, 2) for side, value in middle.items()},
        "512 over 256": round(middle[512] / middle[256], 2),
    }


def by_work() -> Iterator[dict[str, object]]:
    """Multiply-accumulates of a window's cone, of the largest networks too: nothing is run."""
    from spandrel.architectures.HAT import HAT as Hat

    for name, network in (
        ("SwinIR light", sr_hooks.Network.from_basicsr("SwinIR", SWINIR)),
        ("HAT-S", sr_hooks.Network(Hat(**HAT))),
    ):
        work, share, stops_at = {}, {}, ""
        network.module.eval()
        for side in (64, 256, 512):
            window = Window(2 * side - 8, 2 * side - 8, 16, 16)
            cone = WindowCones(network, GradientMagnitude(), [window], (3, side, side)).cone((0,), 1)
            whole = Cone(cone.trace, [0])
            work[side], share[side], stops_at = cone.work, round(cone.work / whole.work, 3), cone.barrier
        yield {
            "table": f"LR side, {name} x4, work of a window's cone",
            "share of the whole network": share,
            "512 over 256": round(work[512] / work[256], 2),
            "stops at": stops_at or None,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["image", "gradients", "windows", "network", "attention", "work"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tables = {
        "image": lambda: [
            by_image("MSRResNet", {"upscale": 4}, arguments.repeats),
            by_image("EDSR", EDSR, arguments.repeats),
        ],
        "gradients": lambda: [by_gradients(arguments.repeats)],
        "windows": lambda: [by_windows(arguments.repeats)],
        "network": lambda: [by_network(arguments.repeats)],
        "attention": lambda: [by_attention(arguments.repeats)],
        "work": by_work,
    }
    for name, make in tables.items():
        if arguments.only in (None, name):
            for row in make():
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
