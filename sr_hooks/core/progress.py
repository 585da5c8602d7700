"""A progress bar on standard error for long computations; nothing is printed where standard error is no terminal."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

__all__ = ["progress_bar"]


def progress_bar(what: str, total: int | None = None, *, unit: str = "steps") -> Any:
    """A tqdm bar that appears after two seconds, only where stderr is a terminal; `update(n)` it and close it (`with`).

    Args:
        what: the analysis, as people call it.
        total: of units, where known.
        unit: what is counted, in the plural.
    """
    return tqdm(desc=what, total=total, unit=f" {unit}", delay=2, disable=None, leave=False)
