"""The command `grid`: networks x images x windows to a figure, tables and a report."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_hooks.cli.networks import add_device_flag, arguments_of, device_of
from sr_hooks.cli.terminal.answer import Answer, add_answer_flags
from sr_hooks.cli.terminal.figure import add_figure_flag, figure_options
from sr_hooks.errors import OptionError, SRHooksError

if TYPE_CHECKING:
    from sr_hooks.grid.request import GridRequest

__all__ = ["add_arguments", "add_networks_flags", "networks_of"]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks grid`: a grid file or flags for what is computed; flags for where and how it runs."""
    command.add_argument("file", nargs="?", type=Path, metavar="GRID.yml", help="what is asked; or the flags below")
    request = command.add_argument_group("what is asked, without a file")
    add_networks_flags(request)
    request.add_argument("--image", nargs="+", metavar="FILE", help="image files, or folders of them: ground truth")
    request.add_argument("--lr", action="store_true", help="the images are network inputs, not ground truth")
    request.add_argument(
        "--window",
        nargs="+",
        metavar="T,L,SIZE",
        help="windows or masks, in output pixels, e.g. '96,120,16;0,0,32' (default: where most edges are)",
    )
    request.add_argument("--background", metavar="COLOUR", help="the colour below transparent pixels: white, #808080")
    request.add_argument("--analyses", nargs="+", metavar="NAME", help="which (default: lam)")
    how = command.add_argument_group("how")
    how.add_argument("--check", action="store_true", help="check the faithfulness of every map")
    how.add_argument(
        "--out",
        type=Path,
        default=Path("grid"),
        metavar="FOLDER",
        help="folder, new or of an earlier grid, whose cells are not computed again (default: grid)",
    )
    how.add_argument(
        "--from",
        nargs="+",
        type=Path,
        default=[],
        dest="earlier",
        metavar="FOLDER",
        help="folders of other grids, whose cells are taken over where this grid has the same cells",
    )
    command.add_argument(
        "--scatter",
        nargs=2,
        metavar=("X", "Y"),
        help="draw one number against another over networks, e.g. psnr_y diffusion_index; alone: of the grid in --out",
    )
    cluster = command.add_argument_group("on a cluster")
    cluster.add_argument(
        "--slurm",
        metavar="OPTIONS",
        help="submit an array of workers to SLURM and follow it, e.g. 'partition=gpu,gpus=1,time=60' (minutes)",
    )
    cluster.add_argument("--workers", type=int, default=4, metavar="N", help="tasks of the array (default: 4)")
    cluster.add_argument("--print-sbatch", action="store_true", help="print the script for sbatch and submit nothing")
    cluster.add_argument("--follow", action="store_true", help="show how far the grid in --out is, to its end")
    command.add_argument("--title", metavar="TEXT", help="the title of the report (default: sr-hooks grid)")
    add_figure_flag(command)
    how.add_argument("--jobs", type=int, metavar="N", help="processes (default: CPU cores or GPUs; 1 under torchrun)")
    how.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each process (default: 1)")
    how.add_argument(
        "--together",
        action=argparse.BooleanOptionalAction,
        help="compute all windows of an image in one call (default: on a GPU); the last digits may differ",
    )
    how.add_argument("--dry-run", action="store_true", help="say how many cells, how long, how much disk; compute none")
    add_device_flag(how)
    add_answer_flags(command)
    command.set_defaults(command=_grid)


def add_networks_flags(group: Any, *, required: bool = False) -> None:
    """Add the flags that name several networks."""
    group.add_argument(
        "--model", nargs="+", required=required, metavar="MODEL", help="networks, as --model takes them elsewhere"
    )
    group.add_argument(
        "--weights", nargs="+", metavar="FILE", help="checkpoints: one a network, in order, or all of one --model"
    )
    group.add_argument(
        "--arguments",
        nargs="+",
        metavar="YAML",
        help="of the architectures, e.g. '{num_feat: 64, upscale: 2}': one a network, in order, or one for all",
    )


