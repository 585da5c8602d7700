"""The rows of benchmarks/gpu.py: each returns what it measured, by the names of the table's columns."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from gpu_parts import published
from gpu_parts.lam_rows import growing_image, many_lams, one_network
from gpu_parts.measuring import device_seconds, seconds, seconds_and_peak
from gpu_parts.networks import CASES, REPOSITORY, build, pair, photo
from gpu_parts.setting import Bench, Row
from torch.nn import functional as F

import sr_hooks
from sr_hooks.core import registered
from sr_hooks.core.registry import contributions
from sr_hooks.degradations import make_lr
from sr_hooks.images import downsample


def rows_of(bench: Bench) -> dict[str, Callable[[], Row]]:
    """Name to the function that measures the row."""
    lams = {f"LAM {case.name}": partial(one_network, bench, case) for case in CASES}
    others = {
        "LAMs in three ways": many_lams,
        "growing image": growing_image,
        "DDR": ddr,
        "FAIG": faig,
        "CSM": csm,
        "CEM": cem,
        "armed watch": armed_watch,
    }
    return lams | {name: partial(measure, bench) for name, measure in others.items()}


def ddr(bench: Bench) -> Row:
    """The features of many patches before the last convolution and their principal components."""
    sizes, device = bench.sizes, bench.device
    network = build(CASES[0], device, quick=bench.quick)
    side = 64 if not bench.quick else 32
    images = [photo(side, number) for number in range(sizes.patches // 3)]
    kinds = ("clean", "blur:2", "noise:20")
    ours = partial(
        sr_hooks.ddr,
        network,
        images,
        degradations=kinds,
        layers="conv_last:in",
        patch=side,
        patches=len(images),
        tsne=0,
    )
    inputs = torch.cat([downsample(image, network.scale) for image in images] * 3).to(device)

    def one_by_one() -> None:
        features: list[torch.Tensor] = []
        handle = network.module.conv_last.register_forward_pre_hook(
            lambda module, args: features.append(args[0].detach().flatten().cpu())
        )
        with torch.no_grad():
            for x in inputs.split(1):
                network.module(x)
        handle.remove()
        matrix = torch.stack(features)
        torch.pca_lowrank(matrix, min(50, len(matrix)))  # randomised, as scikit-learn's PCA(50) at this size

    def bare() -> None:
        with torch.no_grad():
            for x in inputs.split(16):
                network.module(x)

    ours()
    their_seconds, (our_seconds, peak) = seconds(one_by_one, device, 1), seconds_and_peak(ours, device)
    return {
        "patches": len(inputs),
        "published s": their_seconds,
        "ours s": our_seconds,
        "published / ours": their_seconds / our_seconds,
        "floor s": device_seconds(bare, device, 2),
        "our MiB": peak,
    }


def faig(bench: Bench) -> Row:
    """Against two passes of 100 left-rule steps with the network built anew in each; a part of these is timed."""
    sizes, device = bench.sizes, bench.device
    baseline, target, weights = pair(device, quick=bench.quick)
    side = 2 * sizes.faig_side
    gts = [photo(side, number) for number in range(sizes.faig_images)]
    degraded = {
        "blur": [_degraded(gt, "blur:2") for gt in gts],
        "noise": [_degraded(gt, "noise:25.5") for gt in gts],
    }
    ours = partial(sr_hooks.faig, baseline, target, degraded=degraded, gt=gts, any_order=True)
    images, run = sizes.faig_timed
    arguments = {"upscale": 2, **({"num_feat": 16, "num_block": 3} if bench.quick else {})}
    start, end = baseline.module.state_dict(), target.module.state_dict()

    def theirs(images: int, run: int) -> None:
        for index in range(images):
            for lrs in degraded.values():
                lr, gt = lrs[index].to(device), gts[index].to(device)
                published.faig_gradients(lambda: type(baseline.module)(**arguments), start, end, lr, gt, 100, run)

    result = ours()
    theirs(1, 1)
    factor = 2 * 100 / run * sizes.faig_images / images
    their_seconds, their_peak = seconds_and_peak(partial(theirs, images, run), device)
    our_seconds, peak = seconds_and_peak(ours, device)
    their_seconds *= factor
    return {
        "weights": weights,
        "images": sizes.faig_images,
        "published s": their_seconds,
        "of it run": 1 / factor,
        "ours s": our_seconds,
        "gradients": result.scalars["gradients"],
        "published / ours": their_seconds / our_seconds,
        "stated error": result.error,
        "published MiB": their_peak,
        "our MiB": peak,
    }


def _degraded(gt: torch.Tensor, kind: str) -> torch.Tensor:
    return make_lr(gt, kind, scale=2, seed=0)


def _plugin(stack: ExitStack, name: str) -> None:
    """Register a plugin of this repository, unless it is installed."""
    folder = REPOSITORY / f"plugins/{name}"
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    module = __import__(name.replace("-", "_"))
    if name.removeprefix("sr-hooks-") not in contributions("register_analyses"):
        stack.enter_context(registered(module, name=f"benchmark-{name}"))


def csm(bench: Bench) -> Row:
    """Saliency and ablations at every block against a network built anew for every tap and whole forwards."""
    sizes, device = bench.sizes, bench.device
    network = build(CASES[0], device, quick=bench.quick)
    hr = photo(sizes.csm_side)
    lr = downsample(hr, network.scale).to(device)
    blocks = [f"body.{number}" for number in range(len(network.module.body))]
    taps = [*blocks, "conv_first", "upconv1", "conv_hr"]
    arguments = {"upscale": 2, **({"num_feat": 16, "num_block": 3} if bench.quick else {})}
    weights = network.module.state_dict()
    channels = [network.module.get_submodule(tap).out_channels for tap in taps[-3:]]
    ablations = len(blocks) * channels[0] + sum(channels)
    chosen = range(0, channels[0], channels[0] // sizes.csm_channels)

    def theirs(channels: Sequence[int]) -> None:
        for tap in taps:
            published.csm_of_tap(lambda: type(network.module)(**arguments), weights, tap, lr, hr.to(device), channels)

    with ExitStack() as stack:
        _plugin(stack, "sr-hooks-csm")
        ours = partial(sr_hooks.run, "csm", network, hr, layers=taps)
        ours()
        our_seconds, peak = seconds_and_peak(ours, device)
    theirs(())
    few = seconds(partial(theirs, chosen), device, 1)
    rebuilding = seconds(partial(theirs, ()), device, 1)
    each = max(few - rebuilding, 0.0) / (len(taps) * len(chosen))
    their_seconds = rebuilding + each * ablations
    return {
        "ablations": ablations,
        "published s": their_seconds,
        "of them run": len(taps) * len(chosen),
        "ours s": our_seconds,
        "published / ours": their_seconds / our_seconds,
        "our MiB": peak,
    }


def cem(bench: Bench) -> Row:
    """Against one whole forward for every block and draw; a part of these is run."""
    sizes, device = bench.sizes, bench.device
    network = build(CASES[0], device, quick=bench.quick)
    side = min(sizes.cem_side, 256)
    hr = photo(side)
    start = (side - 32) // 2 // 8 * 8
    options = {"window": (start, start, 32), "block": 8, "coarse": 3, "fine": 10, "lam": False, "cache": ""}
    with ExitStack() as stack:
        _plugin(stack, "sr-hooks-cem")
        ours = partial(sr_hooks.run, "cem", network, hr, **options)
        result = ours()
        our_seconds, peak = seconds_and_peak(ours, device)
    draws = result.arrays["draws"].ravel()
    forwards = int(np.maximum(draws, 3).sum())
    lr, gt = downsample(hr, network.scale), hr.to(device)
    patch = lr[..., :4, :4].clone()
    run = max(forwards // sizes.cem_share, 4)

    def theirs() -> None:
        with torch.no_grad():
            for number in range(run):
                image = lr.clone()
                at = 4 * number % (lr.shape[-1] - 4)
                image[..., at : at + 4, at : at + 4] = patch
                window = slice(start, start + 32)
                published.psnr(network.module(image.to(device))[..., window, window], gt[..., window, window])

    theirs()
    their_seconds = seconds(theirs, device, 1) * forwards / run
    return {
        "published forwards": forwards,
        "of them run": run,
        "our forwards": result.scalars["forwards"],
        "published s": their_seconds,
        "ours s": our_seconds,
        "published / ours": their_seconds / our_seconds,
        "our MiB": peak,
    }


def armed_watch(bench: Bench) -> Row:
    """Iterations of a training with a watch that is never due, and without, in turn."""
    device, steps = bench.device, bench.sizes.train_steps
    network = build(CASES[0], device, quick=bench.quick).module.train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-5)
    side = 24 if not bench.quick else 12
    x, gt = torch.rand(4, 3, side, side, device=device), torch.rand(4, 3, 2 * side, 2 * side, device=device)

    def iterate() -> None:
        optimizer.zero_grad()
        F.l1_loss(network(x), gt).backward()
        optimizer.step()

    def block() -> float:
        return seconds(lambda: [iterate() for _ in range(5)], device, 1) / 5

    block()
    plain, armed = [], []
    image = torch.rand(1, 3, side, side)
    for _ in range(steps // 5 + 1):
        plain.append(block())
        with (
            tempfile.TemporaryDirectory() as folder,
            sr_hooks.watch(
                network,
                optimizer,
                lam={"windows": [[4, 4, 8]], "every": 10**9, "image": image},
                sinks=["log"],
                folder=folder,
            ),
        ):
            block()
            armed.append(block())
    differences = [one - other for one, other in zip(armed, plain, strict=True)]
    middle = statistics.median(plain)
    return {
        "iteration ms": 1000 * middle,
        "armed minus plain": statistics.median(differences) / middle,
        "iterations": 5 * len(plain),
    }
