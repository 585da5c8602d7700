"""DDR, deep degradation representations (Liu et al., arXiv 2108.00406): what deep features represent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from sr_hooks.analyses.base import Analysis, execute
from sr_hooks.analyses.ddr.measure import measure
from sr_hooks.analyses.ddr.options import DdrOptions, DdrWatchOptions
from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.analyses.ddr.samples import draw_samples
from sr_hooks.analyses.ddr.watcher import DdrWatcher
from sr_hooks.core.options import with_options
from sr_hooks.degradations.parsing import parse_degradations
from sr_hooks.figures.options import FigureOptions
from sr_hooks.hookspecs import hookimpl
from sr_hooks.images.image_sets import parse_folders
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result
from sr_hooks.statistics.gram_pca import Store

__all__ = ["Ddr", "DdrOptions", "DdrResult", "ddr"]


class Ddr(Analysis[DdrOptions]):
    """Do deep features cluster by degradation, and in which layers?"""

    name = "ddr"
    options_type = DdrOptions
    result_type = DdrResult
    takes = "hr"
    watcher_type = DdrWatcher
    watch_options_type = DdrWatchOptions
    watch_images = 8

    def run(self, network: Network, images: Any, options: DdrOptions) -> DdrResult:
        folders = parse_folders(options.folders)
        samples = draw_samples(
            network,
            images,
            parse_degradations(options.degradations),
            folders,
            patch=options.patch,
            patches=options.patches,
            seed=options.seed,
        )
        result = measure(network, samples, options)
        result.arrays["thumbnails"] = samples.thumbnails()
        return result

    @classmethod
    def figure(cls, result: Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks.analyses.ddr.figure import ddr_figure

        return ddr_figure(cast("DdrResult", result), options)

    @classmethod
    def film(cls, results: list[Result]) -> list[Any]:
        """Pictures (H,W,3) uint8 of a training run's results, on common axes; see `sr_hooks.results.animation`."""
        from sr_hooks.analyses.ddr.figure import ddr_film

        return ddr_film(cast("list[DdrResult]", results))


def _ddr(network: Any, images: Any, options: DdrOptions) -> DdrResult:
    return cast("DdrResult", execute(Ddr, network, images, options))


@with_options(DdrOptions, _ddr, where="ddr")
def ddr(
    network: Any,
    images: Any = None,
    *,
    degradations: Any = DdrOptions.degradations,
    layers: Any = DdrOptions.layers,
    frame: int | None = None,
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
    deterministic: bool = False,
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
        images: ground truth (N,C,H,W) float in [0, 1], a file, a folder, or a sequence of those; None with folders. For
            networks over clips: clips (T,C,H,W), (N,T,C,H,W), folders of frames; one image stands still.
        ...: the options, each described at `DdrOptions`.

    Returns:
        DdrResult: per layer the index with interval, p-value, t-SNE's index, coordinates; and a verdict in words.

    Raises:
        SRHooksError: a subclass that says what is wrong with the layers, images, degradations or network.
    """
    raise NotImplementedError  # with_options calls _ddr


@hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Ddr]
