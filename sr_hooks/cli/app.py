"""The command line: parse, call the public function, print."""

from __future__ import annotations

import argparse
import functools
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from sr_hooks.analyses.base import blamed, execute, joined
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.cli import (
    compare as cli_compare,
)
from sr_hooks.cli import (
    grid as cli_grid,
)
from sr_hooks.cli import (
    networks as cli_networks,
)
from sr_hooks.cli import (
    train as cli_train,
)
from sr_hooks.core import registry as plugins
from sr_hooks.core.options import add_flags, from_flags
from sr_hooks.core.text_tables import label, text_table
from sr_hooks.core.yaml_files import parse_yaml
from sr_hooks.errors import ImageError, OptionError, SRHooksError, nearest
from sr_hooks.faithfulness.check import check
from sr_hooks.hooks.layer_list import deep_feature, layers
from sr_hooks.images.clips import by_frames, read_input
from sr_hooks.images.image import downsample
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result, check_folder, read_result
from sr_hooks.results.run_index import read_index
from sr_hooks.version import __version__

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """A user's mistake is one line, not the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for a user's mistake, said in one line; 1 for a fault of ours."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given[:1] == ["train"]:  # its flags are BasicSR's, and what training raises is none of our faults
        return cli_train.main(given[1:])
    try:
        arguments = _parser().parse_args(argv)
        return int(arguments.command(arguments) or 0)
    except SRHooksError as error:
        print(f"sr-hooks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sr-hooks: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone, and wants no complaint
        return 0
    except Exception as error:
        traceback.print_exc()
        print(f"sr-hooks: a fault of ours, please report it with the lines above: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sr-hooks",
        description="Look inside super-resolution and restoration networks, during and after training.",
    )
    parser.add_argument("--version", action="version", version=f"sr_hooks {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, kind in plugins.contributions("register_analyses").items():
        try:
            flags = _analysis_flags(kind)
        except Exception as error:
            plugins.registry().set_aside("register_analyses", name, "options", error)
            continue
        summary = (kind.__doc__ or name).strip().splitlines()[0].replace("%", "%%")
        command = commands.add_parser(name, help=summary, description=summary, parents=[flags])
        command.set_defaults(command=functools.partial(_analyse, name, kind))

    cli_compare.add_command(commands)
    cli_grid.add_command(commands)
    cli_networks.add_commands(commands, _network_flags, _network)
    commands.add_parser("train", help=cli_train.HELP, add_help=False)

    command = commands.add_parser("layers", help="list a network's layers with runs and shapes, as taps name them")
    _network_flags(command)
    command.add_argument("--size", type=int, default=64, metavar="PIXELS", help="side of the test input (default: 64)")
    command.set_defaults(command=_layers)

    command = commands.add_parser("plugins", help="list plugins, what they contribute, and which were set aside")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(command=_plugins)

    command = commands.add_parser("new-plugin", help="write the skeleton of a package with an analysis of your own")
    command.add_argument("name", metavar="NAME", help="of the analysis: lower-case letters, digits and hyphens")
    command.add_argument("--folder", type=Path, default=Path(), help="where sr-hooks-NAME is made (default: here)")
    command.set_defaults(command=_new_plugin)

    command = commands.add_parser("demo", help="LAM and FAIG of shipped networks on photographs; needs nothing else")
    command.add_argument("--out", type=Path, default=Path("sr_hooks_demo"), help="folder (default: sr_hooks_demo)")
    command.set_defaults(command=_demo)

    command = commands.add_parser("show", help="print a saved result or a watched run, or animate the run")
    command.add_argument("folder", type=Path, help="folder with a result.json, or with a watched run's index.json")
    command.add_argument("--gif", type=Path, metavar="FILE", help="of a watched run: write its pictures as a GIF")
    command.add_argument("--analysis", metavar="NAME", help="of a watched run: which of its analyses")
    command.set_defaults(command=_show)
    return parser


def _analysis_flags(kind: Any) -> _Parser:
    command = _Parser(add_help=False)
    _network_flags(command)
    what = "input (LR) images" if kind.takes == "lr" else "ground-truth (HR) images"
    command.add_argument(
        "--image", nargs="+", required=True, metavar="FILE", help=f"{what}, 8-bit files, or folders of frames"
    )
    if kind.takes == "lr":
        command.add_argument(
            "--hr", action="store_true", help="the images are HR: shrink them by the scale first (bicubic)"
        )
    command.add_argument("--out", type=Path, default=None, help=f"result folder (default: {kind.name}_result)")
    if issubclass(kind.result_type, LamResult):
        command.add_argument("--check", action="store_true", help="check the faithfulness of every map; takes longer")
    add_flags(command, kind.options_type)
    return command


def _network_flags(command: argparse.ArgumentParser, *, positional: bool = False) -> None:
    group = command.add_argument_group("network")
    required: dict[str, Any] = {} if positional else {"required": True}
    group.add_argument(
        "model" if positional else "--model",
        **required,
        metavar="MODEL",
        help="a checkpoint that spandrel knows, a BasicSR option file or architecture, a config.py of mmagic, "
        "package.module:Class, path/to/file.py:Class, or demo:baseline, demo:target",
    )
    group.add_argument("--arguments", metavar="YAML", help="of the architecture, e.g. '{num_feat: 64, upscale: 2}'")
    group.add_argument("--weights", metavar="FILE", help="checkpoint for the architecture")
    group.add_argument("--scale", type=float, help="output pixels per input pixel (default: inferred)")
    group.add_argument("--input-range", type=float, help="white inside the network, 1 or 255 (default: inferred)")
    group.add_argument("--multiple", type=int, help="pad input sizes to a multiple (default: inferred)")
    group.add_argument("--frames", type=int, help="of a network over clips, to be tried on (default: inferred)")
    group.add_argument("--minimum", type=int, help="pad inputs to at least this side (default: inferred)")
    group.add_argument("--output", type=_selector, help="which of several outputs is the image: an index or a key")
    group.add_argument("--forward", metavar="YAML", help="arguments of forward beside the image, e.g. '{sigma: 0.1}'")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")


def _selector(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


def _mapping(text: str | None, flag: str, example: str) -> dict[str, Any]:
    if not text:
        return {}
    given = parse_yaml(text, name=flag)
    if not isinstance(given, dict):
        raise OptionError(f"{flag} must be a mapping, e.g. {example}")
    return given


def _network(arguments: argparse.Namespace) -> Network:
    given = _mapping(arguments.arguments, "--arguments", "'{num_feat: 64, upscale: 2}'")
    named = ("scale", "input_range", "multiple", "frames", "minimum", "output")
    facts = {key: value for key in named if (value := getattr(arguments, key)) is not None}
    if arguments.forward:
        facts["forward"] = _mapping(arguments.forward, "--forward", "'{sigma: 0.1}'")
    network = Network.load(arguments.model, given or None, weights=arguments.weights, **facts)
    name = arguments.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        network.module.to(torch.device(name))
    except (RuntimeError, AssertionError) as error:
        raise OptionError(f"--device {name}: {str(error).splitlines()[0]}") from None
    return network


def _analyse(name: str, kind: Any, arguments: argparse.Namespace) -> None:
    out = check_folder(arguments.out or Path(f"{name}_result"))
    with blamed(kind, "options"):
        options = from_flags(kind.options_type, arguments)
    files = [Path(file) for file in arguments.image]
    images = [read_input(file) for file in files]
    network = _network(arguments)
    if getattr(arguments, "hr", False):
        images = [by_frames(functools.partial(downsample, scale=network.scale), image) for image in images]
    named: list[tuple[str, Result]] = []
    if kind.joins_images():
        answer = execute(kind, network, images if network.frames else joined(images), options)
        named = [(f"{name}_{i}", r) for i, r in enumerate(answer)] if isinstance(answer, list) else [(name, answer)]
    else:
        for file, image in zip(files, images, strict=True):
            answer = execute(kind, network, image, options)
            found = answer if isinstance(answer, list) else [answer]
            for index, result in enumerate(found):
                result.provenance["input_file"] = file.name
                named.append((file.stem + (f"_{index}" if len(found) > 1 else ""), result))
    if getattr(arguments, "check", False):
        for _, result in named:
            check(result)
    _save(named, out)


def _save(named: list[tuple[str, Result]], out: Path) -> None:
    if len(named) == 1:
        named[0][1].save(out)
        _print(named[0][1], out)
        return
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        raise ImageError("two images have the same name, and so would their result folders: rename one")
    for name, result in named:
        result.save(out / name)
    print(text_table([{"result": name, **result.headline(), **_checked(result)} for name, result in named]))
    print(f"written to {out}")


def _checked(result: Result) -> dict[str, str]:
    return {"checks": result.card.word} if result.card is not None else {}


def _print(result: Result, folder: Path) -> None:
    for key, value in result.headline().items():
        print(f"{label(key):20s} {value:.4g}" if isinstance(value, float) else f"{label(key):20s} {value}")
    print(f"{'verdict':20s} {result.verdict}")
    for verdict in result.card.verdicts if result.card is not None else ():
        print(f"{verdict.name:20s} {verdict.word}: {verdict.sentence}")
    if result.card is not None:
        print(f"{'checks':20s} {result.card.overall}")
    print(f"{'folder':20s} {folder}")


def _layers(arguments: argparse.Namespace) -> None:
    if arguments.size < 1:
        raise OptionError(f"--size {arguments.size}: the test input must have at least 1 pixel")
    network = _network(arguments)
    x = network.sample(arguments.size)
    with network.prepared():
        found = layers(network.module, lambda: network.feed(x))
    rows = [
        {
            "tap": layer.name if layer.calls == 1 else f"{layer.name}#0..{layer.calls - 1}",
            "kind": layer.kind,
            "input": _shape(layer.input_shape),
            "output": _shape(layer.output_shape),
        }
        for layer in found
    ]
    print(text_table(rows))
    print(f"auto is {deep_feature(network.module, found)}")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "-" if shape is None else "x".join(map(str, shape))


def _plugins(arguments: argparse.Namespace) -> None:
    listing = plugins.registry().listing()
    if arguments.json:
        print(json.dumps(listing, indent=1))
        return
    for entry in listing:
        print(f"{entry['plugin']}  ({entry['distribution']} {entry['version']})")
        for hook, names in entry["contributes"].items():
            print(f"    {hook.replace('_', ' ')}: {', '.join(names)}")
        for fault in entry["faults"]:
            print(f"    set aside: {fault}")


def _new_plugin(arguments: argparse.Namespace) -> None:
    from sr_hooks.cli.new_plugin import new_plugin

    folder = new_plugin(arguments.name, arguments.folder)
    print(f"written: {folder}")
    print(f"next:    pip install -e {folder} && python -m pytest {folder}")
    print(f"then:    sr-hooks {folder.name.removeprefix('sr-hooks-')} --help")


def _demo(arguments: argparse.Namespace) -> None:
    from sr_hooks.demo.show import run_demo

    torch.set_num_threads(1)  # the network is small, and a second thread on a busy machine makes it slower

    run_demo(arguments.out)


def _show(arguments: argparse.Namespace) -> None:
    if arguments.gif is not None:
        from sr_hooks.results.animation import film

        count = film(arguments.folder, arguments.gif, analysis=arguments.analysis)
        print(f"{count} pictures in {arguments.gif}")
    elif (arguments.folder / "index.json").is_file():
        _print_run(arguments.folder, arguments.analysis)
    else:
        _print(read_result(arguments.folder), arguments.folder)


def _print_run(folder: Path, analysis: str | None) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
