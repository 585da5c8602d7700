"""Chunks: a clip's patches in groups of equal number, from the hardest for a general network to the easiest."""

from sr_hooks_difficulty.chunks.analysis import Chunks, ChunksOptions
from sr_hooks_difficulty.chunks.patches import group_patches

__all__ = ["Chunks", "ChunksOptions", "group_patches"]
