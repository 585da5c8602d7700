"""Errors by region: where in the image does a network fail, and is that more than where the pixels are?"""

from __future__ import annotations

from typing import Any

import sr_hooks
from sr_hooks.analyses import Analysis
from sr_hooks_regions.analysis import Regions, RegionsOptions
from sr_hooks_regions.labels import texture_labels

__all__ = ["Regions", "RegionsOptions", "texture_labels"]


@sr_hooks.hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Regions]
