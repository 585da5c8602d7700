"""The values that completion offers behind a flag: words of ours, what plugins add, files. Nothing imports torch."""

from __future__ import annotations

import argparse
import json
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import sr_hooks

__all__ = ["OWN_NAMES", "add_completers", "literal_words"]

Words = Callable[[], Iterable[str]]

OWN_NAMES = {
    "objectives": ("gradient", "intensity", "channel:", "gabor:", "residual", "loss", "feature:", "module:"),
    "paths": ("blur", "linear", "black", "mean", "gaussian", "uniform", "expected:"),
    "degradations": (
        *("clean", "blur:", "aniso:", "noise:", "poisson:", "jpeg:", "down:"),
        *("rain", "classical", "shuffled", "second", "aeris"),
    ),
}
"""What sr_hooks itself registers; with a colon where an argument must follow. A test compares it with the registry."""

_COLOURS = ("white", "black", "grey")
_DEVICES = ("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps")
_BESIDE_FILES: Mapping[str, Sequence[str]] = {
    "--window": ("auto",),
    **dict.fromkeys(("--model", "--baseline", "model"), ("demo:baseline", "demo:target")),
}
_NETWORKS = Path(sr_hooks.__file__).parent / "doctor" / "networks.json"


def literal_words(hint: Any) -> list[str]:
    """The texts that a type allows: of Literal["auto", "off"] | None auto and off."""
    if typing.get_origin(hint) is typing.Literal:
        return [value for value in typing.get_args(hint) if isinstance(value, str)]
    return [word for member in typing.get_args(hint) for word in literal_words(member)]


def add_completers(
    command: argparse.ArgumentParser,
    words: Mapping[str, Sequence[str]],
    *,
    analyses: Words,
    plugin_names: Callable[[str], Iterable[str]],
) -> None:
    """Tell argcomplete what may stand behind each flag of a command.

    Args:
        command: its parser.
        words: flag to the words that the type of an option of the analysis allows.
        analyses: gives the names of all analyses.
        plugin_names: gives what plugins add to "objectives", "paths" or "degradations".
    """

    def names(what: str) -> Words:
        return lambda: dict.fromkeys([*OWN_NAMES[what], *plugin_names(what)])

    special: dict[str, Words] = {
        "--objective": names("objectives") if "--objective" not in words else lambda: _losses(words["--objective"]),
        "--path": names("paths"),
        "--degradations": names("degradations"),
        "--analyses": analyses,
        "--analysis": analyses,
        "--figure": _figure_pairs,
        "--device": lambda: _DEVICES,
        "--background": lambda: _COLOURS,
        "--source": lambda: json.loads(_NETWORKS.read_text(encoding="utf-8")),
        "--layers": lambda: ("auto", "all"),
        "--layer": lambda: ("auto",),
    }
    for action in command._actions:
        flag = next((text for text in action.option_strings if text.startswith("--")), action.dest)
        if flag in special:
            complete = _completer(special[flag])
        elif flag in _BESIDE_FILES:
            complete = _completer(partial(_BESIDE_FILES.__getitem__, flag), files=True)
        elif flag in words:
            complete = _completer(partial(words.__getitem__, flag))
        else:
            continue  # argcomplete offers the choices of the flag, or files
        action.completer = complete  # type: ignore[attr-defined]


def _losses(own: Iterable[str]) -> list[str]:
    """Of an analysis that differentiates a loss of whole images, such as FAIG."""
    return [*own, "feature:", "module:"]


def _completer(words: Words, *, files: bool = False) -> Callable[..., list[str]]:
    def complete(prefix: str = "", **_: Any) -> list[str]:
        offered = [word for word in words() if word.startswith(prefix)]
        if files:
            from argcomplete.completers import FilesCompleter

            offered += list(FilesCompleter()(prefix))
        return offered

    return complete


def _figure_pairs() -> Iterator[str]:
    """Every key with its values, or with nothing behind the sign where any value may follow."""
    from sr_hooks.figures.options import COLUMN_WIDTHS, FigureOptions

    values = {"width": list(COLUMN_WIDTHS), "notes": ["true", "false"], "zoom": ["true"]}
    for key, hint in typing.get_type_hints(FigureOptions).items():
        if key != "axes":
            for value in literal_words(hint) or values.get(key, [""]):
                yield f"{key}={value}"
