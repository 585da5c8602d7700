"""DDR, deep degradation representations (Liu et al., arXiv 2108.00406): what deep features represent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from sr_hooks.analyses.base import Analysis, execute
from sr_hooks.analyses.ddr.measure import measure
from sr_hooks.analyses.ddr.options import DdrOptions, DdrWatchOptions
from sr_hooks.analyses.ddr.parts import DdrParts
from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.analyses.ddr.samples import Samples, draw_samples
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
        samples = _samples(network, images, options)
        result = measure(network, samples, options)
        result.arrays["thumbnails"] = samples.thumbnails()
        return result

    @classmethod
    def divided(cls, network: Network, images: Any, options: DdrOptions) -> DdrParts:
        return DdrParts(network, _samples(network, images, options), options)

    @classmethod
    def figure(cls, result: Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks.analyses.ddr.figure import ddr_figure

        return ddr_figure(cast("DdrResult", result), options)

    @classmethod
    def film(cls, results: list[Result]) -> list[Any]:
        """Pictures (H,W,3) uint8 of a training run's results, on common axes; see `sr_hooks.results.animation`."""
        from sr_hooks.analyses.ddr.figure import ddr_film

        return ddr_film(cast("list[DdrResult]", results))


def _samples(network: Network, images: Any, options: DdrOptions) -> Samples:
    return draw_samples(
        network,
        images,
        parse_degradations(options.degradations),
        parse_folders(options.folders),
        patch=options.patch,
        patches=options.patches,
        seed=options.seed,
    )


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
    sketch: int | None = None,
    keep_features: str | Path | None = None,
) -> DdrResult:
    """Compute deep degradation representations (DDR): do features cluster by degradation, and how clearly?

    Patches of the images are degraded in each way and run through the network as far as the deepest layer asked for.
    The feature of each layer is flattened whole and projected to principal components, exactly, from the Gram matrix.
    Above 20,000 samples each feature is first sketched to at most 4096 numbers, and the result states the error.
    Its separability is the Calinski-Harabasz index over the degradations (arXiv 2108.00406, section 3),

        CHI = B (N - K) / (W (K - 1)),

    where B is the scatter between the K degradations, W the scatter within them, and N the number of features. The
    paper takes the index in the plane of t-SNE, where it is unstable. Here the index is taken on the principal
    components, with an interval over half-samples and a p-value from shuffled labels. The index of t-SNE is reported
    too.

    Not for: comparing indices between different numbers of patches or different images, because CHI grows with N;
    measuring how well a network restores.

    Args:
        network: a torch module or a Network.
        images: ground truth (N,C,H,W) float in [0, 1], a file, a folder, or a sequence of those; None with folders. For
            networks over clips: clips (T,C,H,W), (N,T,C,H,W) or folders of frames; one image is repeated as every
            frame.
        ...: the options, each described at `DdrOptions`.

    Returns:
        A DdrResult. For each layer: the index with its interval, the p-value, the index of t-SNE and the coordinates.

    Raises:
        SRHooksError: the layers, images, degradations or network are wrong; the subclass and the message say which.

    Examples:
        >>> import torch, sr_hooks
        >>> from sr_hooks.demo import demo_network
        >>> images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> options = {"degradations": ["clean", "blur:4"], "patch": 32, "patches": 8, "tsne": 0, "identify": False}
        >>> result = sr_hooks.ddr(demo_network(), images, **options)
        >>> result.classes, result.deepest.layer, result.chi > 1
        (('clean', 'blur:4'), 'conv_last:in', True)
    """
    raise NotImplementedError  # with_options calls _ddr


@hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Ddr]
