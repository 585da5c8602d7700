"""The command `compare`: what changed between two results, or between two checkpoints of one network."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sr_hooks.cli.networks import add_device_flag, arguments_of, device_of
from sr_hooks.cli.terminal.answer import Answer, add_answer_flags, add_out_flags
from sr_hooks.cli.terminal.figure import add_figure_flag, figure_options
from sr_hooks.core.text import cell, label
from sr_hooks.errors import OptionError
from sr_hooks.files.regular_files import is_folder

if TYPE_CHECKING:
    from sr_hooks.networks.network import Network

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
    command.add_argument(
        "--background", metavar="COLOUR", help="the colour below transparent pixels: white, #808080; else refused"
    )
    add_figure_flag(command)
    add_out_flags(command, "compare_result")
    add_device_flag(command)
    add_answer_flags(command)
    command.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> Answer:
    from sr_hooks.cli.terminal.saving import free_folder, record_of, save_results, where
    from sr_hooks.comparison.compare import compare
    from sr_hooks.images.image import downsample, read_image
    from sr_hooks.networks.network import Network
    from sr_hooks.results.drawing import refuse_options, set_options

    free_folder(arguments.out, overwrite=arguments.overwrite)  # refused now, and not after the work
    device, figure = device_of(arguments.device), figure_options(arguments)
    options: dict[str, Any] = {
        "degradations": arguments.degradations,
        "layers": arguments.layers,
        "images": None if arguments.images is None else _images(arguments.images, arguments.background),
        "window": _window(arguments.window),
    }
    pair = [_result_or_network(name, arguments, device) for name in (arguments.first, arguments.second)]
    if arguments.image is not None:
        network = pair[0] if isinstance(pair[0], Network) else None
        bands = network.channels if network else None
        image = read_image(arguments.image, background=arguments.background, bands=bands)
        if network and not arguments.lr:
            image = downsample(image, network.scale)
        options["image"] = image
    result = compare(*pair, **{key: value for key, value in options.items() if value is not None})
    refuse_options("compare", result.figure_options(), figure)
    set_options(result, figure)
    out, _ = save_results([("compare", result)], arguments.out, overwrite=arguments.overwrite)
    lines = [f"{label(key):30s} {cell(value)}" for key, value in result.headline().items()]
    lines += [f"{'verdict':30s} {result.verdict}", f"{'folder':30s} {where(out, arguments.out)}"]
    record = {"command": "compare", "folder": str(out.absolute()), "results": [record_of(result, out)]}
    return Answer("\n".join(lines), record)


def _images(files: list[str], background: str | None) -> list[Any]:
    """The files as they are, or with transparent pixels composed on the colour."""
    from sr_hooks.images.image import read_image

    return [*files] if background is None else [read_image(file, background=background) for file in files]


def _window(texts: list[str] | None) -> Any:
    """The one window of the comparison."""
    from sr_hooks.images.windows import parse_windows

    if texts is None:
        return None
    windows, _ = parse_windows(texts)
    if len(windows) > 1:
        raise OptionError(f"compare takes one window, not {len(windows)}")
    return windows[0]


def _result_or_network(name: str, arguments: argparse.Namespace, device: str) -> str | Network:
    """The name of a result's folder as it is; the network that any other name stands for, loaded, on the device."""
    from sr_hooks.networks.network import Network

    if is_folder(name):
        return name
    if arguments.arch is None:
        return Network.load(name, device=device)
    built_with = arguments_of(arguments.arguments) or None
    return Network.load(arguments.arch, built_with, weights=name, device=device)
