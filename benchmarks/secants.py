"""Secants between the nodes of LAM's path, against gradients at the nodes: a prototype, and the table that it gives.

    OMP_NUM_THREADS=1 python benchmarks/secants.py --data shared/data --networks demo:baseline demo:target

Between two neighbouring nodes every ReLU and LeakyReLU has the slope of its secant, (f(b) - f(a)) / (b - a), in the
backward, and so has the objective's root. The sum over intervals is then the objective's change, but for rounding, and
n nodes cost n forwards and backwards, as n gradients do. Networks with other nonlinearities are not covered.

Each cell has three relative L2 errors: gradients at LAM's own n nodes, secants between these nodes, and secants between
n equally spread nodes; the reference is LAM with 129 gradients. The last column is the automatic mode, its error, and
what the secants' sum lacks of the objective's change.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lam_accuracy import cases
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import sr_hooks
from sr_hooks.attribution.image_paths import make_path
from sr_hooks.attribution.path_length import path_lengths, time_at
from sr_hooks.images.windows import Window

COUNTS = (5, 9, 13, 17, 21, 33)
AT_ONCE = 9  # nodes in a batch; neighbouring batches share a node


class Rectifier(torch.autograd.Function):
    """LeakyReLU of a batch of nodes; row k of the backward has the secant's slope between the rows k and k + 1."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, slope: float) -> torch.Tensor:
        ctx.save_for_backward(z)
        ctx.slope = slope
        return F.leaky_relu(z, slope)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (z,), (gradient,) = ctx.saved_tensors, gradients
        step, rise = z[1:] - z[:-1], F.leaky_relu(z, ctx.slope).diff(dim=0)
        at_nodes = torch.where(z > 0, 1.0, ctx.slope)
        middle = (at_nodes[1:] + at_nodes[:-1]) / 2
        secant = torch.where(step.abs() > 1e-9, rise / torch.where(step == 0, 1.0, step), middle)
        return torch.cat([gradient[:-1] * secant, torch.zeros_like(gradient[-1:])]), None


class Secants(TorchFunctionMode):
    """While open, ReLU and LeakyReLU are `Rectifier`."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in (F.relu, torch.relu, torch.relu_, torch.Tensor.relu):
            return Rectifier.apply(args[0], 0.0)
        if function is F.leaky_relu:
            return Rectifier.apply(args[0], args[1] if len(args) > 1 else kwargs.get("negative_slope", 0.01))
        return function(*args, **kwargs)


def intervals(network: sr_hooks.Network, points: torch.Tensor, window: Window) -> torch.Tensor:
    """(C,h,w) float64: the attribution of the intervals between the points (K,C,h,w)."""
    x = points.detach().clone().requires_grad_()
    with Secants():
        output = network(x)
    down, right = differences(output.detach(), window)
    root = (down.square() + right.square() + 1e-6).sqrt()
    roots = root[1:] + root[:-1]
    of_down, of_right = differences(output[:-1], window)
    value = of_down * (down[1:] + down[:-1]) / roots + of_right * (right[1:] + right[:-1]) / roots
    (slopes,) = torch.autograd.grad(value.sum(), x)
    return (slopes[:-1].double() * points.double().diff(dim=0)).sum(dim=0)


def differences(output: torch.Tensor, window: Window) -> tuple[torch.Tensor, torch.Tensor]:
    patch = window.crop(output, margin=1)
    return patch[..., :-1, :-1] - patch[..., 1:, :-1], patch[..., :-1, :-1] - patch[..., :-1, 1:]


def by_secants(network: sr_hooks.Network, lr: torch.Tensor, window: Window, positions: Any) -> torch.Tensor:
    path = make_path("blur")
    time = time_at(path_lengths(path, lr).tolist())
    points = path(lr, [time(float(position)) for position in positions])
    starts = range(0, len(points) - 1, AT_ONCE - 1)
    parts = [intervals(network, points[start : start + AT_ONCE], window) for start in starts]
    return torch.stack(parts).sum(dim=0)


def row(network: sr_hooks.Network, lr: torch.Tensor) -> list[str]:
    """The cells of one network and image."""
    middle = int(lr.shape[-1] * network.scale) // 2 - 8
    window = Window(middle, middle, 16, 16)
    reference = torch.from_numpy(sr_hooks.lam(network, lr, window=window, steps=129).attribution).double()

    def error(attribution: torch.Tensor) -> float:
        return float((attribution.double() - reference).norm() / reference.norm())

    cells = []
    with network.prepared():
        for count in COUNTS:
            result = sr_hooks.lam(network, lr, window=window, steps=count)
            at_nodes = by_secants(network, lr, window, result.arrays["nodes"])
            spread = by_secants(network, lr, window, np.linspace(0, 1, count))
            errors = (error(torch.from_numpy(result.attribution)), error(at_nodes), error(spread))
            cells.append(" / ".join(f"{value:.4f}" for value in errors))
        automatic = sr_hooks.lam(network, lr, window=window)
        gap = abs(float(at_nodes.sum()) - automatic.scalars["objective_change"]) / float(at_nodes.abs().sum())
    automatic_error = error(torch.from_numpy(automatic.attribution))
    return [*cells, f"{automatic.steps}: {automatic_error:.4f}; {gap:.0e}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the development data")
    parser.add_argument("--networks", nargs="+", default=["demo:baseline", "demo:target", "baseline", "target"])
    parser.add_argument("--photographs", nargs="+", default=["astronaut", "cat"])
    parser.add_argument("--size", type=int, default=48, help="side of the LR image")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| network | image | {' | '.join(map(str, COUNTS))} | automatic; gap of secants |")
    print("|---|---|" + "---|" * (len(COUNTS) + 1))
    for name, network, image, lr in cases(arguments.data, arguments.networks, arguments.photographs, arguments.size):
        print(f"| {name} | {image} | {' | '.join(row(network, lr))} |", flush=True)


if __name__ == "__main__":
    main()
