"""The flags that name a network, and the commands `networks`, `doctor` and `layers`, which are about one."""

from __future__ import annotations

import argparse
import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_hooks.cli.terminal.answer import Answer, add_answer_flags, add_out_flags
from sr_hooks.cli.terminal.figure import add_figure_flag
from sr_hooks.core.text import text_table
from sr_hooks.core.yaml_files import parse_yaml
from sr_hooks.errors import OptionError, nearest

if TYPE_CHECKING:
    from sr_hooks.doctor.diagnosis import Diagnosis
    from sr_hooks.networks.network import Network

__all__ = [
    "add_analysis_flags",
    "add_device_flag",
    "add_doctor_arguments",
    "add_layers_arguments",
    "add_network_flags",
    "add_networks_arguments",
    "arguments_of",
    "device_of",
    "load_network",
    "mapping_of",
]

NOT_ALL_WORKS = 3
"""Exit status of `doctor` where some analysis does not work."""


def add_network_flags(command: argparse.ArgumentParser, *, positional: bool = False) -> None:
    """Add the flags that name and describe a network; `positional`: the network is the command's subject."""
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
    group.add_argument(
        "--weights", metavar="FILE", help="checkpoint for the architecture; FILE::KEY names what to take"
    )
    group.add_argument("--weights-key", metavar="KEY", help="take the weights under this key of the checkpoint")
    group.add_argument("--weights-prefix", metavar="PREFIX", help="take the weights whose names begin so")
    group.add_argument("--scale", type=float, help="output pixels per input pixel (default: inferred)")
    group.add_argument("--input-range", type=float, help="white inside the network, 1 or 255 (default: inferred)")
    group.add_argument("--multiple", type=int, help="pad input sizes to a multiple (default: inferred)")
    group.add_argument("--frames", type=int, help="of a network over clips, to be tried on (default: inferred)")
    group.add_argument("--minimum", type=int, help="pad inputs to at least this side (default: inferred)")
    group.add_argument("--channels", type=int, help="of the input: 1, 3, 6 for a stereo pair, ... (default: inferred)")
    group.add_argument(
        "--bands",
        type=_bands,
        metavar="R,G,B",
        help="of more than 3 channels, those that pictures show (default: 0,1,2)",
    )
    group.add_argument("--output", type=_selector, help="which of several outputs is the image: an index or a key")
    group.add_argument("--forward", metavar="YAML", help="arguments of forward beside the image, e.g. '{sigma: 0.1}'")
    add_device_flag(group)


def add_device_flag(command: Any) -> None:
    """Add `--device`."""
    command.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")


def device_of(name: str) -> str:
    """The device of that name; of "auto", cuda where there is one.

    Raises:
        OptionError: there is no such device; the message names those that there are.
    """
    from sr_hooks.core.torch_errors import checked_device

    return str(checked_device(name, "--device"))


def add_analysis_flags(
    command: argparse.ArgumentParser, name: str, *, takes_lr: bool, can_check: bool, divides: bool
) -> None:
    """Add the flags that every analysis has: network, images, where results go, what is printed."""
    add_network_flags(command)
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
    add_out_flags(command, f"{name}_result")
    if can_check:
        command.add_argument("--check", action="store_true", help="check the faithfulness of every map; takes longer")
    if divides:
        workers = command.add_argument_group("many files")
        workers.add_argument("--workers", type=int, metavar="N", help="share the work in parts among N processes")
        workers.add_argument(
            "--parts",
            type=Path,
            metavar="FOLDER",
            help="the folder of these parts, which further machines may share (default: that of --out with .parts)",
        )
    add_figure_flag(command)
    add_answer_flags(command)


