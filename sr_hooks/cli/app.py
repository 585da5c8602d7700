"""The entry point of `sr-hooks`: find the command, import what it needs, run it, turn errors into an exit status.

Nothing here imports torch, so that `sr-hooks --help` and `sr-hooks --version` are quick.
"""

from __future__ import annotations

import argparse
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from sr_hooks.cli.command_list import COMMANDS, summaries
from sr_hooks.errors import OptionError, SRHooksError, shortened
from sr_hooks.version import __version__

__all__ = ["main"]

_EXTRAS = {"matplotlib": "figures", "PIL": "figures", "sklearn": "ddr", "spandrel": "models", "basicsr": "basicsr"}


class _Parser(argparse.ArgumentParser):
    """Raises an error of one line for a wrong argument, where argparse prints the whole usage and exits."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit status: 0; 2 for a user's mistake, in one line; 1 for a fault of ours."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["train"]:  # its flags are BasicSR's, and what training raises is none of our faults
        from sr_hooks.cli.train import main as train

        return train(arguments[1:])
    try:
        parsed = _parser(arguments).parse_args(arguments)
        return int(parsed.command(parsed) or 0)
    except SRHooksError as error:
        print(f"sr-hooks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sr-hooks: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the program that read our output has ended; a message would have no reader
        return 0
    except Exception as error:
        mistake = _users_mistake(error)
        if mistake is not None:
            print(f"sr-hooks: {shortened(mistake)}", file=sys.stderr)
            return 2
        traceback.print_exc()
        print(f"sr-hooks: a fault of ours, please report it with the lines above: {error}", file=sys.stderr)
        return 1


def _users_mistake(error: Exception) -> str | None:
    """One line on a file that cannot be used, a package that is missing, or memory that ran out; None for a fault."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {shortened(str(error.filename), 200)}: {error.strerror}"
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return f"{error.name} is not installed: pip install 'sr_hooks[{_EXTRAS[error.name]}]'"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory: a smaller image, --device cpu or fewer processes may help"
    return None


def _parser(arguments: Sequence[str]) -> _Parser:
    """The parser for these arguments: the command that they name has its flags, the others are listed or left out."""
    parser = _Parser(
        prog="sr-hooks",
        description="Look inside super-resolution and restoration networks, during and after training.",
    )
    parser.add_argument("--version", action="version", version=f"sr_hooks {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if name is None:
        for listed, summary in summaries().items():
            commands.add_parser(listed, help=summary.replace("%", "%%"))
    elif name in COMMANDS:
        summary, source = COMMANDS[name]
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        pkgutil.resolve_name(source)(command)
    else:
        from sr_hooks.cli.analysis import add_analyses

        add_analyses(commands)
        if name not in commands.choices:  # the message of argparse names all that there are
            for other in COMMANDS:
                commands.add_parser(other)
    return parser


if __name__ == "__main__":
    sys.exit(main())
