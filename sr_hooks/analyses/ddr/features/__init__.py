"""Features of the samples of DDR: streamed, as Gram matrices, or as sketches."""

from sr_hooks.analyses.ddr.features.gram import gram_matrices, kept_features
from sr_hooks.analyses.ddr.features.sketch import exact_components, sketched_part, tables_of
from sr_hooks.analyses.ddr.features.stream import Features, Look

__all__ = [
    "Features",
    "Look",
    "exact_components",
    "gram_matrices",
    "kept_features",
    "sketched_part",
    "tables_of",
]
