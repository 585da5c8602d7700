"""Channel saliency and ablation at 19 taps of MSRResNet against a network rebuilt for every tap.

    python benchmarks/csm.py [--side 96] [--channels 4] [--scale 2] [--memory]

The taps are the published ones (arXiv 2112.12089): the first activation, the 16 blocks, the upsampled and the last
feature; 64 channels each, so 1216 ablations. Two plain sides are rendered:

- "whole": for every tap the network is built anew and its weights loaded, one forward and one backward to everything,
  parameters included, for the saliency; then for every channel a whole forward with that channel zeroed.
- "tail": the same, but for every channel only what comes after the tap, as the published code does, one at a time.

Neither says no_grad, as the published code does not; what a forward keeps is freed after it, which is kinder than the
published code (it keeps the graphs of a tap's 64 outputs: --memory measures that). Ours is `sr_hooks.run("csm", ...)`
as it is: one forward and one backward for all taps, tails in batches without a graph, their proof included.

The plain sides are too long to run whole: of each tap's 64 ablations `--channels` are run, spread evenly, their time
is multiplied; rebuilding and saliency are run for all taps. Sums of saliency maps and PSNR must equal ours.
One thread, process time; the sides take turns: every plain side's first nine taps, ours, every plain side's other ten.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from faig import ARCHITECTURE, data_folder  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import sr_hooks  # noqa: E402
from sr_hooks.attribution.objectives.window_values import GradientMagnitude  # noqa: E402
from sr_hooks.images.image import downsample, read_image  # noqa: E402
from sr_hooks.images.windows import Window  # noqa: E402

BLOCKS, CHANNELS = 16, 64


def stages(scale: int) -> list[tuple[str, str]]:
    """The 19 taps, by where they lie in `forward_from`, and as sr_hooks writes them."""
    up = 2 if scale == 4 else 1
    blocks = [(f"b{i}", f"body.{i}") for i in range(BLOCKS)]
    return [("first", "lrelu#0"), *blocks, ("hr", f"lrelu#{up}"), ("last", f"lrelu#{up + 1}")]


def forward_from(net: Any, stage: str, feature: torch.Tensor, base: torch.Tensor, keep: dict[str, Any]) -> torch.Tensor:
    """Run the network from a stage on, with its own code; features of later stages are put into `keep`."""
    order = ["first", *(f"b{i}" for i in range(BLOCKS)), "hr", "last"]
    for name in order[order.index(stage) + 1 :]:
        if name == "hr":
            feature = net.lrelu(net.pixel_shuffle(net.upconv1(feature)))
            if net.upscale == 4:
                feature = net.lrelu(net.pixel_shuffle(net.upconv2(feature)))
        elif name == "last":
            feature = net.lrelu(net.conv_hr(feature))
        else:
            feature = net.body[int(name[1:])](feature)
        keep[name] = feature
    return net.conv_last(feature) + base


def rebuilt(weights: dict[str, torch.Tensor], scale: int) -> Any:
    from basicsr.archs import build_network

    net = build_network({"type": "MSRResNet", **ARCHITECTURE, "upscale": scale})
    net.load_state_dict(weights, strict=True)
    return net.eval()


class Plain:
    """One of the plain procedures: its time for rebuilding and saliency, its time for ablations, and its results."""

    def __init__(self, weights: dict[str, torch.Tensor], lr: torch.Tensor, gt: torch.Tensor, scale: int, whole: bool):
        self.weights, self.lr, self.gt, self.scale, self.whole = weights, lr, gt, scale, whole
        self.once, self.each, self.count = 0.0, 0.0, 0
        self.sums: dict[str, np.ndarray] = {}
        self.psnr: dict[tuple[str, int], float] = {}

    def run(self, stage: str, channels: range, outputs: list[Any] | None = None) -> None:
        start = time.process_time()
        net = rebuilt(self.weights, self.scale)
        keep: dict[str, torch.Tensor] = {}
        x = self.lr.clone().requires_grad_()
        base = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        keep["first"] = net.lrelu(net.conv_first(x))
        out = forward_from(net, "first", keep["first"], base, keep)
        keep[stage].retain_grad()
        GradientMagnitude()(out, x, Window(0, 0, *out.shape[-2:])).sum().backward()
        size = keep[stage].grad[0].abs()
        self.sums[stage] = (size / size.max()).sum(dim=(1, 2), dtype=torch.float64).numpy()
        feature = keep[stage].detach()
        between = time.process_time()
        for channel in channels:
            out = self._ablated(net, stage, feature, base.detach(), channel)
            error = (out.clamp(0, 1) - self.gt)[..., self.scale : -self.scale, self.scale : -self.scale]
            self.psnr[stage, channel] = -10 * float(error.detach().double().square().mean().log10())
            if outputs is not None:
                outputs.append(out)
        self.once += between - start
        self.each += time.process_time() - between
        self.count += len(channels)

    def _ablated(self, net: Any, stage: str, feature: torch.Tensor, base: torch.Tensor, channel: int) -> torch.Tensor:
        keep: dict[str, torch.Tensor] = {}
        if self.whole:
            base = F.interpolate(self.lr, scale_factor=self.scale, mode="bilinear", align_corners=False)
            first = net.lrelu(net.conv_first(self.lr))
            forward = self._until(net, stage, first)
        else:
            forward = feature
        changed = forward.clone()
        changed[:, channel] = 0
        return forward_from(net, stage, changed, base, keep)

    def _until(self, net: Any, stage: str, first: torch.Tensor) -> torch.Tensor:
        """The feature at a stage, computed from the first feature."""
        if stage == "first":
            return first
        feature = first
        for index in range(BLOCKS if stage in ("hr", "last") else int(stage[1:]) + 1):
            feature = net.body[index](feature)
        if stage in ("hr", "last"):
            feature = net.lrelu(net.pixel_shuffle(net.upconv1(feature)))
            if net.upscale == 4:
                feature = net.lrelu(net.pixel_shuffle(net.upconv2(feature)))
        return net.lrelu(net.conv_hr(feature)) if stage == "last" else feature

    def seconds(self) -> float:
        """Estimated seconds of all 19 * 64 ablations."""
        return self.once + self.each / self.count * len(self.sums) * CHANNELS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=96, help="of the ground truth")
    parser.add_argument("--scale", type=int, default=2, choices=[2, 4], help="4 has weights as they are initialised")
    parser.add_argument("--channels", type=int, default=4, help="ablations a tap that the plain sides run")
    parser.add_argument("--memory", action="store_true", help="peak memory instead, of one tap with all channels")
    parser.add_argument("--alone", choices=["ours", "plain", "none"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory and not arguments.alone:
        peaks = {side: _peak(side, arguments) for side in ("none", "plain", "ours")}
        print(json.dumps({f"{side} MiB": round(peaks[side] - peaks["none"]) for side in ("plain", "ours")}))
        return
    network, hr = _setting(arguments)
    lr = downsample(hr, arguments.scale)
    weights = copy.deepcopy(network.module.state_dict())
    taps = stages(arguments.scale)
    chosen = range(0, CHANNELS, max(CHANNELS // arguments.channels, 1))
    sides = {name: Plain(weights, lr, hr, arguments.scale, name == "whole") for name in ("whole", "tail")}
    if arguments.alone:
        _alone(arguments.alone, sides["tail"], network, hr)
        return

    def turn(part: list[tuple[str, str]]) -> None:
        for stage, _ in part:
            for side in sides.values():
                side.run(stage, chosen)

    ours: Callable[[], Any] = lambda: sr_hooks.run("csm", network, hr, layers=[tap for _, tap in taps])  # noqa: E731
    sr_hooks.run("csm", network, hr, layers="auto", ablate=False)  # calibrates
    turn(taps[:9])
    start = time.process_time()
    result = ours()
    seconds = time.process_time() - start
    turn(taps[9:])
    start = time.process_time()
    sr_hooks.run("csm", network, hr, layers=[tap for _, tap in taps], ablate=False)
    saliency = time.process_time() - start
    print(
        json.dumps(
            {
                "network": f"MSRResNet x{arguments.scale}",
                "lr": "x".join(map(str, lr.shape[-2:])),
                "taps": len(taps),
                "ablations": len(taps) * CHANNELS,
                "plain ablations run": sides["whole"].count,
                "whole s": round(sides["whole"].seconds(), 1),
                "tail s": round(sides["tail"].seconds(), 1),
                "ours s": round(seconds, 1),
                "ratio to whole": round(sides["whole"].seconds() / seconds, 2),
                "ratio to tail": round(sides["tail"].seconds() / seconds, 2),
                "saliency alone s": [round(sides["whole"].once, 2), round(saliency, 2)],
                "ratio, saliency alone": round(sides["whole"].once / saliency, 1),
                **_differences(result, sides, taps),
            }
        )
    )


def _setting(arguments: argparse.Namespace) -> tuple[sr_hooks.Network, torch.Tensor]:
    folder = data_folder()
    weights = folder / "weights/msrresnet_x2_target.pth" if arguments.scale == 2 else None
    torch.manual_seed(0)
    network = sr_hooks.Network.from_basicsr("MSRResNet", {**ARCHITECTURE, "upscale": arguments.scale}, weights=weights)
    photo = read_image(sorted((folder / "bsds500/val").glob("*.jpg"))[1])
    top, left = ((size - arguments.side) // 2 for size in photo.shape[-2:])
    return network, photo[..., top : top + arguments.side, left : left + arguments.side].contiguous()


def _differences(result: Any, sides: dict[str, Plain], taps: list[tuple[str, str]]) -> dict[str, float]:
    """The largest difference of PSNR in dB, and of saliency sums as a share of the tap's largest sum."""
    of_psnr, of_saliency = 0.0, 0.0
    for index, (stage, _) in enumerate(taps):
        saliency = result.arrays["saliency"][0, index]
        for side in sides.values():
            of_saliency = max(of_saliency, float(np.abs(saliency - side.sums[stage]).max() / side.sums[stage].max()))
            for (name, channel), value in side.psnr.items():
                if name == stage:
                    of_psnr = max(of_psnr, abs(value - float(result.arrays["psnr"][0, index, channel])))
    return {
        "largest PSNR difference dB": float(f"{of_psnr:.2g}"),
        "largest saliency difference": float(f"{of_saliency:.2g}"),
    }


def _alone(side: str, plain: Plain, network: sr_hooks.Network, hr: torch.Tensor) -> None:
    """One tap, all channels, in a process of its own: prints the peak of its resident memory in MiB."""
    outputs: list[Any] = []
    network.module.eval()
    with torch.no_grad():
        network(downsample(hr, network.scale))
    if side == "plain":
        plain.run("b7", range(CHANNELS), outputs)
    elif side == "ours":
        sr_hooks.run("csm", network, hr, layers="body.7")
    status = Path("/proc/self/status").read_text().split()
    print(int(status[status.index("VmHWM:") + 1]) / 1024)


def _peak(side: str, arguments: argparse.Namespace) -> float:
    command = [
        sys.executable,
        __file__,
        "--alone",
        side,
        "--side",
        str(arguments.side),
        "--scale",
        str(arguments.scale),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
