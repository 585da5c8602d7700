"""Numbers that sum up maps and features."""

from sr_hooks.statistics.gram_pca import Gram, accumulate, principal_components
from sr_hooks.statistics.measures import diffusion_index, gini, interval, kde, rank_correlation

__all__ = [
    "Gram",
    "accumulate",
    "diffusion_index",
    "gini",
    "interval",
    "kde",
    "principal_components",
    "rank_correlation",
]
