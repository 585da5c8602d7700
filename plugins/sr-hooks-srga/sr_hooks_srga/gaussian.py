"""Generalised Gaussians: fitted by moments, and how far one is from another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln

__all__ = ["SHAPES", "GeneralisedGaussian", "fit", "index_of", "kl_divergence"]

SHAPES = (0.2, 10.0)
"""Shapes that a fit may take, as published; 1 is a Laplace distribution, 2 a normal one."""


@dataclass(frozen=True)
class GeneralisedGaussian:
    """The density shape / (2 scale Gamma(1/shape)) exp(-|x / scale|^shape).

    Attributes:
        sigma: standard deviation.
        shape: small for a sharp peak with long tails.
        dropped: share of the values that were left out of the fit.
    """

    sigma: float
    shape: float
    dropped: float = 0.0

    @property
    def scale(self) -> float:
        """Its width: sigma sqrt(Gamma(1/shape) / Gamma(3/shape))."""
        return float(self.sigma * np.exp((gammaln(1 / self.shape) - gammaln(3 / self.shape)) / 2))

    def density(self, x: np.ndarray) -> np.ndarray:
        """At each x."""
        log = np.log(self.shape / (2 * self.scale)) - gammaln(1 / self.shape)
        return np.exp(log - np.abs(np.asarray(x) / self.scale) ** self.shape)


def fit(values: np.ndarray, *, sigmas: float = 5.0) -> GeneralisedGaussian:
    """By moments about zero, after values of more than so many standard deviations from the mean are dropped, once.

    The shape b solves Gamma(1/b) Gamma(3/b) / Gamma(2/b)^2 = E[x^2] / E[|x|]^2 (Sharifi and Leon-Garcia 1995, as SRGA
    takes it); outside `SHAPES` it is the nearer end. The published code takes the nearest shape on a grid of 0.001, and
    E[|x - mean|]. Principal component scores have mean zero until some are dropped, and then it depends on the signs of
    the components, which are arbitrary: about zero it does not.

    Raises:
        ValueError: the values are all the same, or not finite.
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    near = values[np.abs(values - values.mean()) < sigmas * values.std()]
    second = float(np.mean(near**2)) if near.size else 0.0
    first = float(np.mean(np.abs(near))) if near.size else 0.0
    if not (values.std() > 0 and first > 0 and np.isfinite(second)):
        raise ValueError("values that are all the same have no distribution")
    wanted = np.log(second) - 2 * np.log(first)

    def excess(shape: float) -> float:
        return float(gammaln(1 / shape) + gammaln(3 / shape) - 2 * gammaln(2 / shape) - wanted)

    low, high = SHAPES
    shape = low if excess(low) <= 0 else high if excess(high) >= 0 else float(brentq(excess, low, high, xtol=1e-9))
    return GeneralisedGaussian(float(np.sqrt(second)), shape, 1 - near.size / values.size)


def kl_divergence(p: GeneralisedGaussian, q: GeneralisedGaussian) -> float:
    """KL(p || q) in nats, in closed form (Do and Vetterli 2002, equation 20); 0 for equal ones."""
    a, b = p.shape, q.shape
    logs = np.log(a / b) + np.log(q.scale / p.scale) + gammaln(1 / b) - gammaln(1 / a)
    power = np.exp(b * np.log(p.scale / q.scale) + gammaln((b + 1) / a) - gammaln(1 / a))
    return max(float(logs + power - 1 / a), 0.0)


def index_of(divergence: float) -> float:
    """SRGA: log10(KL + 1e-5) + 5, so that 0 is no difference at all."""
    return float(np.log10(divergence + 1e-5) + 5)
