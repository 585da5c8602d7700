"""Which patches are hard for a network, what each costs, and a clip's patches in groups by difficulty.

After ClassSR (Kong et al., arXiv 2103.04039) and STDO (Li et al., *Towards High-Quality and Efficient Video
Super-Resolution via Spatial-Temporal Data Overfitting*, arXiv 2303.08331).
"""

from __future__ import annotations

import sr_hooks
from sr_hooks_difficulty.analysis import CLASSES, CLASSSR, Difficulty, DifficultyOptions, corners
from sr_hooks_difficulty.chunks import Chunks, ChunksOptions, group_patches

__all__ = [
    "CLASSES",
    "CLASSSR",
    "Chunks",
    "ChunksOptions",
    "Difficulty",
    "DifficultyOptions",
    "corners",
    "group_patches",
    "register_analyses",
]


@sr_hooks.hookimpl
def register_analyses() -> list[type[sr_hooks.Analysis]]:
    return [Difficulty, Chunks]
