"""The entry point of `sr-hooks`: find the command, import what it needs, run it, turn errors into an exit status.

Nothing here imports torch, so that `sr-hooks --help`, `sr-hooks --version` and completion are quick.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from sr_hooks.cli.command_list import COMMANDS, OWN_ANALYSES, plugin_flags, plugin_names, plugin_words, summaries
from sr_hooks.cli.terminal.answer import Answer, speaking
from sr_hooks.cli.terminal.examples import HelpFormatter, examples_of
from sr_hooks.errors import OptionError, SRHooksError, nearest, shortened
from sr_hooks.version import __version__

__all__ = ["main"]

_EXTRAS = {"matplotlib": "figures", "PIL": "figures", "sklearn": "ddr", "spandrel": "models", "basicsr": "basicsr"}


class _Parser(argparse.ArgumentParser):
    """Raises an error of one line for a wrong argument, where argparse prints the whole usage and exits."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **{"formatter_class": HelpFormatter, **keywords})

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit status: 0; 2 for a user's mistake, in one line; 1 for a fault of ours."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if argv is None and "_ARGCOMPLETE" in os.environ:  # the shell asks what may come next
        from sr_hooks.cli.terminal.completion import complete

        complete(_completing(os.environ.get("COMP_LINE", "").split()[1:]))
    if arguments[:1] == ["train"]:  # its flags are BasicSR's, and what training raises is none of our faults
        from sr_hooks.cli.train import main as train

        return train(arguments[1:])
    try:
        return _run(arguments)
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
    words = ("can't allocate memory", "out of memory")  # of torch's RuntimeError
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(w in str(error) for w in words)):
        return "out of memory: a smaller image, --device cpu or fewer processes may help"
    return None


def _run(arguments: Sequence[str]) -> int:
    parser = _parser(arguments)
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise OptionError(_unknown(parser, parsed, unknown))
    with speaking(parsed):
        answer = parsed.command(parsed)
    if not isinstance(answer, Answer):
        return int(answer or 0)
    answer.show(parsed)
    return answer.status


def _unknown(parser: _Parser, parsed: argparse.Namespace, unknown: Sequence[str]) -> str:
    """The message on arguments that the command does not have, with the nearest flags."""
    command = _subparsers(parser).choices[parsed.COMMAND]
    flag = next((text.partition("=")[0] for text in unknown if text.startswith("-")), None)
    where = f"(see {command.prog} --help)"
    if flag is None:
        return f"unrecognized arguments: {' '.join(unknown)} {where}"
    known = [text for action in command._actions for text in action.option_strings]
    hint = nearest(flag, known)
    return f"unrecognized arguments: {flag}{f'; {hint}' if hint.startswith('did you') else ''} {where}"


def _subparsers(parser: argparse.ArgumentParser) -> Any:
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def _parser(arguments: Sequence[str], *, add_analysis: Any = None) -> _Parser:
    """The parser for these arguments: the command that they name has its flags, the others are listed or left out.

    Args:
        arguments: of the command line; the first may be a part of a command's name, where `add_analysis` is stated.
        add_analysis: adds the analysis of a name to the subparsers; by default all analyses, as their classes say.
    """
    parser = _Parser(
        prog="sr-hooks",
        description="Look inside super-resolution and restoration networks, during and after training.",
        epilog=f"what an error means, and what to do:\n  {SRHooksError.page.partition('#')[0]}",
    )
    parser.add_argument("--version", action="version", version=f"sr_hooks {__version__}")
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", dest="COMMAND", parser_class=_Parser
    )
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    known = {} if name in COMMANDS or name in OWN_ANALYSES else summaries()
    if name in COMMANDS:
        summary, source = COMMANDS[name]
        text = f"{summary[0].upper()}{summary[1:]}."
        command = commands.add_parser(name, help=summary, description=text, epilog=examples_of(name))
        if name != "train":
            pkgutil.resolve_name(source)(command)
    elif add_analysis is not None and name in {*OWN_ANALYSES, *known}:
        add_analysis(commands, name)
    elif name is None or add_analysis is not None:
        for listed, summary in known.items():
            commands.add_parser(listed, help=summary.replace("%", "%%"))
    elif name in known or name in OWN_ANALYSES:
        from sr_hooks.cli.analysis import add_analyses

        add_analyses(commands)
    else:
        raise OptionError(f"no command {name!r}; {nearest(name, known)} (see sr-hooks --help)")
    return parser


def _completing(words: Sequence[str]) -> _Parser:
    """The parser for a line that is still typed, with what may stand behind each flag."""
    from sr_hooks.cli.terminal.completion import own_analysis
    from sr_hooks.cli.terminal.values import add_completers

    parser = _parser(words, add_analysis=_completed)
    command = _subparsers(parser).choices.get(words[0]) if words else None
    if command is not None:
        name = words[0]
        known = own_analysis(name).words if name in OWN_ANALYSES else {} if name in COMMANDS else plugin_words(name)
        analyses = [listed for listed in summaries() if listed not in COMMANDS]
        add_completers(command, known, analyses=lambda: analyses, plugin_names=plugin_names)
    return parser


def _completed(commands: Any, name: str) -> None:
    """Add an analysis with the names of its flags alone, for completion."""
    from sr_hooks.cli.networks import add_analysis_flags
    from sr_hooks.cli.terminal.completion import own_analysis

    command = commands.add_parser(name)
    if name in OWN_ANALYSES:
        own = own_analysis(name)
        add_analysis_flags(command, name, takes_lr=own.takes_lr, can_check=own.can_check, divides=own.divides)
    flags = own.flags if name in OWN_ANALYSES else plugin_flags(name)
    for flag in flags:
        command.add_argument(flag, nargs="*")


if __name__ == "__main__":
    sys.exit(main())
