"""LAM against a faithful rendering of the published procedure: time at equal or lower error, and peak memory.

    OMP_NUM_THREADS=1 python benchmarks/lam.py --data shared/data
    OMP_NUM_THREADS=1 python benchmarks/lam.py --network edsr

The published procedure: one image at a time, parameter gradients computed and thrown away, the root over the whole
output, 50 right-end steps. Each side's error is that against the 256-interval integral of its own objective; ours
takes automatic steps, or as few gradients as bring its error to the published one's or below where these are fewer. A
forward and a backward count as a gradient. The sides alternate; the ratio is the
median of the pairs'. Seconds are this process's own on one thread, so that other work on the machine does not
count; peak memory is of each side's own process.

Two floors beside them: a plain forward and input-backward of the whole network, as often as ours takes a gradient, and
the same of the window's cone alone. With --peer captum the other side is Captum's IntegratedGradients from black (50
steps, Gauss-Legendre, internal_batch_size 1), and ours takes that path too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses.lam.published import PublishedGradient, blurred
from sr_hooks.attribution.objectives.window_values import GradientMagnitude
from sr_hooks.attribution.receptive_field.proved_cones import WindowCones
from sr_hooks.demo.assets import photographs
from sr_hooks.images.image import downsample, read_image
from sr_hooks.images.windows import Window
from sr_hooks.inference.calibration import calibrate

ARCHITECTURES = {
    "msrresnet4": ("MSRResNet", {"upscale": 4}),
    "swinir": (
        "SwinIR",
        {
            "upscale": 4,
            "img_size": 64,
            "window_size": 8,
            "depths": [6] * 4,
            "embed_dim": 60,
            "num_heads": [6] * 4,
            "mlp_ratio": 2,
            "upsampler": "pixelshuffledirect",
        },
    ),
    "edsr": ("EDSR", {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16, "upscale": 4}),
    "rcan": ("RCAN", {"num_in_ch": 3, "num_out_ch": 3, "num_group": 10, "num_block": 20, "upscale": 4}),
    "rrdb": ("RRDBNet", {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 23, "scale": 4}),
}


def network_of(name: str, data: Path) -> sr_hooks.Network:
    if name in ("target", "baseline"):
        weights = data / f"weights/msrresnet_x2_{name}.pth"
        return sr_hooks.Network.from_basicsr("MSRResNet", {"upscale": 2}, weights=weights)
    if name == "demo":
        from sr_hooks.demo.assets import demo_network

        return demo_network("baseline")
    return sr_hooks.Network.from_basicsr(*ARCHITECTURES[name])


def published(network: sr_hooks.Network, image: torch.Tensor, window: Window, steps: int = 50) -> np.ndarray:
    """The published procedure's work and answer: backward() through everything, parameters included."""
    objective, module = PublishedGradient(), network.module
    points = blurred(np.ascontiguousarray(image[0].permute(1, 2, 0).numpy()), steps)
    total = np.zeros_like(points[0])
    for before, after in itertools.pairwise(points):
        x = torch.from_numpy(np.ascontiguousarray(after.transpose(2, 0, 1)))[None].requires_grad_()
        module.zero_grad()
        objective(module(x), x, window).sum().backward()
        assert x.grad is not None
        total += np.nan_to_num(x.grad[0].numpy()).transpose(1, 2, 0) * (after - before)
    return total.transpose(2, 0, 1)


def published_reference(network: sr_hooks.Network, image: torch.Tensor, window: Window) -> np.ndarray:
    """The published objective's integral with 256 intervals, trapezoid."""
    objective = PublishedGradient()
    points = blurred(np.ascontiguousarray(image[0].permute(1, 2, 0).numpy()), 256)
    total, previous = np.zeros(image[0].shape), None
    with network.prepared():
        for i, point in enumerate(points):
            x = torch.from_numpy(np.ascontiguousarray(point.transpose(2, 0, 1)))[None].requires_grad_()
            (gradient,) = torch.autograd.grad(objective(network(x), x, window).sum(), x)
            now = np.nan_to_num(gradient[0].double().numpy())
            if previous is not None:
                total += (now + previous) / 2 * (point - points[i - 1]).transpose(2, 0, 1)
            previous = now
    return total


def captums(network: sr_hooks.Network, image: torch.Tensor, window: Window, steps: int = 50) -> np.ndarray:
    """Captum's integrated gradients from black of the objective that is ours too."""
    from captum.attr import IntegratedGradients

    objective = GradientMagnitude()

    def value(x: torch.Tensor) -> torch.Tensor:
        return objective(network(x), x, window)

    attributions = IntegratedGradients(value).attribute(
        image, torch.zeros_like(image), n_steps=steps, internal_batch_size=1
    )
    return attributions[0].detach().numpy()


def whole_floor(network: sr_hooks.Network, image: torch.Tensor, window: Window, count: int) -> None:
    """As many plain forwards and input-backwards of the whole network."""
    objective = GradientMagnitude()
    with network.prepared():
        for _ in range(count):
            x = image.clone().requires_grad_()
            torch.autograd.grad(objective(network(x), x, window).sum(), x)


def cone_floor(
    network: sr_hooks.Network, image: torch.Tensor, window: Window, count: int, precision: str
) -> Callable[[], None]:
    """As many of the cone's alone, in the layout that is calibrated; what is prepared for them costs nothing here."""
    with network.prepared():
        plan = calibrate(network, tuple(image.shape[1:]), precision)
        groups = WindowCones(network, GradientMagnitude(), [window], tuple(image.shape[1:]), precision).groups
        cone = groups[0].cone(1) if groups else None
        fixed = cone.prepare(groups[0].weights(plan)) if cone else {}

    def run() -> None:
        if cone is None or cone.inputs is None:
            return
        with network.prepared():
            for _ in range(count):
                x = plan.lay_out(image[(..., *cone.inputs.slices)].clone()).requires_grad_()
                torch.autograd.grad(cone(x, fixed)[1][0].sum(), x)

    return run


