"""The analysis: layers against layers, with the excess over controls and its interval over halves of the patches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import Watcher, other_network
from sr_hooks.core import generator, progress_bar
from sr_hooks.errors import NetworkError, OptionError, TapError
from sr_hooks.figures import FigureOptions
from sr_hooks.hooks import parse_layers, resolve
from sr_hooks.images import Inputs, PatchSet, cut_patches, digest_of_inputs, draw_corners, image_sources
from sr_hooks.inference import check_input, fit_channels, prepare_input
from sr_hooks_similarity.measures import Matrices, Measure
from sr_hooks_similarity.parts import SimilarityParts
from sr_hooks_similarity.words import compared, counts_of, verdict_of

__all__ = ["Similarity", "SimilarityOptions", "SimilarityWatcher"]

_LEAST = 8  # patches: halves of four, the fewest that the unbiased estimator takes


@dataclass(frozen=True)
class SimilarityOptions:
    """Options of the similarity of layers."""

    layers: Any = sr_hooks.option("all", "taps, patterns such as body.*, auto (the deep feature), or all convolutions")
    other: Any = sr_hooks.option(
        None, "the network to compare with: a weights file of the same architecture, or another model; by default the "
        "network itself", checked=False,
    )  # fmt: skip
    other_layers: Any = sr_hooks.option(None, "layers of the other network; by default those of the first")
    measure: Literal["cka", "affinity"] = sr_hooks.option(
        "cka", "cka: over patches, up to rotation and scale; affinity: which places of a patch are alike"
    )
    patch: int = sr_hooks.option(32, "side of a patch in input pixels", at_least=1)
    patches: int = sr_hooks.option(64, "patches, at most; they do not overlap", at_least=_LEAST, at_most=100_000)
    halves: int = sr_hooks.option(50, "random halves of the patches, for the interval", at_least=10, at_most=100_000)
    batch: int = sr_hooks.option(8, "patches that go through at once, at most", at_least=1)
    memory: float = sr_hooks.option(
        0.5, "gigabytes for held features; what does not fit is computed again", at_least=0.001
    )
    seed: int = sr_hooks.option(0, "of patches, shuffled weights, orders and halves", at_least=0)


class SimilarityWatcher(Watcher):
    """Compares with the network as it was before the first watched step, unless the block names another one."""

    def check(self, network: sr_hooks.Network) -> None:
        super().check(network)
        if self.options.other is None:
            start = network.with_module(self.context.make_network())
            start.name = f"{network.name} before this run"
            self.options = replace(self.options, other=start)
        elif isinstance(self.options.other, str):
            beside = self.context.base / self.options.other
            self.options = replace(self.options, other=str(beside) if beside.is_file() else self.options.other)


class Similarity(sr_hooks.Analysis[SimilarityOptions]):
    """Which layers hold the same features, beyond what untrained layers and the pixels themselves share?

    Arrays, for L layers and M of the other network: `similarity`, `excess`, `excess_low`, `excess_high` (L,M), and the
    controls `random`, `pixels`, `permuted` (L,M).
    """

    name = "similarity"
    options_type = SimilarityOptions
    together = True
    figure_options = ("colormap",)
    better: ClassVar = {"mean_excess": "higher"}
    explains: ClassVar = {
        "mean_excess": "The similarity of the compared layers less the largest control: shuffled weights, the pixels, "
        "and chance. The mean over pairs. At or below 0 nothing learned is shared.",
        "mean_similarity": "The similarity of the compared layers, the mean over pairs. Early layers are alike in any "
        "two networks: read the excess.",
        "alike": "How many pairs of layers are alike beyond all controls: the whole 95 % interval lies above 0.",
        "pairs": "How many pairs of layers were compared.",
    }
    watcher_type = SimilarityWatcher
    watch_images = 8

    def run(self, network: sr_hooks.Network, images: Any, options: SimilarityOptions) -> sr_hooks.Result:
        several = prepare_input(network, images, clips=False).images
        patches = cut_patches(several, options.patch, options.patches, options.seed, "the image")
        with progress_bar("similarity", unit="patches") as bar:
            parts = _parts(network, patches, options, bar)
            bar.total = parts.runs * len(patches)
            return parts.at_once()

    @classmethod
    def divided(cls, network: sr_hooks.Network, images: Any, options: SimilarityOptions) -> SimilarityParts:
        sources = image_sources(images, bands=network.channels)
        is_grey = [network.channels == 3 and source.shape[0] == 1 for source in sources]
        shapes = [
            (3, *source.shape[1:]) if grey else source.shape for source, grey in zip(sources, is_grey, strict=True)
        ]
        corners = draw_corners(shapes, options.patch, options.patches, options.seed, "the image")
        patches = PatchSet(sources, corners, options.patch, partial(fit_channels, network))
        check_input(network, patches[:1])
        return _parts(network, patches, options)

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_similarity.figure import similarity_figure

        return similarity_figure(result, options)


@torch.no_grad()
def _parts(network: sr_hooks.Network, patches: Inputs, options: SimilarityOptions, bar: Any = None) -> SimilarityParts:
    if len(patches) < _LEAST:
        raise OptionError(
            f"the images hold {len(patches)} patches of {options.patch}x{options.patch} pixels, and {_LEAST} are "
            "needed: give more or larger images, or a smaller patch"
        )
    other = network if options.other is None else other_network(options.other, network)
    if other.channels != network.channels:
        raise NetworkError(f"{other.name} takes {other.channels} channels, and {network.name} {network.channels}")
    taps = [_taps(network, options.layers, patches)]
    taps.append(_taps(other, options.layers if options.other_layers is None else options.other_layers, patches))

    def conclude(measure: Measure, distinct: int) -> sr_hooks.Result:
        rng = generator(options.seed, "halves")
        whole = measure.on(np.arange(len(patches)), rng)
        halves = np.stack(
            [measure.on(rng.permutation(len(patches))[: len(patches) // 2], rng).excess for _ in range(options.halves)]
        )
        if distinct < _LEAST:  # equal patches make intervals of width 0
            halves[:] = np.nan
        return _result(network, other, options.other is None, taps, whole, halves, patches, options, distinct)

    return SimilarityParts((network, other), taps, patches, options, conclude, bar)


def _taps(network: sr_hooks.Network, layers: Any, patches: Inputs) -> list[str]:
    first = patches[:1].to(network.device)
    taps = [str(tap) for tap in resolve(network.module, parse_layers(layers), lambda: network(first))]
    if not taps:
        raise TapError(f"{network.name} has no convolution inside: name layers; put a single layer into nn.Sequential")
    return taps


def _result(
    network: sr_hooks.Network,
    other: sr_hooks.Network,
    alone: bool,
    taps: list[list[str]],
    whole: Matrices,
    halves: np.ndarray,
    patches: Inputs,
    options: SimilarityOptions,
    distinct: int,
) -> sr_hooks.Result:
    low, high = np.quantile(halves, [0.025, 0.975], axis=0)
    pairs = compared((len(taps[0]), len(taps[1])), alone=alone, same_layers=taps[0] == taps[1])
    names = ("similarity", "random", "pixels", "permuted")
    arrays = {name: getattr(whole, name) for name in names}
    arrays |= {"excess": whole.excess, "excess_low": low, "excess_high": high}
    scalars: dict[str, Any] = {
        "layers": taps[0],
        "other_layers": taps[1],
        "alone": alone,
        "measure": options.measure,
        "patches": len(patches),
        "distinct_patches": distinct,
        **counts_of(arrays, pairs),
        **{f"mean_{name}": _mean(arrays[name][pairs]) for name in ("excess", "similarity")},
    }
    if taps[0] == taps[1]:
        keys = ("similarity", "random", "pixels", "excess", "excess_low", "excess_high")
        scalars["same_layer"] = [
            {"layer": tap, **{key: float(arrays[key][i, i]) for key in keys}} for i, tap in enumerate(taps[0])
        ]
    provenance = {"seed": options.seed, "patches_sha256": digest_of_inputs(patches)}
    if not alone:
        provenance["other"] = other.describe()
    return sr_hooks.Result("similarity", arrays, scalars, provenance, verdict_of(scalars, network.name, other.name))


def _mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None
