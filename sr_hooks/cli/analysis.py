"""A command for each analysis, ours and those of plugins: flags from its options, results to a folder, a table."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import torch

from sr_hooks.analyses.base import Analysis, blamed, execute, joined
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.cli.networks import add_analysis_flags, load_network
from sr_hooks.cli.show import result_text
from sr_hooks.cli.terminal.answer import Answer
from sr_hooks.cli.terminal.examples import examples_of, examples_of_plugin
from sr_hooks.cli.terminal.figure import figure_options
from sr_hooks.cli.terminal.saving import free_folder, record_of, save_results, where
from sr_hooks.cli.terminal.values import literal_words
from sr_hooks.core import registry as plugins
from sr_hooks.core.options import add_flags, from_flags
from sr_hooks.core.text import text_table
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.faithfulness.check import check
from sr_hooks.images.clips import by_frames, read_input
from sr_hooks.images.image import downsample
from sr_hooks.networks.network import Network
from sr_hooks.results.drawing import KEY as FIGURE_KEY
from sr_hooks.results.drawing import refuse_options, set_options, taken_by
from sr_hooks.results.result import Result

__all__ = ["ListedAnalysis", "add_analyses", "listed_analyses", "summary_of", "usable_analyses"]

_log = logging.getLogger("sr_hooks")


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


class ListedAnalysis(NamedTuple):
    """An analysis with its one line, its flags, and the words that the types of its options allow behind a flag."""

    name: str
    summary: str
    flags: tuple[str, ...]
    words: Mapping[str, Sequence[str]]


def listed_analyses() -> list[ListedAnalysis]:
    """Every analysis whose options can be flags."""
    return [
        ListedAnalysis(
            name,
            summary_of(kind),
            tuple(flag for action in flags._actions for flag in action.option_strings),
            {
                f"--{field.replace('_', '-')}": words
                for field, hint in get_type_hints(kind.options_type).items()
                if (words := literal_words(hint))
            },
        )
        for name, (kind, flags) in _usable().items()
    ]


def summary_of(kind: Any) -> str:
    """The first line of an analysis's docstring, or its name."""
    return str(kind.__doc__ or kind.name).strip().splitlines()[0]


def add_analyses(commands: Any) -> None:
    """Add a command for each analysis to the subparsers `commands`."""
    for name, (kind, flags) in _usable().items():
        summary = summary_of(kind).replace("%", "%%")
        epilog = examples_of(name) or examples_of_plugin(name, takes_lr=kind.takes == "lr", required=_required(kind))
        command = commands.add_parser(name, help=summary, description=summary, epilog=epilog, parents=[flags])
        command.set_defaults(command=functools.partial(_analyse, name, kind))


def _required(kind: Any) -> list[str]:
    """The options that must be stated."""
    missing = dataclasses.MISSING
    return [f.name for f in dataclasses.fields(kind.options_type) if f.default is f.default_factory is missing]


def _flags(kind: Any) -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(add_help=False)
    can_check = issubclass(kind.result_type, LamResult)
    add_analysis_flags(command, kind.name, takes_lr=kind.takes == "lr", can_check=can_check, divides=_divides(kind))
    add_flags(command, kind.options_type)
    return command


def _divides(kind: Any) -> bool:
    """Whether the work of an analysis divides into parts."""
    return kind.divided.__func__ is not Analysis.divided.__func__  # type: ignore[attr-defined]


def _analyse(name: str, kind: Any, arguments: argparse.Namespace) -> Answer:
    free_folder(arguments.out, overwrite=arguments.overwrite)  # refused now, and not after the work
    with blamed(kind, "options"):
        options = from_flags(kind.options_type, arguments)
    figure = figure_options(arguments)
    refuse_options(name, taken_by(kind), figure)
    files = [Path(file) for file in arguments.image]
    if not kind.joins_images() and len({file.stem for file in files}) < len(files):
        raise ImageError("two images have the same name, and so would their result folders: rename one")
    if _divides(kind) and (arguments.workers is not None or arguments.parts is not None):
        return _save(name, [(name, _in_parts(name, options, figure, files, arguments))], arguments)
    network = load_network(arguments)
    images = [read_input(file, arguments.background, network.channels) for file in files]
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
            _log.info("%s of %s", name, file)
            answer = execute(kind, network, image, _with_truth(options, network, image, truth))
            of_image = answer if isinstance(answer, list) else [answer]
            for index, result in enumerate(of_image):
                result.provenance["input_file"] = file.name
                results.append((file.stem + (f"_{index}" if len(of_image) > 1 else ""), result))
    for folder, result in results:
        set_options(result, figure)
        if getattr(arguments, "check", False):
            _log.info("check of %s", folder)
            check(result)
    return _save(name, results, arguments)


def _in_parts(name: str, options: Any, figure: Any, files: list[Path], arguments: argparse.Namespace) -> Result:
    """The result of work that is shared in parts; files are read when their patches are needed."""
    from sr_hooks.grid.parts.run import run_in_parts

    if arguments.background is not None:
        raise OptionError("--background is for work in one process: leave out --workers and --parts")
    folder = arguments.parts or arguments.out.with_name(f"{arguments.out.name}.parts")
    network, workers = load_network(arguments), 1 if arguments.workers is None else arguments.workers
    result = run_in_parts(name, network, files, out=folder, workers=workers, **vars(options))
    set_options(result, figure)
    return result


def _with_truth(options: Any, network: Network, image: torch.Tensor, truth: torch.Tensor | None) -> Any:
    """The options with the ground truth of an image, as large as the output, where they have a field for it."""
    if truth is None or truth.ndim != 4 or not any(field.name == "gt" for field in dataclasses.fields(options)):
        return options
    height, width = network.output_size(*image.shape[-2:])
    if truth.shape[-2] < height or truth.shape[-1] < width:
        return options
    return dataclasses.replace(options, gt=truth[..., :height, :width])


def _save(command: str, results: list[tuple[str, Result]], arguments: argparse.Namespace) -> Answer:
    """Save the results, and say what they say."""
    names = [name for name, _ in results]
    if len(set(names)) < len(names):  # for instance a.png with two windows, and a_1.png
        raise ImageError("two images have the same name, and so would their result folders: rename one")
    out, folders = _saved_whatever_the_figure(results, arguments)
    records = [{"name": name, **record_of(r, f)} for (name, r), f in zip(results, folders, strict=True)]
    record = {"command": command, "folder": str(out.absolute()), "results": records}
    if len(results) == 1:
        return Answer(result_text(results[0][1], where(out, arguments.out)), record)
    table = text_table([{"result": name, **result.headline(), **_checks(result)} for name, result in results])
    return Answer(f"{table}\nwritten to {where(out, arguments.out)}", record)


def _saved_whatever_the_figure(results: list[tuple[str, Result]], arguments: argparse.Namespace) -> Any:
    """`save_results`; if figure options do not fit, the results are saved with the usual figure before the error."""
    try:
        return save_results(results, arguments.out, overwrite=arguments.overwrite)
    except OptionError as error:
        stated = [result.provenance.pop(FIGURE_KEY, None) for _, result in results]
        if not any(stated):
            raise
        out, _ = save_results(results, arguments.out, overwrite=arguments.overwrite)
        raise OptionError(
            f"{error}; the results are in {out}, with the usual figure: sr-hooks show {out} --figure ... draws another"
        ) from None


def _checks(result: Result) -> dict[str, str]:
    return {"checks": result.card.word} if result.card is not None else {}
