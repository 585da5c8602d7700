"""From what is asked to cells: what each is of, and the key of its content."""

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
from sr_hooks.errors import ImageError, NetworkError, OptionError, SRHooksError
from sr_hooks.grid.default_windows import liveliest
from sr_hooks.grid.request import Asked, AskedNetwork
from sr_hooks.images.image import downsample, read_image, sha256_of, upsample
from sr_hooks.images.windows import Window
from sr_hooks.networks.network import Network
from sr_hooks.results.cache import key_of

__all__ = ["Cell", "Plan", "image_of", "inputs_of", "load_network", "make_plan"]


@dataclass(frozen=True)
class Cell:
    """One answer of the grid.

    Attributes:
        key: of its content (`sr_hooks.cache.key_of`): weights, images, window and options; names are no part of it.
        analysis: the analysis's name.
        network: row of the network.
        image: row of the image; None where the analysis takes all images together.
        window: (top, left, height, width); None for an analysis without windows.
        options: of the analysis, plain, with the window in them.
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
class Plan:
    """All cells, network by network, and what is known of networks and images before anything is computed.

    Attributes:
        networks: what `Network.describe` says of each.
        hashes: SHA-256 of each image file's values.
        device: where the networks run.
        threads: of each process.
    """

    asked: Asked
    cells: tuple[Cell, ...]
    networks: tuple[Mapping[str, Any], ...]
    hashes: tuple[str, ...]
    device: str
    threads: int

    def label(self, cell: Cell) -> str:
        """A cell's name for people."""
        image = f", {self.asked.images[cell.image].name}" if cell.image is not None else ""
        window = f", window {','.join(map(str, cell.window))}" if cell.window else ""
        return f"{cell.analysis} of {self.asked.networks[cell.network].name}{image}{window}"


def make_plan(asked: Asked, *, device: str, threads: int) -> Plan:
    """Load every network once, look at every image, and refuse what cannot be answered before anything is computed.

    Raises:
        SRHooksError: a network, image, window or option that will not do, and whose it is.
    """
    images = [image_of(image.file) for image in asked.images]
    hashes = tuple(map(sha256_of, images))
    cells: list[Cell] = []
    facts: list[Mapping[str, Any]] = []
    for row, entry in enumerate(asked.networks):
        try:
            network = load_network(entry, device)
            facts.append(network.describe())
            cells += _cells_of(asked, row, network, threads)
        except SRHooksError as error:
            raise type(error)(f"network {entry.name}: {error}") from None
    if not cells:
        raise OptionError("the grid has no cells: every analysis is left out for every network")
    return Plan(asked, tuple(cells), tuple(facts), hashes, device, threads)


def _cells_of(asked: Asked, row: int, network: Network, threads: int) -> Iterator[Cell]:
    for name in asked.analyses:
        options = asked.options_of(asked.networks[row], name)
        if options is None:
            continue
        kind = find_analysis(name)
        if kind.joins_images():
            yield _cell(asked, row, network, name, None, None, options, threads)
            continue
        windowed = any(field.name == "window" for field in dataclasses.fields(kind.options_type))
        for number in range(len(asked.images)):
            for window in _windows_of(asked, number, network) if windowed else [None]:
                yield _cell(asked, row, network, name, number, window, options, threads)


def _windows_of(asked: Asked, number: int, network: Network) -> list[tuple[int, int, int, int]]:
    image = asked.images[number]
    lr = inputs_of(asked, number, network)
    size = network.output_size(*lr.shape[-2:])
    if image.windows is None:
        return [liveliest(image_of(image.file)[..., : size[0], : size[1]] if asked.hr else upsample(lr, size))]
    for window in image.windows:
        try:
            Window(*window).check(*size)
        except SRHooksError as error:
            raise type(error)(f"image {image.name}: {error}") from None
    return list(image.windows)


def _cell(
    asked: Asked,
    row: int,
    network: Network,
    name: str,
    number: int | None,
    window: tuple[int, int, int, int] | None,
    given: Mapping[str, Any],
    threads: int,
) -> Cell:
    kind = find_analysis(name)
    options = {**given, "window": window} if window else dict(given)
    if any(field.name == "picture" for field in dataclasses.fields(kind.options_type)):
        options.setdefault("picture", "whole")  # of which figure and PSNR are
    parsed: Any = from_mapping(kind.options_type, options, where=name)
    numbers = [number] if number is not None else range(len(asked.images))
    images = [inputs_of(asked, n, network, kind.takes) for n in numbers]
    for image in images:
        network.check(image)
    content = {"options": parsed, "files": _files(given), "threads": threads}
    key = key_of(f"grid {name} {_version(name)}", network, images, content)
    return Cell(key, name, row, number, window, options, asked.check and name == "lam")


def _version(analysis: str) -> str:
    """Of the distribution that brings an analysis, so that a newer plugin's answer is not an older one's."""
    owner = plugins.registry().owner("register_analyses", analysis)
    return next((entry["version"] for entry in plugins.registry().listing() if entry["plugin"] == owner), "")


def _files(value: Any) -> Any:
    """SHA-256 of every file that options name, in the shape of the options; a folder counts by its files."""
    if isinstance(value, Mapping):
        return {key: _files(inside) for key, inside in value.items()}
    if isinstance(value, (list, tuple)):
        return [_files(inside) for inside in value]
    if not isinstance(value, str):
        return None
    path = Path(value.partition("=")[2] or value)
    try:
        files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path] if path.is_file() else []
        return [[f.name, hashlib.sha256(f.read_bytes()).hexdigest()] for f in files]
    except OSError:  # too long for a name, or unreadable: the analysis will say so
        return None


def load_network(entry: AskedNetwork, device: str) -> Network:
    """The network of a row, on its device, under the row's name."""
    network = Network.load(entry.model, entry.arguments, weights=entry.weights, **entry.facts)
    network.name = entry.name
    if network.frames:
        raise NetworkError(f"{entry.name} takes clips, and a grid is of images: run sr-hooks lam on each clip")
    try:
        network.module.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise OptionError(f"device {device}: {str(error).splitlines()[0]}") from None
    return network


def image_of(file: Path) -> torch.Tensor:
    """(1,C,H,W) in [0, 1]; the last few are kept for as long as their files stay as they are."""
    try:
        state = file.stat()
    except OSError:
        return read_image(file)  # which says what is wrong
    return _read(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _read(file: Path, changed: int, size: int) -> torch.Tensor:
    return read_image(file)


def inputs_of(asked: Asked, number: int, network: Network, takes: str = "lr") -> torch.Tensor:
    """(1,C,h,w): what the network is given of an image; with `takes` "hr", the ground truth."""
    image = image_of(asked.images[number].file)
    if image.shape[1] == 1 and network.channels == 3:
        image = image.expand(-1, 3, -1, -1)
    if takes == "hr":
        return image
    try:
        return downsample(image, network.scale) if asked.hr else image
    except ImageError as error:
        raise ImageError(f"image {asked.images[number].name}: {error}") from None
