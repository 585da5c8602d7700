"""The command `grid`: networks x images x windows to a figure, tables and a report."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from sr_hooks.cli.show import add_figure_flag, figure_options
from sr_hooks.core.progress import progress_bar
from sr_hooks.errors import OptionError, SRHooksError
from sr_hooks.grid.request import GridRequest, parse_request, read_request
from sr_hooks.grid.run import run_grid

__all__ = ["add_arguments"]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks grid`: a grid file or flags for what is computed; flags for where and how it runs."""
    command.add_argument("file", nargs="?", type=Path, metavar="GRID.yml", help="what is asked; or the flags below")
    request = command.add_argument_group("what is asked, without a file")
    request.add_argument("--model", nargs="+", metavar="MODEL", help="networks, as --model takes them elsewhere")
    request.add_argument(
        "--image", nargs="+", metavar="FILE", help="8-bit image files, or folders of them: ground truth"
    )
    request.add_argument("--lr", action="store_true", help="the images are network inputs, not ground truth")
    request.add_argument(
        "--window", nargs="+", metavar="T,L,SIZE", help="windows, in output pixels (default: where most edges are)"
    )
    request.add_argument("--analyses", nargs="+", metavar="NAME", help="which (default: lam)")
    how = command.add_argument_group("how")
    how.add_argument("--check", action="store_true", help="check the faithfulness of every map")
    how.add_argument("--out", type=Path, default=Path("grid"), help="folder (default: grid)")
    add_figure_flag(command)
    how.add_argument("--jobs", type=int, metavar="N", help="processes (default: CPU cores or GPUs; 1 under torchrun)")
    how.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each process (default: 1)")
    how.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    command.set_defaults(command=_grid)


def _grid(arguments: argparse.Namespace) -> int:
    is_first_process = int(os.environ.get("RANK", 0)) == 0
    request = _request(arguments)
    with progress_bar("grid", unit="cells") as progress:

        def show(settled: int, total: int) -> None:
            progress.total = total
            progress.update(settled - progress.n)

        summary = run_grid(
            request,
            arguments.out,
            jobs=arguments.jobs,
            device=arguments.device,
            threads=arguments.threads,
            progress=show,
        )
    if is_first_process:
        done = [
            f"{count} {verb}" for count, verb in ((summary.computed, "computed"), (summary.checked, "checked")) if count
        ]
        print(f"{summary.cells} cells, {', '.join(done) or 'nothing to compute'}, {summary.seconds:.1f} s\n")
        print(summary.tables + "\n")
        if find_spec("matplotlib") is None:
            print("no figure: matplotlib is not installed (pip install 'sr_hooks[figures]')")
        print(f"written to {summary.folder}: {', '.join(_written(summary.folder))}")
    for label, message in summary.failures:
        print(f"sr-hooks: {label} failed: {message}", file=sys.stderr)
    if summary.failures:
        raise SRHooksError(f"{len(summary.failures)} failed, as said above; everything else is done")
    return 0


def _request(arguments: argparse.Namespace) -> GridRequest:
    figure = figure_options(arguments).stated()
    flags = {"model": "--model", "image": "--image", "window": "--window", "analyses": "--analyses", "lr": "--lr"}
    used = [flag for name, flag in flags.items() if getattr(arguments, name)]
    if arguments.file is not None:
        if used:
            raise OptionError(f"give the grid file or {used[0]}, not both: what is asked stands in the file")
        request = read_request(arguments.file)
        check = request.check or arguments.check
        return dataclasses.replace(request, check=check, figure={**request.figure, **figure})
    if not arguments.model or not arguments.image:
        raise OptionError("grid needs a grid file, or --model and --image (see sr-hooks grid --help)")
    windows = arguments.window
    if windows and len(windows) > 1 and all(text.lstrip("-").isdigit() for text in windows):
        windows = ",".join(windows)
    content = {
        "networks": arguments.model,
        "images": arguments.image,
        "windows": windows,
        "hr": not arguments.lr,
        "analyses": arguments.analyses,
        "check": arguments.check,
        "figure": figure,
    }
    return parse_request(content, where="command line")


def _written(folder: Path) -> list[str]:
    figures = sorted(path.name for path in folder.glob("figure*.p??"))
    return [
        name for name in (*figures, "table.csv", "table.md", "table.tex", "report.html") if (folder / name).is_file()
    ]
