"""Load the networks and images of a request, and measure how long a network takes."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

import torch

from sr_hooks.core.seeds import own_streams
from sr_hooks.errors import ImageError, NetworkError
from sr_hooks.grid.request import GridRequest, ImageRequest, NetworkRequest
from sr_hooks.images.image import downsample, read_image
from sr_hooks.networks.network import Network

__all__ = ["load_network", "network_input", "read_cached_image", "seconds_of_forward"]

_SIDE = 48  # pixels of the image on which a forward is timed


def load_network(entry: NetworkRequest, device: str) -> Network:
    """Load the network of a request onto the device, under the name that the request gives it."""
    network = Network.load(entry.model, entry.arguments, weights=entry.weights, **entry.facts)
    network.name = entry.name
    if network.frames:
        raise NetworkError(f"{entry.name} takes clips, and a grid is of images: run sr-hooks lam on each clip")
    return network.to(device)


def read_cached_image(request: ImageRequest) -> torch.Tensor:
    """Read an image of a request as (1,C,H,W) in [0, 1]. The last eight stay in memory while no file changes."""
    try:
        state = request.file.stat()
    except (OSError, ValueError):
        return read_image(request.file)  # its error names what is wrong
    return _read(request.file, request.background, request.channels, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _read(file: Path, background: str | None, channels: int | None, changed: int, size: int) -> torch.Tensor:
    return read_image(file, background=background, bands=channels)


def network_input(request: GridRequest, number: int, network: Network, takes: str = "lr") -> torch.Tensor:
    """(1,C,h,w): the network's input for an image, or the ground truth itself if `takes` is "hr"."""
    image = read_cached_image(request.images[number])
    if takes == "hr":
        return image
    try:
        return downsample(image, network.scale) if request.hr else image
    except ImageError as error:
        raise ImageError(f"image {request.images[number].name}: {error}") from None


def seconds_of_forward(network: Network) -> float:
    """Seconds of a forward, a pixel of the input, on a small image; 0 if the network does not take that image.

    It orders the work and foretells its length. No number of a result depends on it.
    """
    side = max(_SIDE, network.minimum)
    side += -side % network.multiple
    best = 0.0
    with network.prepared(), own_streams(device=network.device), torch.no_grad():
        x = torch.zeros(1, network.channels, side, side, device=network.device)
        for attempt in range(2):
            begin = time.perf_counter()
            try:
                network(x).sum().item()  # an accelerator is waited for
            except Exception:  # what fails here fails in the analysis too, which says why
                return 0.0
            best = time.perf_counter() - begin if attempt else best
    return best / side**2
