"""The commands for looking: `show` prints a saved result or a watched run, `demo` makes results, `explore` asks."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_hooks.cli.terminal.answer import Answer, add_answer_flags, add_out_flags
from sr_hooks.cli.terminal.figure import add_figure_flag, figure_options
from sr_hooks.core.text import label, text_table
from sr_hooks.errors import OptionError, ResultError, nearest
from sr_hooks.files.regular_files import is_file

if TYPE_CHECKING:
    from sr_hooks.results.result import Result

__all__ = ["add_demo_arguments", "add_explore_arguments", "add_show_arguments", "result_text"]

_RUN, _RESULT = "index.json", "result.json"


def add_show_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks show`."""
    command.add_argument(
        "folder", type=Path, help="a result's folder, a folder of several, a watched run's, or the experiment's"
    )
    command.add_argument("--gif", type=Path, metavar="FILE", help="of a watched run or a clip: write a GIF")
    command.add_argument("--analysis", metavar="NAME", help="of a watched run: which of its analyses")
    add_figure_flag(command)
    add_answer_flags(command)
    command.set_defaults(command=_show)


def add_demo_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks demo`."""
    add_out_flags(command, "sr_hooks_demo")
    command.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ..., auto (default: cpu)")
    add_answer_flags(command)
    command.set_defaults(command=_demo)


def add_explore_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks explore`."""
    from sr_hooks.cli.grid import add_networks_flags
    from sr_hooks.cli.networks import add_device_flag

    add_networks_flags(command, required=True)
    command.add_argument("--image", type=Path, required=True, metavar="FILE", help="the input (LR) image, or a clip")
    command.add_argument("--hr", action="store_true", help="the image is HR: shrink it by the scale first (bicubic)")
    command.add_argument(
        "--background",
        metavar="COLOUR",
        help="the colour below transparent pixels: white, #808080; else they are refused",
    )
    command.add_argument(
        "--grid",
        type=Path,
        default=Path("grid.yml"),
        metavar="FILE",
        help="where windows are kept (default: grid.yml)",
    )
    command.add_argument("--port", type=int, metavar="N", help="of the page on this machine (default: any free one)")
    command.add_argument("--no-open", action="store_true", help="print the address, and open no browser")
    add_figure_flag(command)
    add_device_flag(command)
    add_answer_flags(command)
    command.set_defaults(command=_explore)


def _show(arguments: argparse.Namespace) -> Answer:
    from sr_hooks.cli.terminal.saving import record_of
    from sr_hooks.results.result import read_result

    folder = _shown_folder(arguments.folder)
    if arguments.gif is not None:
        from sr_hooks.results.animation import film

        count = film(folder, arguments.gif, analysis=arguments.analysis)
        record = {"command": "show", "file": str(arguments.gif.absolute()), "pictures": count}
        return Answer(f"{count} pictures in {arguments.gif}", record)
    if is_file(folder / _RUN):
        return _run(folder, arguments.analysis)
    several = [] if is_file(folder / _RESULT) else _results_below(folder)
    if several:
        results = {path.name: read_result(path) for path in several}
        rows = [{"result": name, **result.headline()} for name, result in results.items()]
        records = [{"name": path.name, **record_of(results[path.name], path)} for path in several]
        return Answer(text_table(rows), {"command": "show", "folder": str(folder.absolute()), "results": records})
    result = read_result(folder)
    text = "\n".join([result_text(result, folder), *_drawn_anew(result, folder, arguments)])
    record = {"name": folder.name, **record_of(result, folder)}
    return Answer(text, {"command": "show", "folder": str(folder.absolute()), "results": [record]})


def _drawn_anew(result: Result, folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Draw the figure as `--figure` says, and save it in the folder; the line that says where."""
    from sr_hooks.results.drawing import refuse_options, save_beside, set_options, stated_options

    options = figure_options(arguments)
    if not options.stated():
        return []
    refuse_options(result.analysis, result.figure_options(), options)
    set_options(result, options.over(stated_options(result.provenance)))
    if (figure := result.figure()) is None:
        raise OptionError(f"{result.analysis} draws no figure")
    save_beside(figure, folder / "figure.png", result.provenance)
    return [f"{'figure':20s} {folder / 'figure.pdf'}"]


