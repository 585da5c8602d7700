"""Similarity of layers: within a network, between two, or between two iterations of a training, beyond controls."""

from __future__ import annotations

from typing import Any

import sr_hooks
from sr_hooks.analyses import Analysis
from sr_hooks_similarity.analysis import Similarity, SimilarityOptions

__all__ = ["Similarity", "SimilarityOptions"]


@sr_hooks.hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Similarity]
