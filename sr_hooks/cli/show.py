"""The commands `show`, which prints a saved result or a watched run, and `demo`; and the flag `--figure` of many."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from sr_hooks.core.text import label, text_table
from sr_hooks.errors import OptionError, nearest
from sr_hooks.figures.options import FigureOptions, parse_pairs
from sr_hooks.files import is_file
from sr_hooks.results.drawing import save_beside, set_options, stated_options
from sr_hooks.results.result import Result, read_result
from sr_hooks.results.run_index import read_index

__all__ = ["add_demo_arguments", "add_figure_flag", "add_show_arguments", "figure_options", "print_result"]


def add_show_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks show`."""
    command.add_argument("folder", type=Path, help="folder with a result.json, or with a watched run's index.json")
    command.add_argument("--gif", type=Path, metavar="FILE", help="of a watched run: write its pictures as a GIF")
    command.add_argument("--analysis", metavar="NAME", help="of a watched run: which of its analyses")
    add_figure_flag(command)
    command.set_defaults(command=_show)


def add_figure_flag(command: argparse.ArgumentParser) -> None:
    """Add `--figure`, which may be repeated."""
    names = ", ".join(f.name for f in dataclasses.fields(FigureOptions) if f.metadata.get("flag", True))
    command.add_argument(
        "--figure",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"change the figure, and write it as PDF too; repeat for more: {names}; for instance width=double",
    )


def figure_options(arguments: argparse.Namespace) -> FigureOptions:
    """The figure options that the flags state.

    Raises:
        OptionError: an unknown key, or a value that does not fit.
    """
    return parse_pairs(arguments.figure)


def add_demo_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks demo`."""
    command.add_argument("--out", type=Path, default=Path("sr_hooks_demo"), help="folder (default: sr_hooks_demo)")
    command.set_defaults(command=_demo)


def _show(arguments: argparse.Namespace) -> None:
    if arguments.gif is not None:
        from sr_hooks.results.animation import film

        count = film(arguments.folder, arguments.gif, analysis=arguments.analysis)
        print(f"{count} pictures in {arguments.gif}")
    elif is_file(arguments.folder / "index.json"):
        _print_run(arguments.folder, arguments.analysis)
    else:
        result = read_result(arguments.folder)
        options = figure_options(arguments)
        print_result(result, arguments.folder)
        if options.stated():
            set_options(result, options.over(stated_options(result.provenance)))
            if (figure := result.figure()) is None:
                raise OptionError(f"{result.analysis} draws no figure")
            save_beside(figure, arguments.folder / "figure.png", result.provenance)
            print(f"{'figure':20s} {arguments.folder / 'figure.pdf'}")


def print_result(result: Result, folder: Path) -> None:
    """Print a result's numbers, verdict and checks, and the folder where it is."""
    for key, value in result.headline().items():
        print(f"{label(key):20s} {value:.4g}" if isinstance(value, float) else f"{label(key):20s} {value}")
    print(f"{'verdict':20s} {result.verdict}")
    for verdict in result.card.verdicts if result.card is not None else ():
        print(f"{verdict.name:20s} {verdict.word}: {verdict.sentence}")
    if result.card is not None:
        print(f"{'checks':20s} {result.card.overall}")
    print(f"{'folder':20s} {folder}")


def _print_run(folder: Path, analysis: str | None) -> None:
    """Print a table for each analysis of a watched run, one row an iteration."""
    entries = read_index(folder)
    names = list(dict.fromkeys(entry["analysis"] for entry in entries))
    if analysis is not None and analysis not in names:
        raise OptionError(f"the run has no results of {analysis!r}; {nearest(analysis, names)}")
    for name in names if analysis is None else [analysis]:
        rows = [
            {"iteration": entry["iteration"], "folder": entry["folder"], **entry["headline"]}
            for entry in sorted(entries, key=lambda entry: entry["iteration"])
            if entry["analysis"] == name
        ]
        print(text_table(rows))


def _demo(arguments: argparse.Namespace) -> None:
    from sr_hooks.demo.show import run_demo

    torch.set_num_threads(1)  # the network is small, and a second thread on a busy machine makes it slower
    run_demo(arguments.out)