def _grid(arguments: argparse.Namespace) -> int:
    from sr_hooks.core.progress import progress_bar
    from sr_hooks.grid.run import run_grid

    if arguments.scatter and arguments.file is None and not arguments.model:
        _scatter(arguments).show(arguments)
        return 0
    if arguments.dry_run:
        return _dry_run(arguments)
    if arguments.follow or arguments.slurm is not None or arguments.print_sbatch:
        return _on_cluster(arguments)
    is_first_process = int(os.environ.get("RANK", 0)) == 0
    device = arguments.device if arguments.device == "auto" else device_of(arguments.device)
    request = _request(arguments)
    with progress_bar("grid", unit="cells") as progress:

        def show(settled: int, total: int) -> None:
            progress.total = total
            progress.update(settled - progress.n)

        summary = run_grid(
            request,
            arguments.out,
            jobs=arguments.jobs,
            device=device,
            threads=arguments.threads,
            progress=show,
            earlier=arguments.earlier,
            together=arguments.together,
        )
    if is_first_process:
        _answer(summary).show(arguments)  # before an error, since everything else is done
        if arguments.scatter:
            _scatter(arguments).show(arguments)
    for label, message in summary.failures:
        print(f"sr-hooks: {label} failed: {message}", file=sys.stderr)
    if summary.failures:
        raise SRHooksError(f"{len(summary.failures)} failed, as said above; everything else is done")
    return 0


def _dry_run(arguments: argparse.Namespace) -> int:
    from sr_hooks.grid.work.costs import estimate
    from sr_hooks.grid.workers import default_device, default_jobs

    request = _request(arguments)
    asked = arguments.device if arguments.device == "auto" else device_of(arguments.device)
    device = request.device if asked == "auto" else asked
    device = default_device() if device == "auto" else device
    workers = arguments.workers if arguments.slurm is not None else arguments.jobs or default_jobs(device)
    together = device.startswith("cuda") if arguments.together is None else arguments.together
    answer = estimate(
        request, arguments.out, workers=workers, device=device, threads=arguments.threads, together=together
    )
    record = {"command": "grid", "headline": {**dataclasses.asdict(answer), "time": answer.time}}
    Answer(str(answer), record).show(arguments)
    return 0


def _on_cluster(arguments: argparse.Namespace) -> int:
    from sr_hooks.grid.cluster.follow import follow
    from sr_hooks.grid.cluster.slurm import parse_slurm, sbatch_script
    from sr_hooks.grid.submit import submit_to_slurm

    def show(state: Any) -> None:
        if not arguments.quiet:
            print(f"grid: {state}", file=sys.stderr, flush=True)

    if arguments.workers < 1:
        raise OptionError(f"--workers {arguments.workers}: at least 1")
    if arguments.follow:
        state = follow(arguments.out, show)
    elif arguments.print_sbatch:
        _request(arguments)  # a mistake in the request is named here, not by each worker
        folder = arguments.out.absolute() / "slurm"
        options = parse_slurm(arguments.slurm or "")
        print(sbatch_script(options, arguments.workers, _worker_command(arguments), folder), end="")
        return 0
    else:
        request = _request(arguments)
        how = {name: getattr(arguments, name) for name in ("device", "threads", "earlier", "together")}
        state = submit_to_slurm(request, arguments.out, arguments.slurm, workers=arguments.workers, show=show, **how)
    missing = state.total - state.done
    files = ", ".join(_written(arguments.out))
    record = {"command": "grid", "folder": str(arguments.out.absolute()), "headline": dataclasses.asdict(state)}
    Answer(f"{state}; written to {arguments.out}: {files}", record).show(arguments)
    if missing or not state.is_over:
        raise SRHooksError(f"{missing} cells are missing: the logs are in {arguments.out / 'slurm'}")
    return 0


