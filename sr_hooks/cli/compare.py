"""The command `compare`: what changed between two results, or between two checkpoints of one network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sr_hooks.comparison.compare import compare
from sr_hooks.core.text import cell, label
from sr_hooks.core.yaml_files import parse_yaml
from sr_hooks.files import is_folder
from sr_hooks.images.image import downsample, read_image
from sr_hooks.networks.network import Network
from sr_hooks.results.result import RESULT_FILE
from sr_hooks.results.writing import check_folder

__all__ = ["add_arguments"]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks compare`."""
    command.add_argument("first", metavar="A", help="a result's folder; or a checkpoint, or another --model")
    command.add_argument("second", metavar="B", help="the same, after")
    command.add_argument("--arch", metavar="MODEL", help="of A and B, where those are weights alone")
    command.add_argument("--arguments", metavar="YAML", help="of the architecture, e.g. '{num_feat: 64, upscale: 2}'")
    command.add_argument("--image", metavar="FILE", help="of two networks: the ground truth (HR) whose map is made")
    command.add_argument("--lr", action="store_true", help="--image is the networks' input")
    command.add_argument("--window", nargs="+", metavar="T,L,SIZE", help="in output pixels")
    command.add_argument("--images", nargs="+", metavar="FILE", help="of two networks: ground truth for DDR and FAIG")
    command.add_argument("--degradations", nargs="+", metavar="NAME", help="for DDR and FAIG (blur:2 noise:25.5)")
    command.add_argument("--layers", nargs="+", metavar="TAP", help="for DDR (default: auto)")
    command.add_argument("--out", type=Path, default=Path("compare_result"), help="folder (default: compare_result)")
    command.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> None:
    out = check_folder(arguments.out, marker=RESULT_FILE)
    options: dict[str, Any] = {
        "degradations": arguments.degradations,
        "layers": arguments.layers,
        "images": arguments.images,
        "window": " ".join(arguments.window) if arguments.window else None,
    }
    pair = [_result_or_network(name, arguments) for name in (arguments.first, arguments.second)]
    if arguments.image is not None:
        image = read_image(arguments.image)
        if not arguments.lr:
            network = pair[0] if isinstance(pair[0], Network) else None
            image = downsample(image, network.scale) if network else image
        options["image"] = image
    result = compare(*pair, **{key: value for key, value in options.items() if value is not None})
    result.save(out)
    for key, value in result.headline().items():
        print(f"{label(key):30s} {cell(value)}")
    print(f"{'verdict':30s} {result.verdict}")
    print(f"{'folder':30s} {out}")


def _result_or_network(name: str, arguments: argparse.Namespace) -> str | Network:
    """The name of a result's folder as it is; the network that any other name stands for, loaded."""
    if is_folder(name):
        return name
    if arguments.arch is None:
        return Network.load(name)
    built_with = parse_yaml(arguments.arguments, name="--arguments") if arguments.arguments else None
    return Network.load(arguments.arch, built_with, weights=name)
