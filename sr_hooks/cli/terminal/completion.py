"""Completion in bash, zsh and fish, by argcomplete; the options of our analyses are read from their source.

At a press of TAB nothing imports torch. So the flags of an analysis are not taken from its class.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sr_hooks
from sr_hooks.cli.terminal.answer import Answer
from sr_hooks.errors import OptionError

__all__ = ["SHELLS", "OwnAnalysis", "add_completion_arguments", "complete", "own_analysis"]

SHELLS = ("bash", "zsh", "fish")
_ALIASES: dict[str, list[Any]] = {"Store": ["auto", "int16", "float32"]}
"""Literals that options use by a name of another module; a test compares the words with those of the types."""
_ANALYSES = Path(sr_hooks.__file__).parent / "analyses"


class OwnAnalysis(NamedTuple):
    """What completion needs to know of an analysis of sr_hooks itself: flags, words behind them, what it takes."""

    flags: tuple[str, ...]
    words: Mapping[str, Sequence[str]]
    takes_lr: bool
    can_check: bool
    divides: bool


def add_completion_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks completion`."""
    command.add_argument("shell", choices=SHELLS, help="for which shell")
    command.set_defaults(command=_completion)


def _completion(arguments: argparse.Namespace) -> Answer:
    script = _argcomplete().shellcode(["sr-hooks"], shell=arguments.shell)
    return Answer(str(script).strip("\n"), {})


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell that asks for completions, and end the process."""
    _argcomplete().autocomplete(parser, always_complete_options=True)


def _argcomplete() -> Any:
    try:
        import argcomplete
    except ImportError:
        raise OptionError("completion needs argcomplete: pip install argcomplete") from None
    return argcomplete


def own_analysis(name: str) -> OwnAnalysis:
    """What the source of an analysis of sr_hooks says of its flags, read without importing it."""
    for folder in sorted(path for path in _ANALYSES.iterdir() if path.is_dir()):
        classes = {item.name: item for file in sorted(folder.glob("*.py")) for item in _classes(file)}
        for item in classes.values():
            facts = _assigned(item)
            if facts.get("name") == repr(name):
                options = classes[facts["options_type"]]
                return OwnAnalysis(
                    flags=tuple(_flags(options)),
                    words=dict(_words(options)),
                    takes_lr=facts.get("takes", repr("lr")) == repr("lr"),
                    can_check=facts.get("result_type") == "LamResult",
                    divides=any(isinstance(node, ast.FunctionDef) and node.name == "divided" for node in item.body),
                )
    raise KeyError(name)


def _classes(file: Path) -> Iterator[ast.ClassDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return (node for node in tree.body if isinstance(node, ast.ClassDef))


def _assigned(item: ast.ClassDef) -> dict[str, str]:
    """The values that a class assigns in its body, as source text."""
    pairs = [
        (target, node.value)
        for node in item.body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return {target.id: ast.unparse(value) for target, value in pairs if isinstance(target, ast.Name)}


def _flags(options: ast.ClassDef) -> Iterator[str]:
    for node in options.body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        keywords = node.value.keywords if isinstance(node.value, ast.Call) else []
        if any(word.arg == "flag" and ast.unparse(word.value) == "False" for word in keywords):
            continue
        flag = node.target.id.replace("_", "-")
        yield f"--{flag}"
        if ast.unparse(node.annotation) == "bool":
            yield f"--no-{flag}"


def _words(options: ast.ClassDef) -> Iterator[tuple[str, list[str]]]:
    """Each flag whose type has a Literal, with the texts in it."""
    for node in options.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            words = []
            for part in ast.walk(node.annotation):
                if isinstance(part, ast.Name):
                    words += _ALIASES.get(part.id, [])
                elif isinstance(part, ast.Subscript) and ast.unparse(part.value) == "Literal":
                    words += [item.value for item in ast.walk(part.slice) if isinstance(item, ast.Constant)]
            if texts := [word for word in words if isinstance(word, str)]:
                yield f"--{node.target.id.replace('_', '-')}", texts