def _worker_command(arguments: argparse.Namespace) -> list[str]:
    """The command line of one worker: the same request with full paths, in one process."""
    if arguments.file is None:
        raise OptionError("--print-sbatch needs a grid file: each worker reads the request from there")
    device = [] if arguments.device == "auto" else ["--device", arguments.device]
    check = ["--check"] if arguments.check else []
    if arguments.together is not None:
        check.append("--together" if arguments.together else "--no-together")
    file, out, threads = str(arguments.file.absolute()), str(arguments.out.absolute()), str(arguments.threads)
    return ["grid", file, "--out", out, "--jobs", "1", "--threads", threads, *device, *check]


def _scatter(arguments: argparse.Namespace) -> Answer:
    from sr_hooks.grid.numbers.one_against_another import scatter

    result = scatter(arguments.out, *arguments.scatter)
    files = [] if find_spec("matplotlib") is None else result.save(arguments.out)
    written = f"\nwritten: {', '.join(map(str, files))}" if files else ""
    record = {"command": "grid", "headline": {"rank_correlation": result.correlation, "interval": result.interval}}
    return Answer(result.verdict + written, {**record, "files": list(map(str, files)), "verdict": result.verdict})


def _answer(summary: Any) -> Answer:
    counts = (summary.computed, "computed"), (summary.checked, "checked")
    done = ", ".join(f"{count} {verb}" for count, verb in counts if count) or "nothing to compute"
    lines = [f"{summary.cells} cells, {done}, {summary.seconds:.1f} s", "", summary.tables, ""]
    if find_spec("matplotlib") is None:
        lines.append("no figure: matplotlib is not installed (pip install 'sr_hooks[figures]')")
    written = _written(summary.folder)
    lines.append(f"written to {summary.folder}: {', '.join(written)}")
    record = {
        "command": "grid",
        "folder": str(summary.folder.absolute()),
        "files": {name: str((summary.folder / name).absolute()) for name in written},
        "headline": {key: getattr(summary, key) for key in ("cells", "computed", "checked", "seconds")},
        "failures": [{"cell": label, "reason": message} for label, message in summary.failures],
    }
    return Answer("\n".join(lines), record)


def _request(arguments: argparse.Namespace) -> GridRequest:
    from sr_hooks.grid.request import parse_request, read_request

    figure = figure_options(arguments).stated()
    names = ("model", "weights", "arguments", "image", "window", "analyses", "lr")
    used = [f"--{name}" for name in names if getattr(arguments, name)]
    if arguments.file is not None:
        if used:
            raise OptionError(f"give the grid file or {used[0]}, not both: what is asked stands in the file")
        request = read_request(arguments.file)
        check = request.check or arguments.check
        title = arguments.title or request.title
        return dataclasses.replace(request, check=check, figure={**request.figure, **figure}, title=title)
    if not arguments.model or not arguments.image:
        raise OptionError("grid needs a grid file, or --model and --image (see sr-hooks grid --help)")
    content = {
        "networks": networks_of(arguments),
        "images": arguments.image,
        "windows": arguments.window,
        "background": arguments.background,
        "hr": not arguments.lr,
        "analyses": arguments.analyses,
        "check": arguments.check,
        "figure": figure,
        "title": arguments.title,
    }
    return parse_request(content, where="command line")


def networks_of(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Each network with its weights and arguments; one model or one mapping of arguments serves all."""
    models, weights, texts = arguments.model, arguments.weights or [], arguments.arguments or []
    count = max(len(models), len(weights))
    if len(models) == 1:
        models = models * count
    if len(texts) == 1:
        texts = texts * count
    for flag, values in (("--weights", weights), ("--arguments", texts)):
        if values and len(values) != len(models):
            raise OptionError(
                f"{flag} has {len(values)} values for {len(models)} networks: give one a network, in order"
            )
    networks: list[dict[str, Any]] = [{"model": model} for model in models]
    for network, file in zip(networks, weights, strict=False):
        network["weights"] = file
    for network, text in zip(networks, texts, strict=False):
        network["arguments"] = arguments_of(text) or None
    return networks


def _written(folder: Path) -> list[str]:
    figures = sorted(path.name for path in folder.glob("figure*.p??"))
    return [
        name for name in (*figures, "table.csv", "table.md", "table.tex", "report.html") if (folder / name).is_file()
    ]
