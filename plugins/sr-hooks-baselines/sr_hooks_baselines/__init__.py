"""LAM of one network from every baseline: how much of the map, and of the diffusion index, is the baseline's choice?"""

from __future__ import annotations

from typing import Any

import sr_hooks
from sr_hooks.analyses import Analysis
from sr_hooks_baselines.analysis import Baselines, BaselinesOptions

__all__ = ["Baselines", "BaselinesOptions"]


@sr_hooks.hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Baselines]
