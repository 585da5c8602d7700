"""Compute a DDR from samples: features, principal components and separability, layer by layer."""

from __future__ import annotations

import importlib.util

import numpy as np

from sr_hooks.analyses.ddr.features import Features, Look, gram_matrices
from sr_hooks.analyses.ddr.options import DdrOptions
from sr_hooks.analyses.ddr.result import DdrResult, LayerSeparability, as_scalars, generalisation
from sr_hooks.analyses.ddr.samples import Samples
from sr_hooks.analyses.ddr.verdict import judge
from sr_hooks.errors import OptionError
from sr_hooks.hooks.layer_list import resolve
from sr_hooks.hooks.taps import parse_layers
from sr_hooks.images.image import sha256_of
from sr_hooks.networks.network import Network
from sr_hooks.statistics.gram_pca import Gram, principal_components
from sr_hooks.statistics.separability import calinski_harabasz, separability
from sr_hooks.statistics.tsne import tsne

__all__ = ["measure"]


def measure(network: Network, samples: Samples, options: DdrOptions, look: Look | None = None) -> DdrResult:
    """The result for samples that are drawn already; `look` sees every batch of features (see `gram_matrices`)."""
    if (options.tsne or options.identify) and importlib.util.find_spec("sklearn") is None:
        raise OptionError(
            "t-SNE and the probe need scikit-learn: pip install 'sr_hooks[ddr]', or go without: tsne=0, identify=False"
        )
    first = samples.inputs[:1].to(network.device)
    wanted = resolve(network.module, parse_layers(options.layers), lambda: network.feed(first))
    if options.frame is not None:
        count = samples.inputs.shape[1] if network.frames else 0
        if options.frame not in range(count):
            there = f"the clips have frames 0 to {count - 1}" if count else f"{network.name} takes images"
            raise OptionError(f"frame is {options.frame}: {there}")
    features = Features(network, samples, wanted, frame=options.frame)
    grams = gram_matrices(features, memory=options.memory, store=options.store, keep=options.keep_features, look=look)
    arrays: dict[str, np.ndarray] = {"labels": samples.labels, "groups": samples.groups}
    arrays["examples"] = samples.examples().numpy()
    layers = [_layer(i, name, gram, samples, options, arrays) for i, (name, gram) in enumerate(grams.items())]
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
        "inputs_sha256": sha256_of(samples.inputs),
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
    index: int, name: str, gram: Gram, samples: Samples, options: DdrOptions, arrays: dict[str, np.ndarray]
) -> LayerSeparability:
    components = principal_components(gram, options.components)
    labels, groups, seed = samples.labels, samples.groups, options.seed
    points = None if components is None else components.scores
    whole = separability(
        points, labels, groups, permutations=options.permutations, subsamples=options.subsamples, seed=seed
    )
    embedded: np.ndarray = np.zeros((0, len(labels), 2))
    if points is not None:
        arrays[f"scores_{index}"] = points
        if options.tsne:
            arrays[f"tsne_{index}"] = tsne(points, options.tsne, seed=seed, perplexity=options.perplexity)
            embedded = arrays[f"tsne_{index}"]
    return LayerSeparability(
        **vars(whole),
        layer=name,
        dimensions=gram.dimensions,
        explained=() if components is None else tuple(components.explained.tolist()),
        tsne=tuple(calinski_harabasz(each, labels) for each in embedded),
        pairs=None if points is None else _pairs(points, samples, options),
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