def _shown_folder(folder: Path) -> Path:
    """The folder itself, or its `sr_hooks`, where a watched run of BasicSR writes.

    Raises:
        ResultError: there is neither, but there are watched runs below; the message names them.
    """
    inside = folder / "sr_hooks"
    if any(is_file(folder / name) for name in (_RUN, _RESULT)) or _results_below(folder):
        return folder
    if is_file(inside / _RUN) or _results_below(inside):
        return inside
    runs = [path for path in _folders(folder) if is_file(path / _RUN) or is_file(path / "sr_hooks" / _RUN)]
    if runs:
        raise ResultError(f"{folder} holds several watched runs: show one of {', '.join(map(str, runs[:5]))}")
    return folder


def _results_below(folder: Path) -> list[Path]:
    return [path for path in _folders(folder) if is_file(path / _RESULT)]


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except (OSError, ValueError):
        return []


def result_text(result: Result, folder: str | Path) -> str:
    """A result's numbers, verdict and checks, and the folder where it is, one a line."""
    lines = []
    for key, value in result.headline().items():
        lines.append(f"{label(key):20s} {value:.4g}" if isinstance(value, float) else f"{label(key):20s} {value}")
    lines.append(f"{'verdict':20s} {result.verdict}")
    for verdict in result.card.verdicts if result.card is not None else ():
        lines.append(f"{verdict.name:20s} {verdict.word}: {verdict.sentence}")
    if result.card is not None:
        lines.append(f"{'checks':20s} {result.card.overall}")
    lines.append(f"{'folder':20s} {folder}")
    return "\n".join(lines)


def _run(folder: Path, analysis: str | None) -> Answer:
    """A table for each analysis of a watched run, one row an iteration."""
    from sr_hooks.results.run_index import read_index

    entries = read_index(folder)
    names = list(dict.fromkeys(entry["analysis"] for entry in entries))
    if analysis is not None and analysis not in names:
        raise OptionError(f"the run has no results of {analysis!r}; {nearest(analysis, names)}")
    tables: list[str] = []
    listed: list[dict[str, Any]] = []
    for name in names if analysis is None else [analysis]:
        of_name = sorted((e for e in entries if e["analysis"] == name), key=lambda entry: entry["iteration"])
        listed += of_name
        rows = [{"iteration": e["iteration"], "folder": e["folder"], **e["headline"]} for e in of_name]
        tables.append(text_table(rows))
    record = {"command": "show", "folder": str(folder.absolute()), "entries": listed}
    return Answer("\n".join(tables), record)


def _demo(arguments: argparse.Namespace) -> Answer:
    import torch

    from sr_hooks.cli.networks import device_of
    from sr_hooks.cli.terminal.saving import free_folder, record_of, where
    from sr_hooks.demo.show import TABLE, run_demo

    torch.set_num_threads(1)  # the network is small, and a second thread on a busy machine makes it slower
    out = free_folder(arguments.out, overwrite=arguments.overwrite, marker=TABLE)
    table, results = run_demo(out, device=device_of(arguments.device))
    lines = [table, *(f"{name}: {result.verdict}" for name, result in results.items())]
    lines.append(f"figures: {out / '*' / 'figure.png'}")
    if out != arguments.out:
        lines.append(f"folder: {where(out, arguments.out)}")
    records = [{"name": name, **record_of(result, out / name)} for name, result in results.items()]
    return Answer("\n".join(lines), {"command": "demo", "folder": str(out.absolute()), "results": records})


def _explore(arguments: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C. The address is printed first, since the command does not end by itself."""
    from sr_hooks.cli.grid import networks_of
    from sr_hooks.cli.networks import device_of
    from sr_hooks.explorer.page import import_gradio
    from sr_hooks.explorer.server import explore
    from sr_hooks.images.clips import read_input
    from sr_hooks.networks.network import Network

    import_gradio()  # refused now, and not after the networks are loaded
    device = device_of(arguments.device)
    networks = []
    for entry in networks_of(arguments):
        network = Network.load(entry["model"], entry.get("arguments"), weights=entry.get("weights"))
        network.module.to(device)
        networks.append(network)
    image = read_input(arguments.image, arguments.background, networks[0].channels)
    page = explore(
        networks,
        image,
        hr=arguments.hr,
        file=arguments.image,
        grid=arguments.grid,
        figure=figure_options(arguments),
        port=arguments.port,
    )
    text = f"{page.url}  (for browsers of this machine; Ctrl-C ends it)"
    Answer(text, {"command": "explore", "url": page.url}).show(arguments)
    sys.stdout.flush()
    if not arguments.no_open and sys.stdout.isatty():
        webbrowser.open(page.url)
    try:
        page.wait()
    except KeyboardInterrupt:
        page.close()
