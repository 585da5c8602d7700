"""The flag `--figure`, by which commands change their figures."""

from __future__ import annotations

import argparse
import dataclasses

from sr_hooks.figures.options import FigureOptions, parse_pairs

__all__ = ["add_figure_flag", "figure_options"]


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
