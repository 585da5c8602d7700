"""Compute a DDR from samples: features, principal components and separability, layer by layer."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sr_hooks.analyses.ddr.features import (
    Features,
    Look,
    exact_components,
    gram_matrices,
    sketched_part,
    tables_of,
)
from sr_hooks.analyses.ddr.options import DdrOptions
from sr_hooks.analyses.ddr.result import DdrResult, LayerSeparability, as_scalars, generalisation
from sr_hooks.analyses.ddr.samples import Samples
from sr_hooks.analyses.ddr.verdict import judge
from sr_hooks.errors import OptionError
from sr_hooks.hooks.layer_list import resolve
from sr_hooks.hooks.taps import parse_layers
from sr_hooks.images.patch_sets import digest_of_inputs
from sr_hooks.networks.network import Network
from sr_hooks.statistics.gram_pca import Components, Gram, principal_components
from sr_hooks.statistics.separability import Separability, calinski_harabasz, separability
from sr_hooks.statistics.sketched_pca import FeatureTable, Sketcher, are_many, checked_rows, sketch_size
from sr_hooks.statistics.tsne import tsne

__all__ = ["Projected", "conclude", "features_of", "measure", "projected_exactly", "projected_tables"]


@dataclass(frozen=True)
class Projected:
    """Principal components of one layer's features.

    Attributes:
        components: None where the features are constant.
        dimensions: of a feature.
        check: of sketched features, how the exact index and the sketches' index compare; None for exact ones.
    """

    components: Components | None
    dimensions: int
    check: dict[str, Any] | None = None


def measure(network: Network, samples: Samples, options: DdrOptions, look: Look | None = None) -> DdrResult:
    """The result for samples that are drawn already; `look` sees every batch of features (see `gram_matrices`)."""
    size = sketch_size(options.sketch, len(samples.labels), options.memory)
    features = features_of(network, samples, options, measured=not size)
    if not size:
        grams = gram_matrices(
            features, memory=options.memory, store=options.store, keep=options.keep_features, look=look
        )
        return conclude(samples, options, projected_exactly(grams, options), features)
    size = sketch_size(options.sketch, len(samples.labels), options.memory, len(features.wanted))
    rows, sketcher, parts = checked_rows(samples.groups, options.seed), Sketcher(size, options.seed), samples.parts()
    exact = exact_components(features, rows, components=options.components, memory=options.memory / 2)
    tables = tables_of(samples, features.wanted, lambda n: sketched_part(features, parts[n], sketcher, look))
    return conclude(samples, options, projected_tables(tables, exact, rows, samples, options), features)


def features_of(network: Network, samples: Samples, options: DdrOptions, *, measured: bool = True) -> Features:
    """The features of the samples at the layers of the options.

    Raises:
        OptionError: scikit-learn is missing, there is no such frame, or sketched features are to be kept.
        TapError: there is no such layer.
    """
    if (options.tsne or options.identify) and importlib.util.find_spec("sklearn") is None:
        raise OptionError(
            "t-SNE and the probe need scikit-learn: pip install 'sr_hooks[ddr]', or go without: tsne=0, identify=False"
        )
    if not measured and options.keep_features is not None:
        raise OptionError("keep_features is for features that are not sketched, in one process: leave it out")
    first = samples.inputs[:1].to(network.device)
    wanted = resolve(network.module, parse_layers(options.layers), lambda: network.feed(first))
    if options.frame is not None:
        count = samples.inputs.shape[1] if network.frames else 0
        if options.frame not in range(count):
            there = f"the clips have frames 0 to {count - 1}" if count else f"{network.name} takes images"
            raise OptionError(f"frame is {options.frame}: {there}")
    return Features(network, samples, wanted, frame=options.frame, measured=measured)


def projected_exactly(grams: Mapping[str, Gram], options: DdrOptions) -> dict[str, Projected]:
    """Tap to exact principal components."""
    return {
        tap: Projected(principal_components(gram, options.components), gram.dimensions) for tap, gram in grams.items()
    }


def projected_tables(
    tables: Mapping[str, FeatureTable],
    exact: Mapping[str, Components | None],
    rows: np.ndarray,
    samples: Samples,
    options: DdrOptions,
) -> dict[str, Projected]:
    """Tap to the principal components of sketches, with their error on the samples `rows`."""
    projected = {}
    labels, groups = samples.labels[rows], samples.groups[rows]

    def index_of(components: Components | None) -> Separability:
        points = None if components is None else components.scores
        return separability(points, labels, groups, permutations=0, subsamples=0)

    for tap, table in tables.items():
        sketched, right = index_of(table.components(options.components, rows)), index_of(exact[tap])
        check = {"size": table.rows.shape[1], "samples": len(rows), "chi": sketched.chi, "exact_chi": right.chi}
        check |= {"share": sketched.share, "exact_share": right.share}
        if sketched.chi is not None and right.chi:
            check["error"] = abs(sketched.chi / right.chi - 1)
        projected[tap] = Projected(table.components(options.components), table.dimensions, check)
    return projected


def conclude(
    samples: Samples, options: DdrOptions, projected: Mapping[str, Projected], features: Features
) -> DdrResult:
    """The result from the principal components of each layer."""
    arrays: dict[str, np.ndarray] = {"labels": samples.labels, "groups": samples.groups}
    arrays["examples"] = samples.examples().numpy()
    layers = [_layer(i, tap, one, samples, options, arrays) for i, (tap, one) in enumerate(projected.items())]
    scalars = {
        "classes": list(samples.names),
        "counts": samples.counts,
        "kinds": [d.kind for d in samples.degradations] + list(samples.names[len(samples.degradations) :]),
        "levels": [d.level for d in samples.degradations] + [None] * (len(samples.names) - len(samples.degradations)),
        "patch": options.patch,
        "layers": [as_scalars(layer) for layer in layers],
    }
    best = max(layers, key=lambda layer: layer.chi or 0.0)
    apart = [
        f"at {best.layer}, {generalisation(name, samples.names, best.pairs).verdict}"
        for name in samples.names[len(samples.degradations) :]
        if best.pairs and best.chi is not None
    ]
    verdict = judge(
        layers, counts=samples.counts, wanted=options.patches, permutations=options.permutations, apart=apart
    )
    provenance = {
        "inputs_sha256": digest_of_inputs(samples.inputs),
        "execution": {"channels_last": features.plan.channels_last, "batch": features.plan.batch},
        "seed": options.seed,
    }
    result = DdrResult("ddr", arrays, scalars, provenance, verdict)
    if options.identify and f"scores_{len(layers) - 1}" in arrays:
        identification = result.identify()
        scalars["identification"] = {
            "accuracy": identification.accuracy,
            "chance": identification.chance,
            "kinds": list(identification.kinds),
            "confusion": identification.confusion.tolist(),
            "level_r2": identification.level_r2,
            "folds": identification.folds,
        }
    return result


def _layer(
    index: int, name: str, projected: Projected, samples: Samples, options: DdrOptions, arrays: dict[str, np.ndarray]
) -> LayerSeparability:
    components = projected.components
    labels, groups, seed = samples.labels, samples.groups, options.seed
    points = None if components is None else components.scores
    whole = separability(
        points, labels, groups, permutations=options.permutations, subsamples=options.subsamples, seed=seed
    )
    embedded: np.ndarray = np.zeros((0, len(labels), 2))
    if points is not None:
        arrays[f"scores_{index}"] = points
        if options.tsne and not are_many(len(labels)):  # a run of t-SNE on more points takes a quarter of an hour
            arrays[f"tsne_{index}"] = tsne(points, options.tsne, seed=seed, perplexity=options.perplexity)
            embedded = arrays[f"tsne_{index}"]
    return LayerSeparability(
        **vars(whole),
        layer=name,
        dimensions=projected.dimensions,
        explained=() if components is None else tuple(components.explained.tolist()),
        tsne=tuple(calinski_harabasz(each, labels) for each in embedded),
        pairs=None if points is None else _pairs(points, samples, options),
        sketch=projected.check,
    )


def _pairs(points: np.ndarray, samples: Samples, options: DdrOptions) -> dict[str, dict[str, float | None]]:
    """The index between every two classes, on the coordinates of all."""
    pairs: dict[str, dict[str, float | None]] = {}
    for a, first in enumerate(samples.names):
        for b in range(a + 1, len(samples.names)):
            rows = np.isin(samples.labels, (a, b))
            pair = separability(
                points[rows],
                samples.labels[rows],
                samples.groups[rows],
                permutations=options.permutations,
                subsamples=0,
                seed=options.seed,
            )
            pairs[f"{first}|{samples.names[b]}"] = {"chi": pair.chi, "p": pair.p}
    return pairs