def _selector(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


def _bands(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no choice of bands: give three numbers from 0, such as 7,3,1")
    return tuple(map(int, parts))


def load_network(arguments: argparse.Namespace) -> Network:
    """The network that the flags of `add_network_flags` name, on its device.

    Raises:
        SRHooksError: the network cannot be loaded, or the device is not there.
    """
    from sr_hooks.networks.network import Network

    device = device_of(arguments.device)
    built_with = arguments_of(arguments.arguments)
    names = ("scale", "input_range", "multiple", "frames", "minimum", "output", "channels", "bands")
    facts = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if arguments.forward:
        facts["forward"] = mapping_of(arguments.forward, "--forward", "'{sigma: 0.1}'")
    return Network.load(
        arguments.model,
        built_with or None,
        weights=arguments.weights,
        weights_key=arguments.weights_key,
        weights_prefix=arguments.weights_prefix,
        device=device,
        **facts,
    )


def mapping_of(text: str | None, flag: str, example: str) -> dict[str, Any]:
    """The mapping that the YAML of a flag states; an empty one for no text."""
    if not text:
        return {}
    value = parse_yaml(text, name=flag)
    if not isinstance(value, dict):
        raise OptionError(f"{flag} must be a mapping, e.g. {example}")
    return value


def arguments_of(text: str | None) -> dict[str, Any] | list[Any]:
    """The arguments of an architecture that `--arguments` states: a mapping, or a list of values by position."""
    value = parse_yaml(text, name="--arguments") if text else None
    return value if isinstance(value, list) else mapping_of(text, "--arguments", "'{num_feat: 64, upscale: 2}'")


def add_layers_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks layers`."""
    add_network_flags(command)
    command.add_argument("--size", type=int, default=64, metavar="PIXELS", help="side of the test input (default: 64)")
    add_answer_flags(command)
    command.set_defaults(command=_layers)


def _layers(arguments: argparse.Namespace) -> Answer:
    from sr_hooks.hooks.layer_list import deep_feature, layers

    if arguments.size < 1:
        raise OptionError(f"--size {arguments.size}: the test input must have at least 1 pixel")
    network = load_network(arguments)
    x = network.sample(arguments.size)
    with network.prepared():
        network_layers = layers(network.module, lambda: network.feed(x))
    rows = [
        {
            "tap": layer.name if layer.calls == 1 else f"{layer.name}#0..{layer.calls - 1}",
            "kind": layer.kind,
            "input": _shape(layer.input_shape),
            "output": _shape(layer.output_shape),
        }
        for layer in network_layers
    ]
    auto = deep_feature(network.module, network_layers)
    listed = [
        {
            "name": each.name,
            "calls": each.calls,
            "kind": each.kind,
            "input": each.input_shape,
            "output": each.output_shape,
        }
        for each in network_layers
    ]
    return Answer(f"{text_table(rows)}\nauto is {auto}", {"command": "layers", "auto": str(auto), "layers": listed})


def _shape(shape: tuple[int, ...] | None) -> str:
    return "-" if shape is None else "x".join(map(str, shape))


def add_networks_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks networks`."""
    command.add_argument("--source", metavar="NAME", help="only those of BasicSR, spandrel, ...")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(command=_networks)


def _networks(arguments: argparse.Namespace) -> None:
    from sr_hooks.doctor.verified_networks import read_table, summary

    table = read_table()
    if arguments.source is not None and arguments.source not in table:
        raise OptionError(f"no networks of {arguments.source!r}; {nearest(arguments.source, table)}")
    if arguments.json:
        print(json.dumps({s: r for s, r in table.items() if arguments.source in (None, s)}, indent=1))
        return
    print(summary(table, arguments.source))


def add_doctor_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks doctor`."""
    command.description = (
        f"{command.description} Exit status 0: all works; {NOT_ALL_WORKS}: not all; 2: it cannot be loaded."
    )
    add_network_flags(command, positional=True)
    add_answer_flags(command)
    command.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> Answer:
    import torch

    from sr_hooks.doctor.diagnosis import examine

    network = load_network(arguments)
    torch.set_num_threads(1)  # all is small
    diagnosis = examine(network)
    record = {"command": "doctor", "works": diagnosis.works, **asdict(diagnosis)}
    return Answer(_report(diagnosis), record, 0 if diagnosis.works else NOT_ALL_WORKS)


def _report(diagnosis: Diagnosis) -> str:
    """A diagnosis for people: facts, a line an analysis, cautions and what was proved of its windows."""
    lines = [diagnosis.name]
    facts = dict(diagnosis.facts)
    if words := facts.pop("channels_are", ""):
        facts["channels"] = f"{facts['channels']} ({words})"
    for name, value in facts.items():
        lines.append(
            f"  {name.replace('_', ' '):12s} {value:g}" if isinstance(value, float) else f"  {name:12s} {value}"
        )
    lines.append("")
    findings = diagnosis.findings
    if len({finding.message for finding in findings}) == 1:
        lines += _wrapped("nothing works: ", findings[0].message)
    else:
        for finding in findings:
            mark = "works" if finding.works else "does not work" if finding.explained else "fails"
            lines += _wrapped(f"{finding.analysis:5s} {mark}: ", finding.message)
    for warning in diagnosis.warnings:
        lines += _wrapped("note  ", warning)
    if diagnosis.cone:
        outcome, _, reason = diagnosis.cone.partition(": ")
        if outcome == "proved":
            lines += _wrapped("cone  ", "only what a window depends on is computed")
        else:
            lines += _wrapped("cone  ", f"all is computed for a window ({reason})")
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(head + text, 110, subsequent_indent="      ", break_long_words=False, break_on_hyphens=False)
