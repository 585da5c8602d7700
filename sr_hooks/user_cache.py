"""Where sr_hooks keeps on this machine what need not be computed twice."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path | None:
    """`SR_HOOKS_CACHE` where it is set, None where it is set empty (keep nothing), else `sr_hooks` in the user's cache.

    The folder need not exist yet, and anything in it may be deleted at any time.
    """
    named = os.environ.get("SR_HOOKS_CACHE")
    if named is not None:
        return Path(named) if named else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sr_hooks"
