"""A command for each analysis, ours and those of plugins: flags from its options, results to a folder, a table."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import Any

import torch

from sr_hooks.analyses.base import blamed, execute, joined
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.cli.networks import add_network_flags, load_network
from sr_hooks.cli.show import add_figure_flag, figure_options, print_result
from sr_hooks.core import registry as plugins
from sr_hooks.core.options import add_flags, from_flags
from sr_hooks.core.text import text_table
from sr_hooks.errors import ImageError
from sr_hooks.faithfulness.check import check
from sr_hooks.images.clips import by_frames, read_input
from sr_hooks.images.image import downsample
from sr_hooks.networks.network import Network
from sr_hooks.results.drawing import set_options
from sr_hooks.results.result import RESULT_FILE, Result
from sr_hooks.results.writing import check_folder

__all__ = ["add_analyses", "summary_of", "usable_analyses"]


def usable_analyses() -> dict[str, Any]:
    """Name to class of every analysis whose options can be flags; any other is disabled, and that is logged."""
    return {name: kind for name, (kind, _) in _usable().items()}


def _usable() -> dict[str, tuple[Any, argparse.ArgumentParser]]:
    """Name to class and flags."""
    usable = {}
    for name, kind in plugins.contributions("register_analyses").items():
        try:
            usable[name] = kind, _flags(kind)
        except Exception as error:
            plugins.registry().disable("register_analyses", name, "options", error)
    return usable


def summary_of(kind: Any) -> str:
    """The first line of an analysis's docstring, or its name."""
    return str(kind.__doc__ or kind.name).strip().splitlines()[0]


def add_analyses(commands: Any) -> None:
    """Add a command for each analysis to the subparsers `commands`."""
    for name, (kind, flags) in _usable().items():
        summary = summary_of(kind).replace("%", "%%")
        command = commands.add_parser(name, help=summary, description=summary, parents=[flags])
        command.set_defaults(command=functools.partial(_analyse, name, kind))


def _flags(kind: Any) -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(add_help=False)
    add_network_flags(command)
    takes_lr = kind.takes == "lr"
    what = "input (LR) images" if takes_lr else "ground-truth (HR) images"
    command.add_argument(
        "--image", nargs="+", required=True, metavar="FILE", help=f"{what}: files, or folders of frames"
    )
    command.add_argument(
        "--background",
        metavar="COLOUR",
        help="the colour below transparent pixels: white, #808080; else they are refused",
    )
    if takes_lr:
        command.add_argument(
            "--hr", action="store_true", help="the images are HR: shrink them by the scale first (bicubic)"
        )
    command.add_argument("--out", type=Path, default=None, help=f"result folder (default: {kind.name}_result)")
    if issubclass(kind.result_type, LamResult):
        command.add_argument("--check", action="store_true", help="check the faithfulness of every map; takes longer")
    add_figure_flag(command)
    add_flags(command, kind.options_type)
    return command


def _analyse(name: str, kind: Any, arguments: argparse.Namespace) -> None:
    out = check_folder(arguments.out or Path(f"{name}_result"), marker=RESULT_FILE)
    with blamed(kind, "options"):
        options = from_flags(kind.options_type, arguments)
    figure = figure_options(arguments)
    files = [Path(file) for file in arguments.image]
    images = [read_input(file, arguments.background) for file in files]
    network = load_network(arguments)
    truths: list[Any] = [None] * len(images)
    if getattr(arguments, "hr", False):
        truths = images
        images = [by_frames(functools.partial(downsample, scale=network.scale), image) for image in images]
    results: list[tuple[str, Result]] = []  # each with the name of its folder
    if kind.joins_images():
        answer = execute(kind, network, images if network.frames else joined(images), options)
        results = [(f"{name}_{i}", r) for i, r in enumerate(answer)] if isinstance(answer, list) else [(name, answer)]
    else:
        for file, image, truth in zip(files, images, truths, strict=True):
            answer = execute(kind, network, image, _with_truth(options, network, image, truth))
            of_image = answer if isinstance(answer, list) else [answer]
            for index, result in enumerate(of_image):
                result.provenance["input_file"] = file.name
                results.append((file.stem + (f"_{index}" if len(of_image) > 1 else ""), result))
    for _, result in results:
        set_options(result, figure)
        if getattr(arguments, "check", False):
            check(result)
    _save(results, out)


def _with_truth(options: Any, network: Network, image: torch.Tensor, truth: torch.Tensor | None) -> Any:
    """The options with the ground truth of an image, as large as the output, where they have a field for it."""
    if truth is None or truth.ndim != 4 or not any(field.name == "gt" for field in dataclasses.fields(options)):
        return options
    height, width = network.output_size(*image.shape[-2:])
    if truth.shape[-2] < height or truth.shape[-1] < width:
        return options
    return dataclasses.replace(options, gt=truth[..., :height, :width])


def _save(results: list[tuple[str, Result]], out: Path) -> None:
    """Save one result in `out`, several in folders of their names below it, and print what they say."""
    if len(results) == 1:
        result = results[0][1]
        result.save(out)
        print_result(result, out)
        return
    names = [name for name, _ in results]
    if len(set(names)) < len(names):
        raise ImageError("two images have the same name, and so would their result folders: rename one")
    for name, result in results:
        result.save(out / name)
    print(text_table([{"result": name, **result.headline(), **_checks(result)} for name, result in results]))
    print(f"written to {out}")


def _checks(result: Result) -> dict[str, str]:
    return {"checks": result.card.word} if result.card is not None else {}
