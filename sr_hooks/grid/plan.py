"""Turn a request into cells: the network, image, window and options of each, and the key of its content."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from sr_hooks.analyses.base import find_analysis
from sr_hooks.core import registry as plugins
from sr_hooks.core.options import from_mapping
from sr_hooks.errors import ImageError, NetworkError, OptionError, SRHooksError, shortened
from sr_hooks.files.regular_files import is_file, is_folder, read_bytes
from sr_hooks.grid.request import GridRequest, ImageRequest, NetworkRequest
from sr_hooks.images.image import downsample, read_image, sha256_of, upsample
from sr_hooks.images.regions import Region
from sr_hooks.images.windows import Window, window_with_most_edges
from sr_hooks.inference.inputs import check_input
from sr_hooks.networks.network import Network
from sr_hooks.results.cache import key_of

__all__ = ["Cell", "GridPlan", "load_network", "make_plan", "network_input", "read_cached_image"]


@dataclass(frozen=True)
class Cell:
    """One result of the grid: one analysis of one network, on one image and window or on all images.

    Attributes:
        key: SHA-256 of weights, images, window and options (`sr_hooks.results.cache.key_of`), without names.
        analysis: the analysis's name.
        network: index of the network in the request.
        image: index of the image in the request; None if the analysis takes all images together.
        window: (top, left, height, width) in output pixels; None for an analysis without windows.
        options: the analysis's options as plain values, with the window.
        check: whether the map's faithfulness is checked too.
    """

    key: str
    analysis: str
    network: int
    image: int | None
    window: tuple[int, int, int, int] | None
    options: Mapping[str, Any]
    check: bool = False


@dataclass(frozen=True)
class GridPlan:
    """All cells of a grid, network by network, with the facts that are known before anything is computed.

    Attributes:
        request: what the user asked for.
        networks: the description of each network (`Network.describe`).
        hashes: SHA-256 of each image file's values.
        device: the device that the networks run on.
        threads: number of threads of each process.
    """

    request: GridRequest
    cells: tuple[Cell, ...]
    networks: tuple[Mapping[str, Any], ...]
    hashes: tuple[str, ...]
    device: str
    threads: int

    def label(self, cell: Cell) -> str:
        """A cell's name in messages."""
        image = f", {self.request.images[cell.image].name}" if cell.image is not None else ""
        window = f", window {','.join(map(str, cell.window))}" if cell.window else ""
        return f"{cell.analysis} of {self.request.networks[cell.network].name}{image}{window}"