def relative(attribution: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(attribution - reference) / np.linalg.norm(reference))


def least(
    run: Callable[[int | str], sr_hooks.LamResult], reference: np.ndarray, bar: float, fixed: int | None
) -> tuple[int | str, float, int]:
    """The steps that take the fewest gradients at an error of the bar or below, their error, and these gradients."""
    if fixed is not None:
        return fixed, relative(run(fixed).attribution, reference), fixed
    automatic = run("auto")
    error, most = relative(automatic.attribution, reference), 50
    if error <= bar:
        most = automatic.steps
    for steps in range(3, most):
        of_steps = relative(run(steps).attribution, reference)
        if of_steps <= bar:
            return steps, of_steps, steps
    return "auto", error, automatic.steps


def memory(field: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at most so far."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index(f"{field}:") + 1]) / 1024


def peak(arguments: argparse.Namespace, side: str, steps: int | str) -> float:
    """MiB of a fresh process that runs one side."""
    command = [sys.executable, __file__, "--network", arguments.network, "--data", str(arguments.data)]
    command += [
        "--size",
        str(arguments.size),
        "--alone",
        side,
        *(["--steps", str(steps)] if steps != "auto" else []),
        "--precision",
        arguments.precision,
        "--peer",
        arguments.peer,
        "--cone",
        arguments.cone,
    ]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="target", choices=["target", "baseline", "demo", *ARCHITECTURES])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the development data")
    parser.add_argument("--size", type=int, default=64, help="side of the LR image")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--peer", choices=["published", "captum"], default="published")
    parser.add_argument("--cone", choices=["auto", "off"], default="auto")
    parser.add_argument("--steps", type=int, help="gradients of ours (default: found by the error)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--photograph", default="cat")
    parser.add_argument("--time-alone", action="store_true", help="no errors: 21 gradients against 50")
    parser.add_argument("--alone", choices=["ours", "published"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = network_of(arguments.network, arguments.data)
    photo = next(path for path in photographs() if path.stem == arguments.photograph)
    lr = downsample(read_image(photo), network.scale)
    start = max((lr.shape[-1] - arguments.size) // 2, 0)
    lr = lr[..., start : start + arguments.size, start : start + arguments.size].contiguous()
    middle = int(lr.shape[-1] * network.scale) // 2 - 8
    window = Window(middle, middle, 16, 16)

    options = {"path": "linear:black"} if arguments.peer == "captum" else {}
    options |= {"window": window, "precision": arguments.precision, "cone": arguments.cone}
    them = captums if arguments.peer == "captum" else published

    def ours(steps: int | str) -> np.ndarray:
        return sr_hooks.lam(network, lr, steps=steps, **options).attribution

    network.module.eval()
    if arguments.alone:
        network.scale  # noqa: B018  probed before we count
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts again from now
        before = memory("VmRSS")
        them(network, lr, window, 3) if arguments.alone == "published" else ours(arguments.steps or "auto")
        print(memory("VmHWM") - before)
        return

    steps, gradients, facts = arguments.steps or 21, arguments.steps or 21, {}
    if not arguments.time_alone:
        reference = sr_hooks.lam(network, lr, steps=257, **{**options, "precision": "float32"}).attribution
        target = published_reference(network, lr, window) if arguments.peer == "published" else reference
        bar = relative(them(network, lr, window), target)
        steps, error, gradients = least(
            lambda steps: sr_hooks.lam(network, lr, steps=steps, **options), reference, bar, arguments.steps
        )
        facts = {"their error": round(bar, 4), "our error": round(error, 4)}
        facts["our error at 21"] = round(relative(ours(21), reference), 4)
    ours(3)  # calibration, recording and proof, once for a network
    sides = {
        "their": lambda: them(network, lr, window),
        "our": lambda: ours(steps),
        "whole floor": lambda: whole_floor(network, lr, window, gradients),
        "cone floor": cone_floor(network, lr, window, gradients, arguments.precision),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(arguments.repeats):
        for name, side in sides.items():
            begin = time.process_time()
            side()
            seconds[name].append(time.process_time() - begin)
    ratios = [a / b for a, b in zip(seconds["their"], seconds["our"], strict=True)]
    middle = {name: statistics.median(each) for name, each in seconds.items()}
    cone = sr_hooks.lam(network, lr, steps=2, **options).scalars["cone"]
    row = {
        "analysis": "LAM",
        "case": f"{arguments.network}, LR {lr.shape[-2]}x{lr.shape[-1]}, {arguments.precision}",
        "against": {"captum": "Captum IntegratedGradients, 50", "published": "published, 50"}[arguments.peer],
        "their s": round(middle["their"], 2),
        "our s": round(middle["our"], 2),
        "ratio": round(statistics.median(ratios), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "our gradients": gradients,
        "our steps": steps,
        "over the cone's floor": round(middle["our"] / middle["cone floor"], 3) if isinstance(cone, dict) else None,
        "over the whole floor": round(middle["our"] / middle["whole floor"], 3),
        "cone": cone,
        "their MiB": round(peak(arguments, "published", steps)),
        "our MiB": round(peak(arguments, "ours", steps)),
        **facts,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
