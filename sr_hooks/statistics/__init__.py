"""Numbers that sum up maps and features, and say how certain they are."""

from sr_hooks.statistics.gram_pca import Components, Gram, accumulate, principal_components
from sr_hooks.statistics.kernel_alignment import cka, cka_of_grams
from sr_hooks.statistics.linear_probe import Identification, identify
from sr_hooks.statistics.map_correlation import distance_to_window, local_correlation
from sr_hooks.statistics.measures import (
    attribution_map,
    diffusion_index,
    gini,
    interval,
    kde,
    rank_correlation,
    rank_correlation_interval,
    ranks,
)
from sr_hooks.statistics.separability import (
    Separability,
    calinski_harabasz,
    permutation_null,
    separability,
)
from sr_hooks.statistics.sketched_pca import FeatureTable, Sketcher, are_many, checked_rows, sketch_size
from sr_hooks.statistics.tsne import tsne

__all__ = [
    "Components",
    "FeatureTable",
    "Gram",
    "Identification",
    "Separability",
    "Sketcher",
    "accumulate",
    "are_many",
    "attribution_map",
    "calinski_harabasz",
    "checked_rows",
    "cka",
    "cka_of_grams",
    "diffusion_index",
    "distance_to_window",
    "gini",
    "identify",
    "interval",
    "kde",
    "local_correlation",
    "permutation_null",
    "principal_components",
    "rank_correlation",
    "rank_correlation_interval",
    "ranks",
    "separability",
    "sketch_size",
    "tsne",
]
