"""The result of DDR: how the features of each layer cluster, and what the network takes a folder's images for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from sr_hooks.errors import OptionError, TapError, nearest
from sr_hooks.results.result import Result
from sr_hooks.statistics.linear_probe import Identification, identify
from sr_hooks.statistics.separability import Separability, some_groups

__all__ = ["DdrResult", "Generalisation", "LayerSeparability"]

_PROBED = 10_000  # samples that the linear probe learns from and is tested on, at most


@dataclass(frozen=True)
class Generalisation:
    """How a folder's images stand to the classes that the network is known to handle.

    Attributes:
        label: of the folder.
        nearest: the class that it is least separate from.
        chi: index between the two, on the principal components of all classes; small where they are represented alike.
        p: of that index, from shuffled labels.
        all: class to index, for every other class.
    """

    label: str
    nearest: str
    chi: float
    p: float | None
    all: dict[str, float]

    @property
    def stands_apart(self) -> bool:
        """Whether even the nearest class is separate, p below 0.01: the images are something else to the network."""
        return self.p is not None and self.p < 0.01

    @property
    def verdict(self) -> str:
        """In words."""
        facts = f"CHI {self.chi:.3g}" + ("" if self.p is None else f", p = {self.p:.2g}")
        if self.stands_apart:
            return f"{self.label} stands apart from all references; the nearest is {self.nearest} ({facts})"
        return f"{self.label} is not told from {self.nearest} ({facts})"


def generalisation(
    label: str, classes: Sequence[str], pairs: Mapping[str, Mapping[str, float | None]]
) -> Generalisation:
    """The same index as between degradations, between one class and every other (arXiv 2108.00406, section 6).

    A network that generalises represents unseen images as it does those that it handles. Differences of content
    separate too: let the references show what the images show, or compare two networks on the same images.

    Not for: proof of good restoration. What a network cannot tell apart it may restore badly without noticing.

    Raises:
        OptionError: no such class, or its index is undefined.
    """
    if label not in classes:
        raise OptionError(f"the result has no class {label!r}; {nearest(label, classes)}")
    indices: dict[str, float] = {}
    chances: dict[str, float | None] = {}
    for key, pair in pairs.items():
        first, second = key.split("|")
        if label in (first, second) and pair["chi"] is not None:
            other = second if first == label else first
            indices[other], chances[other] = pair["chi"], pair["p"]
    if not indices:
        raise OptionError(f"no index between {label} and another class is defined")
    closest = min(indices, key=lambda name: indices[name])
    return Generalisation(label, closest, indices[closest], chances[closest], indices)


@dataclass(frozen=True)
class LayerSeparability(Separability):
    """How one layer's features cluster by degradation. See `sr_hooks.statistics.Separability` for the index.

    Attributes:
        layer: the tap.
        dimensions: of a feature, flattened whole.
        explained: share of variance of each principal component, descending.
        tsne: the index in t-SNE's plane, one for each seed; for comparison with papers only.
        pairs: how the classes look pair by pair: "a|b" to {"chi": ..., "p": ...}.
        sketch: of sketched features: `size`, numbers of a sketch; and of `samples` of them `chi` and `share` of the
            sketches, `exact_chi` and `exact_share`, and `error`, the relative error of the index. None for exact ones.
    """

    layer: str = ""
    dimensions: int = 0
    explained: tuple[float, ...] = ()
    tsne: tuple[float, ...] = ()
    pairs: dict[str, dict[str, float | None]] | None = None
    sketch: dict[str, Any] | None = None

    @property
    def tsne_median(self) -> float | None:
        """Median over the seeds."""
        return float(np.median(self.tsne)) if self.tsne else None

    @property
    def separates(self) -> bool:
        """p below 0.01, or the classes do not overlap in a single point."""
        return self.p is not None and self.p < 0.01 if self.chi is not None else self.share == 1.0


class DdrResult(Result):
    """How the features of some layers cluster by degradation.

    Arrays: `labels` (n,) index into `classes`; `groups` (n,) equal for the copies of one patch; for the i-th layer
    `scores_i` (n,k) principal component scores and, with t-SNE, `tsne_i` (seeds,n,2); `examples` (K,C,h,w), one
    network input of each class; `thumbnails` (n,3,s,s) uint8, every input made small (not in a training run). In a
    training run also `sketch_i` (n,512) and `frame_i` (n,2), see `DdrWatcher`.
    """

    @property
    def layers(self) -> tuple[LayerSeparability, ...]:
        """The layers, in the order in which they were named or run."""
        return tuple(_from_scalars(entry) for entry in self.scalars["layers"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the degradations, then of the folders."""
        return tuple(self.scalars["classes"])

    @property
    def deepest(self) -> LayerSeparability:
        """The last layer, which for `auto` is the only one."""
        return self.layers[-1]

    @property
    def chi(self) -> float | None:
        """Calinski-Harabasz index of the last layer, in principal component space; None where it is undefined."""
        return self.deepest.chi

    @property
    def p(self) -> float | None:
        """Permutation p-value of the last layer's index."""
        return self.deepest.p

    def layer(self, name: str) -> LayerSeparability:
        """One layer by its tap.

        Raises:
            TapError: it was not looked at; with the nearest.
        """
        return self.layers[self._index(name)]

    def _index(self, name: str | None) -> int:
        names = [entry["layer"] for entry in self.scalars["layers"]]
        if name is None:
            return len(names) - 1
        if name not in names:
            raise TapError(f"the result holds no layer {name!r}; {nearest(name, names)}")
        return names.index(name)

    def coordinates(self, name: str | None = None) -> np.ndarray:
        """(n,2) for a picture of a layer, the last by default.

        t-SNE's first seed; of a training run, its fixed frame; or else two principal components.
        """
        index = self._index(name)
        embedded = self.arrays.get(f"tsne_{index}")
        if embedded is not None and len(embedded):
            return cast("np.ndarray", embedded[0])
        if f"frame_{index}" in self.arrays:
            return self.arrays[f"frame_{index}"]
        scores = self.arrays.get(f"scores_{index}", np.zeros((len(self.arrays["labels"]), 0)))
        return np.pad(scores[:, :2], ((0, 0), (0, max(2 - scores.shape[1], 0))))

    def identify(self, layer: str | None = None, *, folds: int = 5) -> Identification:
        """Distortion identification (the paper's application): type and level of degradation from a linear probe.

        Needs scikit-learn. Folders count as types of their own, without a level. Of more than 10,000 samples the seed
        draws so many, since the probe takes minutes on 100,000.

        Raises:
            OptionError: constant features, or one type of degradation only.
        """
        index = self._index(layer)
        if f"scores_{index}" not in self.arrays:
            raise OptionError("constant features identify nothing")
        labels, groups, seed = self.arrays["labels"], self.arrays["groups"], int(self.provenance["seed"])
        rows = some_groups(groups, _PROBED, seed)
        kinds, levels = self.scalars["kinds"], self.scalars["levels"]
        return identify(
            self.arrays[f"scores_{index}"][rows],
            [kinds[k] for k in labels[rows]],
            [levels[k] for k in labels[rows]],
            groups[rows],
            folds=folds,
            seed=seed,
        )

    def generalisation(self, label: str, layer: str | None = None) -> Generalisation:
        """What the network takes a class for, usually a folder of real images; see `Generalisation`.

        Raises:
            OptionError: no such class, or constant features.
        """
        return generalisation(label, self.classes, self.layers[self._index(layer)].pairs or {})

    def headline(self) -> dict[str, Any]:
        """The last layer's numbers; of several layers, the index of each and which is the most separated."""
        last = self.deepest
        numbers: dict[str, Any] = {"layer": last.layer, "chi": last.chi, "interval": None, "p": last.p}
        if last.low is not None and last.high is not None:
            numbers["interval"] = f"{last.low:.3g} to {last.high:.3g}"
        if last.tsne:
            several = f"{min(last.tsne):.3g} to {max(last.tsne):.3g} over {len(last.tsne)} seeds"
            numbers["tsne_chi"] = several if len(last.tsne) > 1 else f"{last.tsne[0]:.3g}, one seed"
        known = [layer for layer in self.layers if layer.chi is not None]
        if len(self.layers) > 1 and known:
            best = max(known, key=lambda layer: layer.chi or 0.0)
            numbers |= {"layers": len(self.layers), "most_separated": f"{best.layer} (CHI {best.chi:.4g})"}
            numbers |= {f"chi/{layer.layer}": layer.chi for layer in self.layers}
        if self.scalars.get("identification"):
            numbers["identified"] = self.scalars["identification"]["accuracy"]
        return {key: value for key, value in numbers.items() if value is not None}


def _from_scalars(entry: Mapping[str, Any]) -> LayerSeparability:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return LayerSeparability(**fields)


def as_scalars(layer: LayerSeparability) -> dict[str, Any]:
    """A layer as JSON holds it; DdrResult.layers is the way back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(layer).items()}