def make_plan(request: GridRequest, *, device: str, threads: int) -> GridPlan:
    """Load every network and image once, and refuse what cannot be computed before anything is computed.

    Raises:
        SRHooksError: a network, image, window or option is wrong; the message names each network that is.
    """
    images = [read_cached_image(image) for image in request.images]
    hashes = tuple(map(sha256_of, images))
    cells: list[Cell] = []
    facts: list[Mapping[str, Any]] = []
    errors: dict[str, SRHooksError] = {}
    for row, entry in enumerate(request.networks):
        try:
            network = load_network(entry, device)
            facts.append(network.describe())
            cells += _cells_of(request, row, network, threads)
        except SRHooksError as error:
            errors[entry.name] = error
    if errors:
        room = max(800 // len(errors) - 20, 60)  # characters of each reason: the message names all networks
        reasons = "; ".join(f"network {name}: {shortened(str(error), room)}" for name, error in errors.items())
        count = f"{len(errors)} of {len(request.networks)} networks cannot be used: " if len(errors) > 1 else ""
        raise type(next(iter(errors.values())))(count + reasons)
    if not cells:
        raise OptionError("the grid has no cells: every analysis is left out for every network")
    return GridPlan(request, tuple(cells), tuple(facts), hashes, device, threads)


def _cells_of(request: GridRequest, row: int, network: Network, threads: int) -> Iterator[Cell]:
    for name in request.analyses:
        options = request.options_of(request.networks[row], name)
        if options is None:
            continue
        kind = find_analysis(name)
        if kind.joins_images():
            yield _cell(request, row, network, name, None, None, options, threads)
            continue
        windowed = any(field.name == "window" for field in dataclasses.fields(kind.options_type))
        for number in range(len(request.images)):
            for window in _windows_of(request, number, network) if windowed else [None]:
                yield _cell(request, row, network, name, number, window, options, threads)


def _windows_of(request: GridRequest, number: int, network: Network) -> list[Window]:
    image = request.images[number]
    lr = network_input(request, number, network)
    size = network.output_size(*lr.shape[-2:])
    if image.windows is None:
        return [
            window_with_most_edges(
                read_cached_image(image)[..., : size[0], : size[1]] if request.hr else upsample(lr, size)
            )
        ]
    windows = [window if isinstance(window, Region) else Window(*window) for window in image.windows]
    try:
        check_input(network, lr, windows=windows)
    except SRHooksError as error:
        raise type(error)(f"image {image.name}: {error}") from None
    return windows


def _cell(
    request: GridRequest,
    row: int,
    network: Network,
    name: str,
    number: int | None,
    window: Window | None,
    stated: Mapping[str, Any],
    threads: int,
) -> Cell:
    kind = find_analysis(name)
    options = dict(stated)
    if window:
        options["window"] = window if isinstance(window, Region) else window.as_tuple()
    if any(field.name == "picture" for field in dataclasses.fields(kind.options_type)):
        options.setdefault("picture", "whole")  # figure and PSNR need the whole output
    parsed: Any = from_mapping(kind.options_type, options, where=name)
    numbers = [number] if number is not None else range(len(request.images))
    images = [network_input(request, n, network, kind.takes) for n in numbers]
    for image in images:
        check_input(network, image)
    content = {"options": parsed, "files": _files(stated), "threads": threads}
    key = key_of(f"grid {name} {_version(name)}", network, images, content)
    box = window.as_tuple() if window else None
    return Cell(key, name, row, number, box, options, request.check and name == "lam")


def _version(analysis: str) -> str:
    """The version of the distribution that an analysis comes from: a newer plugin gives its cells new keys."""
    owner = plugins.registry().owner("register_analyses", analysis)
    return next((entry["version"] for entry in plugins.registry().listing() if entry["plugin"] == owner), "")


def _files(value: Any) -> Any:
    """Replace every file name among option values by the file's SHA-256, and a folder's name by those of its files."""
    if isinstance(value, Mapping):
        return {key: _files(inside) for key, inside in value.items()}
    if isinstance(value, (list, tuple)):
        return [_files(inside) for inside in value]
    if not isinstance(value, str):
        return None
    path = Path(value.partition("=")[2] or value)
    try:
        files = sorted(f for f in path.rglob("*") if is_file(f)) if is_folder(path) else [path] if is_file(path) else []
        return [[f.name, hashlib.sha256(read_bytes(f)).hexdigest()] for f in files]
    except OSError:  # the name is too long or the file is unreadable: the analysis will report that
        return None


def load_network(entry: NetworkRequest, device: str) -> Network:
    """Load the network of a request onto the device, under the name that the request gives it."""
    network = Network.load(entry.model, entry.arguments, weights=entry.weights, **entry.facts)
    network.name = entry.name
    if network.frames:
        raise NetworkError(f"{entry.name} takes clips, and a grid is of images: run sr-hooks lam on each clip")
    return network.to(device)


def read_cached_image(request: ImageRequest) -> torch.Tensor:
    """Read an image of a request as (1,C,H,W) in [0, 1]. The last eight stay in memory while no file changes."""
    file, background = request.file, request.background
    try:
        state = file.stat()
    except (OSError, ValueError):
        return read_image(file)  # its error names what is wrong
    return _read(file, background, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _read(file: Path, background: str | None, changed: int, size: int) -> torch.Tensor:
    return read_image(file, background=background)


def network_input(request: GridRequest, number: int, network: Network, takes: str = "lr") -> torch.Tensor:
    """(1,C,h,w): the network's input for an image, or the ground truth itself if `takes` is "hr"."""
    image = read_cached_image(request.images[number])
    if takes == "hr":
        return image
    try:
        return downsample(image, network.scale) if request.hr else image
    except ImageError as error:
        raise ImageError(f"image {request.images[number].name}: {error}") from None
