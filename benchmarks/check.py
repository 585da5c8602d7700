"""Run the faithfulness checks on true maps and on wrong ones, for each network: the tables of docs/check.md.

    OMP_NUM_THREADS=1 python benchmarks/check.py --data shared/data

One row a network and photograph: the verdict and the number behind it. Minutes a row on one thread for real networks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.images.image import downsample, read_image
from sr_hooks.networks.network import Network
from sr_hooks.statistics.map_correlation import distance_to_window


class Linear(nn.Module):
    """Convolutions of 5x5, or one of 3x3, without anything between them."""

    def __init__(self, deep: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        ends = [nn.Conv2d(3, 8, 5, padding=2), nn.Conv2d(8, 8, 5, padding=2), nn.Conv2d(8, 12, 3, padding=1)]
        self.layers = nn.Sequential(*ends) if deep else nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.layers(x), 2)


def network_of(name: str, data: Path) -> Network:
    if name.startswith("demo:"):
        return demo_network(name.removeprefix("demo:"))
    if name.startswith("linear"):
        return Network(Linear(name == "linear, 3 layers"), name=name)
    if name == "DnCNN":
        return Network.from_file(data / "weights/dncnn_color_blind.pth")
    weights = data / f"weights/msrresnet_x2_{name.rsplit(' ', 1)[1]}.pth"
    return Network.from_basicsr("MSRResNet", {"upscale": 2}, weights=weights)


def edges(network: Network, image: torch.Tensor, window: Any) -> np.ndarray:
    """Gradient magnitude of the grey input."""
    dy, dx = np.gradient(image[0].mean(dim=0).numpy())
    return np.hypot(dy, dx)


def noise(network: Network, image: torch.Tensor, window: Any) -> np.ndarray:
    return np.random.default_rng(0).normal(size=tuple(image.shape[1:]))


def blob(network: Network, image: torch.Tensor, window: Any) -> np.ndarray:
    """A bell around the window, whatever the network."""
    h, w = image.shape[-2:]
    return np.exp(-(distance_to_window(h, w, window, network.scale) ** 2) / 8)


def gradient(network: Network, image: torch.Tensor, window: Any) -> torch.Tensor:
    """The plain gradient at the image, times the image: honest, but no integral."""
    x = image.clone().requires_grad_()
    with torch.enable_grad():
        patch = window.crop(network(x), margin=1)
        dy, dx = patch[..., 1:, :-1] - patch[..., :-1, :-1], patch[..., :-1, 1:] - patch[..., :-1, :-1]
        (slope,) = torch.autograd.grad((dy * dy + dx * dx + 1e-6).sqrt().sum(), x)
    return (slope * image)[0]


def absolute(network: Network, image: torch.Tensor, window: Any) -> torch.Tensor:
    """The same without its signs."""
    return gradient(network, image, window).sum(dim=0).abs()


def row(first: list[str], card: sr_hooks.Card) -> str:
    whole, cascade, curves, others = (verdict.figures for verdict in card.verdicts)
    words = [verdict.word for verdict in card.verdicts]
    area, width = curves.get("area", {}), curves.get("half_width", {})
    start, end = cascade["correlation"][0], cascade["correlation"][-1]
    cells = [
        f"{words[0]}, gap {whole['gap']:.1%}",
        f"{words[1]}, {start:.2f} to {end:.2f} ± {cascade['half_width'][-1]:.2f}",
        f"{words[2]}, {area.get('random', 0):+.2f} ± {width.get('random', 0):.2f}, "
        f"{area.get('nearest', 0):+.3f} ± {width.get('nearest', 0):.3f}",
        f"{words[3]}, {min(others['correlation'].values()):.2f}, {min(others['local_correlation'].values()):.2f}",
    ]
    return "| " + " | ".join([*first, *cells]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the development data")
    parser.add_argument(
        "--networks",
        nargs="+",
        default=[
            *("linear, 1 layer", "linear, 3 layers", "demo:baseline", "demo:target"),
            *("MSRResNet x2 baseline", "MSRResNet x2 target", "DnCNN"),
        ],
    )
    parser.add_argument("--photographs", nargs="+", default=["cat", "coffee", "rocket"])
    parser.add_argument("--size", type=int, default=40, help="side of the input")
    parser.add_argument("--lies", action="store_true", help="of the demo's baseline: other makers of maps")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | image | completeness | randomisation | deletion: random, nearest | baselines: all, local |")
    for name in ["demo:baseline"] if arguments.lies else arguments.networks:
        network = network_of(name, arguments.data)
        for path in [path for path in photographs() if path.stem in arguments.photographs]:
            lr = downsample(read_image(path), 4)
            start = (lr.shape[-1] - arguments.size) // 2
            lr = lr[..., start : start + arguments.size, start : start + arguments.size].contiguous()
            middle = int(arguments.size * network.scale) // 2 - 8
            result = sr_hooks.lam(network, lr, window=(middle, middle, 16))
            for maker in (edges, noise, blob, gradient, absolute) if arguments.lies else (None,):
                card = sr_hooks.check(result, attribute=maker)
                print(row([maker.__name__ if maker else name, path.stem], card), flush=True)


if __name__ == "__main__":
    main()
