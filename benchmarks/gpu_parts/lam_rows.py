"""The rows of LAM: one network each, and many LAMs in three ways."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from gpu_parts import published
from gpu_parts.measuring import device_seconds, kernels_share, peak_mib, seconds, seconds_and_peak
from gpu_parts.networks import CASES, Case, build, lr_photo
from gpu_parts.setting import Bench, Row

import sr_hooks
from sr_hooks.attribution import make_objective, make_path
from sr_hooks.images import Window


def _middle(network: sr_hooks.Network, lr: torch.Tensor, size: int = 16) -> tuple[int, int, int]:
    start = int(lr.shape[-1] * network.scale) // 2 - size // 2
    return start, start, size


def _relative(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def one_network(bench: Bench, case: Case) -> Row:
    """One network: published, ours at a fixed number of gradients and automatic, the floor, and the errors of each."""
    sizes, device = bench.sizes, bench.device
    network = build(case, device, quick=bench.quick)
    lr = lr_photo(network, sizes.side)
    window = _middle(network, lr)
    theirs = partial(published.lam, network.module, lr, window, device, sizes.published)
    fixed = partial(sr_hooks.lam, network, lr, window=window, steps=sizes.steps)
    free = partial(sr_hooks.lam, network, lr, window=window)
    automatic, at_steps = free(), fixed()  # facts, calibration, proof, and a recording a size of batches, once
    published.lam(network.module, lr, window, device, 2)
    their_seconds = seconds(theirs, device, 1)
    fixed_seconds, free_seconds = (seconds(call, device, sizes.repeats) for call in (fixed, free))
    floor = _floor(bench, network, lr, window)
    with network.prepared():
        their_truth = published.lam_reference(network.module, lr, window, device, sizes.reference)
    truth = sr_hooks.lam(network, lr, window=window, steps=2 * sizes.reference + 1).attribution
    return {
        "published s": their_seconds,
        f"ours at {sizes.steps} s": fixed_seconds,
        "automatic s": free_seconds,
        "gradients": automatic.steps,
        f"published / at {sizes.steps}": their_seconds / fixed_seconds,
        "published / automatic": their_seconds / free_seconds,
        "floor s": floor,
        f"at {sizes.steps} / floor": fixed_seconds / floor,
        "kernels' share": kernels_share(free, device),
        "error published": _relative(theirs(), their_truth),
        f"error at {sizes.steps}": _relative(at_steps.attribution, truth),
        f"stated at {sizes.steps}": at_steps.error,
        "error automatic": _relative(automatic.attribution, truth),
        "stated automatic": automatic.error,
        "cone": _cone(automatic),
        "published MiB": peak_mib(partial(published.lam, network.module, lr, window, device, 1), device),
        "our MiB": peak_mib(free, device),
    }


def _cone(result: sr_hooks.LamResult) -> str:
    cone = result.scalars["cone"]
    return f"{cone['work']:.2g} of the work" if isinstance(cone, dict) else str(cone)


def _floor(bench: Bench, network: sr_hooks.Network, lr: torch.Tensor, window: Any) -> float:
    """Seconds on the device of as many gradients in one bare batch: a forward and a backward of the module."""
    objective = make_objective("gradient")
    points = make_path("blur")(lr, torch.linspace(0, 1, bench.sizes.steps).tolist()).to(bench.device)
    box = Window(window[0], window[1], window[2], window[2])

    def bare() -> torch.Tensor:
        x = points.clone().requires_grad_()
        return torch.autograd.grad(objective(network(x), x, box).sum(), x)[0]

    with network.prepared():
        bare()
        return device_seconds(bare, bench.device)


def growing_image(bench: Bench) -> Row:
    """One window in images of growing size: what it costs where its cone is computed alone."""
    network = build(CASES[1], bench.device, quick=bench.quick)
    row: Row = {}
    for side in (16, 32, 64) if bench.quick else (128, 256, 512):
        lr = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        call = partial(
            sr_hooks.lam, network, lr, window=_middle(network, lr), steps=bench.sizes.steps, picture="window"
        )
        row[f"cone at LR {side}"] = _cone(call())
        row[f"LR {side} s"] = seconds(call, bench.device, bench.sizes.repeats)
        row[f"LR {side} MiB"] = peak_mib(call, bench.device)
    return row


def many_lams(bench: Bench) -> Row:
    """As many LAMs in as many calls, in one call with a batch of images, and as windows of one image."""
    sizes, device = bench.sizes, bench.device
    network = build(CASES[1], device, quick=bench.quick)
    images = torch.cat([lr_photo(network, sizes.side, number) for number in range(sizes.lams)])
    window = _middle(network, images)
    room = int(images.shape[-1] * network.scale) - 16
    windows = [((29 * number) % room, (41 * number) % room, 16) for number in range(sizes.lams)]

    def calls() -> None:
        for image in images.split(1):
            sr_hooks.lam(network, image, window=window)

    ways = {
        "calls": calls,
        "a batch of images": partial(sr_hooks.lam, network, images, window=[window]),
        "windows of one image": partial(sr_hooks.lam, network, images[:1], window=windows),
    }
    sr_hooks.lam(network, images[:2], window=[window])
    row: Row = {"LAMs": sizes.lams}
    theirs = partial(published.lam, network.module, images[:1], window, device, sizes.published)
    published.lam(network.module, images[:1], window, device, 2)
    row["published s, scaled from 1"] = seconds(theirs, device, 1) * sizes.lams
    for name, call in ways.items():
        if call is not calls:  # batches of a new size are recorded once
            row[f"{name}, first s"] = seconds(call, device, 1)
        row[f"{name} s"], row[f"{name} MiB"] = seconds_and_peak(call, device)
    return row
