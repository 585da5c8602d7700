"""Features: what the channels of a network's layers look like, and whether they are healthy in a training."""

from __future__ import annotations

from typing import Any

import sr_hooks
from sr_hooks.analyses import Analysis
from sr_hooks_features.features import Features, FeaturesOptions
from sr_hooks_features.health import Health, HealthOptions

__all__ = ["Features", "FeaturesOptions", "Health", "HealthOptions"]


@sr_hooks.hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Features, Health]
