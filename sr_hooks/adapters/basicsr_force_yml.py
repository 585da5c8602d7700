"""BasicSR's --force_yml where it concerns our block: it cannot make keys that the option file lacks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_hooks.core.yaml_files import read_yaml, value_or_text
from sr_hooks.errors import OptionError
from sr_hooks.training.config import BLOCK, merge

__all__ = ["Forced", "forced", "without_ours"]

_FLAG = "--force_yml"


@dataclass(frozen=True)
class Forced:
    """What --force_yml says of our block.

    Attributes:
        flags: what is left for BasicSR: it sets `a:b:key` where `a:b` is in the file, and fails where it is not.
        taken: the rest of ours, as a block.
        block: all of ours, as a block.
    """

    flags: list[str]
    taken: dict[str, Any] = field(default_factory=dict)
    block: dict[str, Any] = field(default_factory=dict)


def forced(flags: Sequence[str], content: Any) -> Forced:
    """Split the flags of a run whose option file holds `content`.

    Raises:
        OptionError: an entry of ours is not of the form sr_hooks:analysis:key=value or sr_hooks:key=value.
    """
    kept: list[str] = []
    taken: dict[str, Any] = {}
    ours: dict[str, Any] = {}
    block = content.get(BLOCK) if isinstance(content, Mapping) else None
    inside = False
    for text in flags:
        inside = text == _FLAG or (inside and text[:1] != "-")
        if not inside or not text.startswith(f"{BLOCK}:"):
            kept.append(text)
            continue
        path, equals, value = text.partition("=")
        keys = [key.strip() for key in path.split(":")[1:]]
        if not equals or not all(keys) or len(keys) > 2:
            raise OptionError(f"{_FLAG} {text} is not understood: write {BLOCK}:analysis:key=value")
        setting = value_or_text(value.strip())
        change = {keys[0]: setting} if len(keys) == 1 else {keys[0]: {keys[1]: setting}}
        ours = merge(ours, change)
        if isinstance(block, Mapping) and (len(keys) == 1 or isinstance(block.get(keys[0]), Mapping)):
            kept.append(text)
        else:
            taken = merge(taken, change)
    empty = {i for i, t in enumerate(kept) if t == _FLAG and (i + 1 == len(kept) or kept[i + 1][:1] == "-")}
    return Forced([text for i, text in enumerate(kept) if i not in empty], taken, ours)


@contextmanager
def without_ours(file: Path | None) -> Iterator[dict[str, Any]]:
    """Take from the process's arguments, for a while, what BasicSR could not do; yields it as a block."""
    before = sys.argv
    try:
        content = read_yaml(file) if file is not None else None
    except OptionError:
        content = None  # BasicSR will say so
    split = forced(sys.argv[1:], content) if content is not None else Forced(sys.argv[1:])
    sys.argv = [*before[:1], *split.flags]
    try:
        yield split.taken
    finally:
        sys.argv = before
