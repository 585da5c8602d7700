"""What is checked: a map with the network, image, window, objective and path that it is said to be of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from sr_hooks.analyses.lam.analysis import Lam
from sr_hooks.analyses.lam.options import LamOptions
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.core.options import from_mapping
from sr_hooks.errors import ImageError, NetworkError, OptionError, SRHooksError
from sr_hooks.images.image import as_batch, sha256_of
from sr_hooks.images.windows import Window, parse_window
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result

__all__ = ["Attribute", "Subject", "subject_of"]

Attribute = Callable[[Network, torch.Tensor, Window], Any]
"""(network, image (1,C,h,w), window) to an attribution (C,h,w), signed where the method has signs, or a map (h,w)."""

_COARSE = 0.1  # tolerance of the maps that are only compared by rank


@dataclass(frozen=True)
class Subject:
    """A map and what it is said to explain.

    Attributes:
        attribution: (C,h,w) or (1,h,w) float, the map under test.
        options: LAM's, for maps of other networks and from other baselines; of one window.
        attribute: another way of making maps, whose map is the one under test; None for LAM's own.
    """

    network: Network
    image: torch.Tensor
    window: Window
    attribution: np.ndarray
    options: LamOptions
    attribute: Attribute | None
    name: str

    @property
    def map(self) -> np.ndarray:
        """(h,w) float64: |sum over channels|."""
        return np.abs(self.attribution.sum(axis=0, dtype=np.float64))

    def remade(self, network: Network) -> np.ndarray:
        """The attribution that the same way of making maps gives for another network."""
        if self.attribute is None:
            return self.lam(network)
        with network.prepared(), torch.inference_mode(False):
            return _made(self.attribute, network, self.image, self.window)

    def lam(self, network: Network, *, path: Any = None, seed: int | None = None) -> np.ndarray:
        """(C,h,w): LAM of the same window and objective, to a coarse tolerance; along another path where given."""
        options = replace(
            self.options,
            window=self.window.as_tuple(),
            path=self.options.path if path is None else path,
            seed=self.options.seed if seed is None else seed,
            tolerance=max(self.options.tolerance, _COARSE),
        )
        with network.prepared(), torch.inference_mode(False):  # not by `execute`: observers are not to see these
            found = Lam().run(network, self.image, options)
        return cast("LamResult", found).attribution


def subject_of(result: Result, network: Any, image: Any, attribute: Attribute | None) -> Subject:
    """What `check` was asked about, with network and image given, remembered, or found by the result's provenance.

    Raises:
        SRHooksError: no LAM, or a network or image that is missing or not the one that the result is of.
    """
    if not isinstance(result, LamResult):
        raise OptionError(
            f"check knows LAM's results, and this is one of {result.analysis}; to check another map of a window, give "
            "a LAM result of that window and the map's maker: check(result, attribute=function)"
        )
    if result.is_clip:
        raise OptionError(
            "check looks at maps of images, and this LAM is of a clip: its completeness gap stands in the result"
        )
    if result.arrays["lr"].ndim != 3:
        raise OptionError("check knows maps of single images, and this one is of a clip")
    found = _network(result, network)
    batch = _image(result, image)
    window = parse_window(result.window)
    if attribute is None:
        attribution, name = np.asarray(result.attribution, dtype=np.float64), "LAM"
        wanted = tuple(batch.shape[1:])
        if attribution.ndim != 3 or attribution.shape[1:] != wanted[1:]:
            raise ImageError(f"the attribution has shape {attribution.shape}, and its image {wanted}")
        if not np.isfinite(attribution).all():
            raise ImageError("the attribution has values that are NaN or infinite")
    else:
        with found.prepared():
            attribution = _made(attribute, found, batch, window)
        name = getattr(attribute, "__name__", type(attribute).__name__)
    return Subject(found, batch, window, attribution, _options(result), attribute, name)


def _network(result: LamResult, given: Any) -> Network:
    recorded = result.provenance.get("network", {})
    origin = result.origin
    if given is not None:
        network = Network.of(given)
    elif origin is not None:
        network = origin.network
    else:
        network = _found(result.provenance.get("network_source"))
    if network.sha256() != recorded.get("sha256"):
        raise NetworkError(
            f"the weights of {network.name} are not those that the result was computed from, or have changed since: "
            "check(result, network=...) with the weights as they were"
        )
    return network


def _found(source: dict[str, Any] | None) -> Network:
    """As the provenance of a result from a folder says."""
    if not source:
        raise NetworkError(
            "this result was read from a folder and does not say how its network can be loaded: "
            "check(result, network=...)"
        )
    try:
        return Network.load(
            source["model"], source.get("arguments"), weights=source.get("weights"), **(source.get("facts") or {})
        )
    except SRHooksError as error:
        raise NetworkError(
            f"the result's network, {source['model']}, cannot be loaded again ({error}): check(result, network=...)"
        ) from None


def _image(result: LamResult, given: Any) -> torch.Tensor:
    batch = as_batch(result.arrays["lr"] if given is None else given).cpu()
    if sha256_of(batch) != result.provenance.get("input_sha256"):
        what = Path(given).name if isinstance(given, (str, Path)) else "the image"
        raise ImageError(f"{what} is not the input that the result was computed from: give that, or none")
    return batch


def _options(result: LamResult) -> LamOptions:
    """The result's own, or as they were recorded; not the published procedure, which no check needs."""
    if result.origin is not None:
        options = result.origin.options
    else:
        recorded = dict(result.provenance["options"])
        if recorded.get("gt") is not None:
            raise OptionError(
                "the objective loss needs its ground truth, which results on disk do not hold: check in the process "
                "that made the result"
            )
        options = from_mapping(LamOptions, recorded, where="the result")
    return replace(options, window=result.window, compat=None, steps="auto", precision="float32")


def _made(attribute: Attribute, network: Network, image: torch.Tensor, window: Window) -> np.ndarray:
    """(C,h,w) float64 from whatever a maker of maps returns."""
    name = getattr(attribute, "__name__", type(attribute).__name__)
    made = attribute(network, image, window)
    array = np.asarray(made.detach().cpu() if isinstance(made, torch.Tensor) else made, dtype=np.float64)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[1:] != tuple(image.shape[2:]):
        h, w = image.shape[2:]
        raise OptionError(f"{name} must return an attribution (C,{h},{w}) or a map ({h},{w}), not {array.shape}")
    if not np.isfinite(array).all():
        raise OptionError(f"{name} returned values that are NaN or infinite")
    return array
