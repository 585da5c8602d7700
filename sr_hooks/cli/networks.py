"""`sr-hooks networks` and `sr-hooks doctor`."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Callable
from typing import Any

import torch

from sr_hooks.doctor.diagnosis import Diagnosis, examine
from sr_hooks.doctor.verified_networks import read_table, summary
from sr_hooks.errors import OptionError, nearest
from sr_hooks.networks.network import Network

__all__ = ["add_commands"]

NOT_ALL_WORKS = 3
"""Exit status of `doctor` where some analysis does not work."""


def add_commands(
    commands: Any,
    network_flags: Callable[..., None],
    network_of: Callable[[argparse.Namespace], Network],
) -> None:
    """Both subcommands; what a network's flags are and how they are read is the caller's."""
    what = "the networks that are verified, and which analyses work on them"
    command = commands.add_parser("networks", help=what, description=f"{what[0].upper()}{what[1:]}.")
    command.add_argument("--source", metavar="NAME", help="only those of BasicSR, spandrel, ...")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(command=_networks)

    what = "load a network, run each analysis on it at a small size, and say what works, what does not and why"
    command = commands.add_parser(
        "doctor",
        help=what,
        description=f"{what[0].upper()}{what[1:]}. Exit status 0: all works; {NOT_ALL_WORKS}: not all; 2: it cannot be "
        "loaded.",
    )
    network_flags(command, positional=True)
    command.set_defaults(command=lambda arguments: _doctor(network_of(arguments)))


def _networks(arguments: argparse.Namespace) -> None:
    table = read_table()
    if arguments.source is not None and arguments.source not in table:
        raise OptionError(f"no networks of {arguments.source!r}; {nearest(arguments.source, table)}")
    if arguments.json:
        print(json.dumps({s: r for s, r in table.items() if arguments.source in (None, s)}, indent=1))
        return
    print(summary(table, arguments.source))


def _doctor(network: Network) -> int:
    torch.set_num_threads(1)  # all is small
    diagnosis = examine(network)
    print(report(diagnosis))
    return 0 if diagnosis.works else NOT_ALL_WORKS


def report(diagnosis: Diagnosis) -> str:
    """A diagnosis for people: facts, a line an analysis, cautions and what was proved of its windows."""
    lines = [diagnosis.name]
    for name, value in diagnosis.facts.items():
        lines.append(
            f"  {name.replace('_', ' '):12s} {value:g}" if isinstance(value, float) else f"  {name:12s} {value}"
        )
    lines.append("")
    if len({finding.message for finding in diagnosis.findings}) == 1:
        lines += _wrapped("nothing works: ", diagnosis.findings[0].message)
    for finding in diagnosis.findings if len({finding.message for finding in diagnosis.findings}) > 1 else ():
        mark = "works" if finding.works else "does not work"
        if not finding.explained:
            mark = "fails"
        lines += _wrapped(f"{finding.analysis:5s} {mark}: ", finding.message)
    for warning in diagnosis.warnings:
        lines += _wrapped("note  ", warning)
    if diagnosis.cone:
        how, _, why = diagnosis.cone.partition(": ")
        sentence = (
            "only what a window depends on is computed" if how == "proved" else f"all is computed for a window ({why})"
        )
        lines += _wrapped("cone  ", sentence)
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(head + text, 110, subsequent_indent="      ", break_long_words=False, break_on_hyphens=False)
