"""Where sr_hooks keeps on this machine what need not be computed twice."""

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
    """`SR_HOOKS_CACHE` where it is set, None where it is set empty (keep nothing), else `sr_hooks` in the user's cache.

    The folder need not exist yet, and anything in it may be deleted at any time.
    """
    named = os.environ.get("SR_HOOKS_CACHE")
    if named is not None:
        return Path(named) if named else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sr_hooks"


def recall(key: str) -> dict[str, Any] | None:
    """What was remembered under this key, or None."""
    folder = cache_folder()
    try:
        facts = json.loads((folder / f"{key}.json").read_text()) if folder else None
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def remember(key: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Keep this for later runs; what is given back is kept: that of another process which was first, or this."""
    folder, mine = cache_folder(), dict(facts)
    if folder is None:
        return mine
    path, part = folder / f"{key}.json", folder / f"{key}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(mine))
        try:
            os.link(part, path)
        except OSError:  # it is there, or the file system has no links
            first = recall(key)
            if first is not None:
                return first
            part.replace(path)
    except OSError as error:
        _log.debug("%s is not kept: %s", key, error)
    finally:
        part.unlink(missing_ok=True)
    return mine
