"""The subject of a check: a map with the network, image, window, objective and path that it claims to explain."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
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
from sr_hooks.images.image import sha256_of
from sr_hooks.images.windows import Window
from sr_hooks.inference.inputs import read_images
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result

__all__ = ["Attribute", "Subject", "subject_of"]

Attribute = Callable[[Network, torch.Tensor, Window], Any]
"""(network, image (1,C,h,w), window) to an attribution (C,h,w), signed where the method has signs, or a map (h,w)."""

_COARSE = 0.1  # tolerance of maps that are compared by rank only


@dataclass(frozen=True)
class Subject:
    """A map and what it claims to explain.

    Attributes:
        attribution: (C,h,w) or (1,h,w) float, the map under test.
        options: LAM's options, used for maps of other networks and from other baselines; for one window.
        attribute: the method whose map is under test; None for LAM.
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
        values: np.ndarray = np.abs(self.attribution.sum(axis=0, dtype=np.float64))
        return values

    def recompute(self, network: Network) -> np.ndarray:
        """Compute the attribution of another network with the same method."""
        if self.attribute is None:
            return self.lam(network)
        with network.prepared(), torch.inference_mode(False):
            return _attribution_from(self.attribute, network, self.image, self.window)

    def lam(self, network: Network, *, path: Any = None, seed: int | None = None) -> np.ndarray:
        """(C,h,w): LAM of the same window and objective, to a coarse tolerance, along the same or another path."""
        options = replace(
            self.options,
            window=self.window,
            path=self.options.path if path is None else path,
            seed=self.options.seed if seed is None else seed,
            tolerance=max(self.options.tolerance, _COARSE),
        )
        with network.prepared(), torch.inference_mode(False):  # not by `execute`: observers must not see these runs
            result = Lam().run(network, self.image, options)
        return cast("LamResult", result).attribution


def subject_of(result: Result, network: Any, image: Any, attribute: Attribute | None) -> Subject:
    """Build the subject of a result, with the network and image passed in, remembered, or loaded by the provenance.

    Raises:
        SRHooksError: the result is no LAM, or its network or image is missing or another one.
    """
    if not isinstance(result, Result):
        raise OptionError(
            f"check takes a LAM result first, not a {type(result).__name__}: check(result), or check(result, network)"
        )
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
    checked_network = _network(result, network)
    batch = _image(checked_network, result, image)
    window = result.region
    if attribute is None:
        attribution, name = np.asarray(result.attribution, dtype=np.float64), "LAM"
        expected = tuple(batch.shape[1:])
        if attribution.ndim != 3 or attribution.shape[1:] != expected[1:]:
            raise ImageError(f"the attribution has shape {attribution.shape}, and its image {expected}")
        if not np.isfinite(attribution).all():
            raise ImageError("the attribution has values that are NaN or infinite")
    else:
        with checked_network.prepared():
            attribution = _attribution_from(attribute, checked_network, batch, window)
        name = getattr(attribute, "__name__", type(attribute).__name__)
    return Subject(checked_network, batch, window, attribution, _options(result), attribute, name)


def _network(result: LamResult, network_argument: Any) -> Network:
    record = result.provenance.get("network", {})
    origin = result.origin
    if network_argument is not None:
        network = Network.of(network_argument)
    elif origin is not None:
        network = origin.network
    else:
        network = _load_recorded(result.provenance.get("network_source"))
        with suppress(OptionError):  # where the device of the result is here, too
            network.to(str(result.provenance.get("device", "cpu")))
    if network.sha256() != record.get("sha256"):
        raise NetworkError(
            f"the weights of {network.name} are not those that the result was computed from, or have changed since: "
            "check(result, network=...) with the weights as they were"
        )
    return network


def _load_recorded(source: dict[str, Any] | None) -> Network:
    """Load the network that the provenance of a saved result names."""
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


def _image(network: Network, result: LamResult, image_argument: Any) -> torch.Tensor:
    image = result.arrays["lr"] if image_argument is None else image_argument
    batch = torch.cat(read_images(network, image, one_batch=True, clips=False)).cpu()
    if sha256_of(batch) != result.provenance.get("input_sha256"):
        what = Path(image_argument).name if isinstance(image_argument, (str, Path)) else "the image"
        raise ImageError(f"{what} is not the input that the result was computed from: give that, or none")
    return batch


def _options(result: LamResult) -> LamOptions:
    """The result's options, from memory or from its provenance, without the published procedure (no check needs it)."""
    if result.origin is not None:
        options: LamOptions = result.origin.options
    else:
        record = dict(result.provenance["options"])
        record["window"] = result.region
        if record.get("gt") is not None and str(record.get("objective")).startswith("loss"):
            raise OptionError(
                "the objective loss needs its ground truth, which results on disk do not hold: check in the process "
                "that made the result"
            )
        record.pop("gt", None)
        options = from_mapping(LamOptions, record, where="the result")
    return replace(options, window=result.region, compat=None, steps="auto", precision="float32")


def _attribution_from(attribute: Attribute, network: Network, image: torch.Tensor, window: Window) -> np.ndarray:
    """Call an attribution method and return its map as (C,h,w) float64."""
    name = getattr(attribute, "__name__", type(attribute).__name__)
    output = attribute(network, image, window)
    array = np.asarray(output.detach().cpu() if isinstance(output, torch.Tensor) else output, dtype=np.float64)
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
