"""How a command answers: text or JSON on standard output; how much is said meanwhile on standard error."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr_hooks.files.strict_json import to_json

__all__ = ["PERIODS", "Answer", "add_answer_flags", "add_out_flags", "speaking"]

PERIODS = {"usual": 30.0, "verbose": 5.0}
"""Seconds between two lines of progress where standard error is no terminal."""


@dataclass(frozen=True)
class Answer:
    """What a command found: for people, and for programs.

    Attributes:
        text: for people.
        record: the one JSON document of `--json`.
        status: the exit status.
    """

    text: str
    record: Mapping[str, Any]
    status: int = 0

    def show(self, arguments: argparse.Namespace) -> None:
        """Print the answer as the flags of `add_answer_flags` say."""
        if getattr(arguments, "json", False):
            print(to_json(self.record))
        elif not getattr(arguments, "quiet", False):
            print(self.text)


def add_answer_flags(command: argparse.ArgumentParser) -> None:
    """Add `--quiet`, `--verbose` and `--json`."""
    group = command.add_argument_group("what is printed")
    volume = group.add_mutually_exclusive_group()
    volume.add_argument("--quiet", action="store_true", help="print nothing but errors")
    volume.add_argument("--verbose", action="store_true", help="say on standard error what is done")
    group.add_argument("--json", action="store_true", help="print one JSON document: folders, numbers and verdicts")


def add_out_flags(command: argparse.ArgumentParser, default: str) -> None:
    """Add `--out` and `--overwrite`."""
    command.add_argument(
        "--out",
        type=Path,
        default=Path(default),
        metavar="FOLDER",
        help=f"folder (default: {default}); where it holds results, {default}_2, _3, ... is made",
    )
    command.add_argument("--overwrite", action="store_true", help="replace the results in the folder")


@contextmanager
def speaking(arguments: argparse.Namespace) -> Iterator[None]:
    """In this block, logs and progress go to standard error as the flags say.

    Progress is a bar in a terminal. Elsewhere it is a line every half minute; every five seconds with `--verbose`.
    """
    quiet, verbose = getattr(arguments, "quiet", False), getattr(arguments, "verbose", False)
    logger = logging.getLogger("sr_hooks")
    level, handlers = logger.level, list(logger.handlers)
    if quiet or verbose:
        logger.setLevel(logging.ERROR if quiet else logging.INFO)
    if verbose:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("sr-hooks: %(message)s"))
        logger.addHandler(handler)
    try:
        with _progress(quiet, PERIODS["verbose" if verbose else "usual"]):
            yield
    finally:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@contextmanager
def _progress(quiet: bool, period: float) -> Iterator[None]:
    from sr_hooks.core.progress import no_progress, progress_lines  # here, since a help needs none of it

    if quiet:
        with no_progress():
            yield
    elif sys.stderr.isatty():
        yield
    else:
        with progress_lines(_print_line, period):
            yield


def _print_line(line: str) -> None:
    print(f"sr-hooks: {line}", file=sys.stderr, flush=True)
