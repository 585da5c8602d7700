"""`compat="srga"`: the published index as its code computes it, for comparing values with the paper's.

Its faults stay, and the verdict names them: scikit-learn's PCA takes a randomised solver for large features, in
float32; a shape is the nearest of a grid of 0.001; mean-free moments are mixed with moments about zero. Features of a
whole set are held in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import gamma

import sr_hooks
from sr_hooks.errors import OptionError
from sr_hooks.inference import stream
from sr_hooks.statistics import are_many
from sr_hooks_srga.gaussian import GeneralisedGaussian
from sr_hooks_srga.sets import Set

__all__ = ["FAULTS", "published_fits", "published_index"]

FAULTS = (
    "principal components may come of a randomised solver, in float32",
    "the shape is the nearest on a grid of 0.001",
    "E|x - mean| is mixed with E x^2 about zero, so that arbitrary signs of components count",
    "no floor tells a difference from chance",
)


def published_fits(network: sr_hooks.Network, sets: list[Set], tap: str, options: Any) -> list[GeneralisedGaussian]:
    """A fit of each set, one set's features in memory at a time.

    Raises:
        OptionError: more components than patches, which the published code cannot take.
    """
    if are_many(len(sets[0].inputs)):
        raise OptionError("compat='srga' holds all features in memory: ask for 20,000 patches at most")
    if options.components > len(sets[0].inputs):
        raise OptionError(
            f"compat='srga' takes {options.components} components of {len(sets[0].inputs)} patches, which cannot be: "
            "give fewer components or more images"
        )
    return [_fit(_features(network, each, tap, options.batch), options) for each in sets]


def _features(network: sr_hooks.Network, each: Set, tap: str, batch: int) -> np.ndarray:
    """(n,d) float32, flattened whole."""
    seen = stream(network, each.inputs[:], [tap], batch=batch)
    return torch.cat([part.features[tap].flatten(1).float().cpu() for part in seen]).numpy()


def _fit(features: np.ndarray, options: Any) -> GeneralisedGaussian:
    from sklearn.decomposition import PCA

    values = PCA(n_components=options.components, random_state=0).fit_transform(features).reshape(-1)
    mean, far = np.mean(values), options.sigmas * np.std(values)
    near = values[(values > mean - far) & (values < mean + far)]
    second = np.mean(near**2)
    shapes = np.arange(0.2, 10.0, 0.001)
    ratios = gamma(1 / shapes) * gamma(3 / shapes) / gamma(2 / shapes) ** 2
    ratio = second / np.mean(np.abs(near - np.mean(near))) ** 2
    shape = shapes[np.argmin(np.abs(ratio - ratios))]
    return GeneralisedGaussian(float(np.sqrt(second)), float(shape), 1 - near.size / values.size)


def published_index(p: GeneralisedGaussian, q: GeneralisedGaussian) -> float:
    """log10(KL(p || q) + 1e-5) + 5, the divergence not held at 0: roundings below it give no index (NaN)."""
    a, b = p.shape, q.shape
    log = np.log(
        (a * q.sigma * gamma(1 / b) * np.sqrt(gamma(1 / b) * gamma(3 / a)))
        / (b * p.sigma * gamma(1 / a) * np.sqrt(gamma(1 / a) * gamma(3 / b)))
    )
    ratio = p.sigma * np.sqrt(gamma(1 / a) * gamma(3 / b)) / (q.sigma * np.sqrt(gamma(1 / b) * gamma(3 / a)))
    divergence = log - 1 / a + ratio**b * gamma((b + 1) / a) / gamma(1 / a)
    return float(np.log10(divergence + 1e-5) + 5)
