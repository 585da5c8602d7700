"""A cache of small facts on disk, by key: what need not be computed twice on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sr_hooks.files.regular_files import read_bytes
from sr_hooks.files.strict_json import from_json, to_json

__all__ = ["cache_folder", "recall", "remember"]

_LARGEST = 65536  # bytes of a cache file
_log = logging.getLogger("sr_hooks")


def cache_folder() -> Path | None:
    """The cache folder: `SR_HOOKS_CACHE` if set, None if that is set but empty, else `sr_hooks` in the user's cache.

    The folder need not exist yet, and anything in it may be deleted at any time.
    """
    setting = os.environ.get("SR_HOOKS_CACHE")
    if setting is not None:
        return Path(setting) if setting else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sr_hooks"


def recall(key: str) -> dict[str, Any] | None:
    """The facts under this key, or None where there are none; a hint, since anybody may have written the file."""
    folder = cache_folder()
    try:
        facts = from_json(read_bytes(folder / f"{key}.json", largest=_LARGEST)) if folder else None
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def remember(key: str, facts: Mapping[str, Any], *, is_sound: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    """Keep facts for later runs, and return what later runs will recall.

    Another process may have written the key first: its facts are returned where `is_sound` accepts them, and replaced
    where it does not.
    """
    folder, own = cache_folder(), dict(facts)
    if folder is None:
        return own
    path, part = folder / f"{key}.json", folder / f"{key}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_text(to_json(own, indent=None))
        try:
            os.link(part, path)
        except OSError:  # the file exists already, or the file system has no hard links
            first = recall(key)
            if first is not None and is_sound(first):
                return first
            part.replace(path)
    except OSError as error:
        _log.debug("%s is not stored: %s", key, error)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return own
