"""DDR, deep degradation representations (Liu et al., arXiv 2108.00406): what deep features represent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from sr_hooks import taps
from sr_hooks.analyses.ddr_features import Features, Look, gram_matrices
from sr_hooks.analyses.ddr_options import DdrOptions, parse_layers
from sr_hooks.analyses.ddr_result import DdrResult, LayerSeparability, as_scalars
from sr_hooks.analyses.ddr_samples import Samples, draw_samples, parse_folders
from sr_hooks.analyses.ddr_verdict import judge
from sr_hooks.analysis import Analysis, execute, sha256_of
from sr_hooks.degradations import parse_degradations
from sr_hooks.embedding import tsne
from sr_hooks.gram import Gram, Store, principal_components
from sr_hooks.hookspecs import hookimpl
from sr_hooks.network import Network
from sr_hooks.options import from_mapping
from sr_hooks.results import Result
from sr_hooks.separability import calinski_harabasz, separability

__all__ = ["Ddr", "DdrOptions", "DdrResult", "ddr", "measure"]


class Ddr(Analysis[DdrOptions]):
    """Do deep features cluster by degradation, and in which layers?"""

    name = "ddr"
    options_type = DdrOptions
    result_type = DdrResult
    takes = "hr"

    def run(self, network: Network, images: Any, options: DdrOptions) -> DdrResult:
        folders = parse_folders(options.folders)
        samples = draw_samples(
            network, images, parse_degradations(options.degradations), folders,
            patch=options.patch, patches=options.patches, seed=options.seed,
        )
        return measure(network, samples, options)

    @classmethod
    def figure(cls, result: Result) -> Any:
        from sr_hooks.figures.ddr import ddr_figure

        return ddr_figure(cast("DdrResult", result))


def measure(network: Network, samples: Samples, options: DdrOptions, look: Look | None = None) -> DdrResult:
    """The result for samples that are drawn already; `look` sees every batch of features (see `gram_matrices`)."""
    first = samples.inputs[:1].to(network.device)
    wanted = taps.resolve(network.module, parse_layers(options.layers), lambda: network(first))
    features = Features(network, samples, wanted)
    grams = gram_matrices(
        features, memory=options.memory, store=options.store, keep=options.keep_features, look=look
    )
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
    verdict = judge(
        layers, counts=samples.counts, asked=options.patches, permutations=options.permutations,
        folders=len(samples.names) > len(samples.degradations) and bool(samples.degradations),
    )
    provenance = {
        "inputs_sha256": sha256_of(samples.inputs),
        "execution": {"channels_last": features.plan.channels_last, "batch": features.plan.batch},
        "seed": options.seed,
    }
    result = DdrResult("ddr", arrays, scalars, provenance, verdict)
    if options.identify and f"scores_{len(layers) - 1}" in arrays:
        found = result.identify()
        scalars["identification"] = {
            "accuracy": found.accuracy, "chance": found.chance, "kinds": list(found.kinds),
            "confusion": found.confusion.tolist(), "level_r2": found.level_r2, "folds": found.folds,
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
    found: dict[str, dict[str, float | None]] = {}
    for a, first in enumerate(samples.names):
        for b in range(a + 1, len(samples.names)):
            rows = np.isin(samples.labels, (a, b))
            pair = separability(
                points[rows], samples.labels[rows], samples.groups[rows],
                permutations=options.permutations, subsamples=0, seed=options.seed,
            )
            found[f"{first}|{samples.names[b]}"] = {"chi": pair.chi, "p": pair.p}
    return found


def ddr(
    network: Any,
    images: Any = None,
    *,
    degradations: Any = DdrOptions.degradations,
    layers: Any = DdrOptions.layers,
    patch: int = DdrOptions.patch,
    patches: int = DdrOptions.patches,
    folders: Any = None,
    components: int = DdrOptions.components,
    permutations: int = DdrOptions.permutations,
    subsamples: int = DdrOptions.subsamples,
    tsne: int = DdrOptions.tsne,
    perplexity: float = DdrOptions.perplexity,
    identify: bool = DdrOptions.identify,
    seed: int = 0,
    memory: float = DdrOptions.memory,
    store: Store = DdrOptions.store,
    keep_features: str | Path | None = None,
) -> DdrResult:
    """Deep degradation representations: do features cluster by how an image is degraded, rather than by what it shows?

    Patches of the images are degraded in each way and run through the network as far as the deepest of the layers;
    each layer's feature is flattened whole, projected to principal components (exactly, from the Gram matrix), and
    its separability is the Calinski-Harabasz index over the degradations (arXiv 2108.00406, section 3),

        CHI = B (N - K) / (W (K - 1)),

    B and W the scatter between and within the K degradations of N features. The published index is taken on t-SNE's
    plane and unstable; here it is taken on the principal components, with an interval over half-samples and a p-value
    from shuffled labels, and t-SNE's stands beside it.

    Not for: comparing indices of different numbers of patches or of different images (CHI grows with N), nor for
    telling how well a network restores.

    Args:
        network: a torch module or a Network.
        images: ground truth (N,C,H,W) float in [0, 1], a file, a folder, or a sequence of those; None with folders.
        degradations: each as `sr_hooks.degradations` writes it, a Degradation, or a function.
        layers: taps, patterns (`body.*`), `auto` (the input of the last convolution), `all` (every convolution's
            output), or several of them.
        patch: side of a patch in ground-truth pixels.
        patches: how many, at most; they do not overlap.
        folders: label to a folder (or images) of your own degraded network inputs; no ground truth is needed.
        components: principal components that the index is taken on.
        permutations: shufflings of the labels for the p-value.
        subsamples: half-samples of the patches for the interval.
        tsne: how many t-SNE seeds; 0 for none.
        perplexity: of t-SNE.
        identify: also cross-validate a linear probe for type and level of the last layer's degradations.
        seed: of patches, degradations and all other randomness.
        memory: gigabytes for held features; what does not fit is computed again.
        store: hold features as float32, as int16 in half the room, or (auto) as their size suggests.
        keep_features: a folder to write the features themselves to.

    Returns:
        DdrResult: per layer the index with interval, p-value, t-SNE's index, coordinates; and a verdict in words.

    Raises:
        SRHooksError: a subclass that says what is wrong with the layers, images, degradations or network.
    """
    given = {
        "degradations": degradations, "layers": layers, "patch": patch, "patches": patches, "folders": folders,
        "components": components, "permutations": permutations, "subsamples": subsamples, "tsne": tsne,
        "perplexity": perplexity, "identify": identify, "seed": seed, "memory": memory, "store": store,
        "keep_features": keep_features,
    }
    return cast("DdrResult", execute(Ddr, network, images, from_mapping(DdrOptions, given, where="ddr")))


@hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Ddr]
