"""The options of DDR, for Python, the command line and a training run's option file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr_hooks.analyses.determinism import DETERMINISTIC
from sr_hooks.core.options import option
from sr_hooks.statistics.gram_pca import Store

__all__ = ["DdrOptions", "DdrWatchOptions"]


@dataclass(frozen=True)
class DdrOptions:
    """Options of DDR."""

    degradations: Any = option(
        ("clean", "blur:2", "noise:20"),
        "classes: clean, blur:STD, noise:STD, jpeg:QUALITY, blur:2+noise:10, ...; in Python also a Degradation or a "
        "function",
    )
    layers: Any = option(
        "auto",
        "taps, patterns such as body.*, auto (the input of the last convolution), all (every convolution's output), or "
        "several of them",
    )
    frame: int | None = option(
        None,
        "of a network over clips: the frame, from 0, whose features are meant in layers that pass all frames at once "
        "(default: all); a layer that runs frame by frame is tapped at one of its runs, e.g. forward_trunk.main.0#2",
        at_least=0,
    )
    patch: int = option(128, "side of a patch in ground-truth pixels", at_least=1, at_most=65_536)
    patches: int = option(100, "patches, at most; they do not overlap", at_least=2, at_most=1_000_000)
    folders: Any = option(
        None,
        "more classes: label=folder of network inputs (in Python also label to images), degraded already; no ground "
        "truth is needed",
    )
    components: int = option(50, "principal components that the index is taken on", at_least=1, at_most=1_000_000)
    permutations: int = option(999, "shufflings of the labels for the p-value", at_least=0, at_most=1_000_000)
    subsamples: int = option(200, "half-samples of the patches for the interval", at_least=0, at_most=1_000_000)
    tsne: int = option(5, "t-SNE runs, each from its own seed; 0 for none", at_least=0, at_most=1000)
    perplexity: float = option(30.0, "of t-SNE")
    identify: bool = option(
        False, "also cross-validate a linear probe for type and level of the last layer's degradations"
    )
    seed: int = option(0, "of patches, degradations and all other randomness", at_least=0)
    deterministic: bool = option(False, DETERMINISTIC)
    memory: float = option(1.5, "gigabytes for held features; what does not fit is computed again")
    store: Store = option(
        "auto", "hold features as float32, as int16 in half the room, or (auto) as their size suggests"
    )
    sketch: int | None = option(
        None,
        "numbers that each feature is sketched to, 0 for never (default: never up to 20,000 samples, and above up to "
        "4096 as the memory allows); the error against exact features of 10,000 samples is stated",
        at_least=0,
        at_most=65_536,
    )
    keep_features: str | Path | None = option(None, "folder to write the features themselves to")

    def __post_init__(self) -> None:
        if not (self.memory > 0 and self.perplexity > 0):
            raise ValueError("memory and perplexity must be above 0")


@dataclass(frozen=True)
class DdrWatchOptions(DdrOptions):
    """Keys of a `ddr:` block in an option file: those of DDR, with lighter defaults. Seed 0 is the run's seed."""

    patch: int = option(64, "side of a patch in ground-truth pixels", at_least=1, at_most=65_536)
    patches: int = option(40, "patches, at most; they do not overlap", at_least=2, at_most=1_000_000)
    permutations: int = option(199, "shufflings of the labels for the p-value", at_least=0, at_most=1_000_000)
    subsamples: int = option(100, "half-samples of the patches for the interval", at_least=0, at_most=1_000_000)
    tsne: int = option(0, "t-SNE runs, each from its own seed; 0 for none", at_least=0, at_most=1000)
