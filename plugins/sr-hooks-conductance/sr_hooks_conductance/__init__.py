"""Layer conductance: which blocks made this window, proved by putting each of them out of work."""

from __future__ import annotations

from typing import Any

import sr_hooks
from sr_hooks.analyses import Analysis
from sr_hooks_conductance.analysis import Conductance, ConductanceOptions
from sr_hooks_conductance.finetuning import train_only

__all__ = ["Conductance", "ConductanceOptions", "train_only"]


@sr_hooks.hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Conductance]
