"""A cache of small facts on disk, by key: what need not be computed twice on this machine."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["cache_folder", "recall", "remember"]

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
    """The facts that were stored under this key, or None."""
    folder = cache_folder()
    try:
        facts = json.loads((folder / f"{key}.json").read_text()) if folder else None
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def remember(key: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Store facts for later runs and return the stored ones: those of another process if it stored its own first."""
    folder, stored = cache_folder(), dict(facts)
    if folder is None:
        return stored
    path, part = folder / f"{key}.json", folder / f"{key}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(stored))
        try:
            os.link(part, path)
        except OSError:  # the file exists already, or the file system has no hard links
            first = recall(key)
            if first is not None:
                return first
            part.replace(path)
    except OSError as error:
        _log.debug("%s is not stored: %s", key, error)
    finally:
        part.unlink(missing_ok=True)
    return stored
