"""The flag --force_yml of BasicSR for our block: BasicSR itself cannot add keys that the option file lacks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_hooks.core.yaml_files import read_options, value_or_text
from sr_hooks.errors import OptionError
from sr_hooks.training.config import BLOCK, merge

__all__ = ["Forced", "forced", "without_missing_keys"]

_FLAG = "--force_yml"


@dataclass(frozen=True)
class Forced:
    """The flags of a run, split at --force_yml into what BasicSR can set itself and what it cannot.

    Attributes:
        flags: the flags for BasicSR, which sets `a:b:key` if `a:b` is in the file, and fails if it is not.
        missing: our entries that BasicSR would fail at, as a block.
        block: all our entries, as a block.
    """

    flags: list[str]
    missing: dict[str, Any] = field(default_factory=dict)
    block: dict[str, Any] = field(default_factory=dict)


def forced(flags: Sequence[str], content: Any) -> Forced:
    """Split the flags of a run whose option file holds `content`.

    Raises:
        OptionError: an entry of ours is not of the form sr_hooks:analysis:key=value or sr_hooks:key=value.
    """
    remaining: list[str] = []
    missing: dict[str, Any] = {}
    entries: dict[str, Any] = {}
    block = content.get(BLOCK) if isinstance(content, Mapping) else None
    inside = False
    for text in flags:
        inside = text == _FLAG or (inside and text[:1] != "-")
        if not inside or not text.startswith(f"{BLOCK}:"):
            remaining.append(text)
            continue
        path, equals, value = text.partition("=")
        keys = [key.strip() for key in path.split(":")[1:]]
        if not equals or not all(keys) or len(keys) > 2:
            raise OptionError(f"{_FLAG} {text} is not understood: write {BLOCK}:analysis:key=value")
        setting = value_or_text(value.strip())
        change = {keys[0]: setting} if len(keys) == 1 else {keys[0]: {keys[1]: setting}}
        entries = merge(entries, change)
        if isinstance(block, Mapping) and (len(keys) == 1 or isinstance(block.get(keys[0]), Mapping)):
            remaining.append(text)
        else:
            missing = merge(missing, change)
    ends = [*remaining[1:], "-"]  # a flag that the next text follows at once has no entries left
    flags_left = [text for text, after in zip(remaining, ends, strict=True) if text != _FLAG or after[:1] != "-"]
    return Forced(flags_left, missing, entries)


@contextmanager
def without_missing_keys(file: Path | None) -> Iterator[dict[str, Any]]:
    """For the block, take from sys.argv our entries that BasicSR would fail at, and yield them as a block."""
    before = sys.argv
    try:
        content = read_options(file) if file is not None else None
    except OptionError:
        content = None  # BasicSR will raise the error itself
    split = forced(sys.argv[1:], content) if content is not None else Forced(sys.argv[1:])
    sys.argv = [*before[:1], *split.flags]
    try:
        yield split.missing
    finally:
        sys.argv = before
