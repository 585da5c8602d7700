"""Turn a request into cells: the network, image, window and options of each, and the key of its content."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sr_hooks.analyses.base import find_analysis
from sr_hooks.core import registry as plugins
from sr_hooks.core.options import from_mapping
from sr_hooks.core.progress import progress_bar
from sr_hooks.errors import NetworkError, OptionError, SRHooksError, shortened
from sr_hooks.files.regular_files import is_file, is_folder, read_bytes
from sr_hooks.grid.loading import load_network, network_input, read_cached_image, seconds_of_forward
from sr_hooks.grid.request import GridRequest
from sr_hooks.images.image import sha256_of, upsample
from sr_hooks.images.regions import Region
from sr_hooks.images.windows import Window, window_with_most_edges
from sr_hooks.inference.inputs import check_input
from sr_hooks.networks.network import Network
from sr_hooks.results.cache import Content, content_of, facts_of, key_of

__all__ = ["Cell", "GridPlan", "hashes_of_files", "make_plan", "options_of_cell", "version_of"]


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
        problems: index of each network that cannot be used, and why. Its cells stand for what the other networks have;
            they are never computed.
        sizes: height and width of each image.
        seconds: of each network's forward, a pixel of its input; 0 where that could not be measured.
        together: whether the windows of an image are computed in one call.
    """

    request: GridRequest
    cells: tuple[Cell, ...]
    networks: tuple[Mapping[str, Any], ...]
    hashes: tuple[str, ...]
    device: str
    threads: int
    problems: Mapping[int, str] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], ...] = ()
    seconds: tuple[float, ...] = ()
    together: bool = False

    def problems_sentence(self) -> str:
        """One line that names each network that cannot be used; "" if there is none."""
        names = {self.request.networks[row].name: reason for row, reason in self.problems.items()}
        return _named_problems(names, len(self.request.networks)) if names else ""

    def label(self, cell: Cell) -> str:
        """A cell's name in messages."""
        image = f", {self.request.images[cell.image].name}" if cell.image is not None else ""
        window = f", window {','.join(map(str, cell.window))}" if cell.window else ""
        return f"{cell.analysis} of {self.request.networks[cell.network].name}{image}{window}"


def make_plan(request: GridRequest, *, device: str, threads: int, together: bool = False) -> GridPlan:
    """Load every image, and every network, one at a time. A network that cannot be used stops no other network.

    Args:
        together: whether the windows of an image are computed in one call. That may change the last bits, so it is
            part of a cell's key.

    Raises:
        SRHooksError: an image or option is wrong, or no network can be used; the message names each network.
    """
    images = [read_cached_image(image) for image in request.images]
    hashes, sizes = tuple(map(sha256_of, images)), tuple((image.shape[-2], image.shape[-1]) for image in images)
    cells: list[Cell] = []
    facts: list[Mapping[str, Any]] = []
    seconds: list[float] = []
    errors: dict[int, SRHooksError] = {}
    with progress_bar("planning", total=len(request.networks), unit="networks") as progress:
        for row, entry in enumerate(request.networks):
            try:
                description, own_cells, cost = _plan_network(request, row, device, (threads, together))
            except SRHooksError as error:
                errors[row] = error
                description, own_cells = {"name": entry.name, "scale": 0.0, "weights": "", "sha256": ""}, []
                cost = 0.0
            facts.append(description)
            seconds.append(cost)
            cells += own_cells
            progress.update()
    problems = {row: str(error) for row, error in errors.items()}
    if len(errors) == len(request.networks):
        names = {request.networks[row].name: reason for row, reason in problems.items()}
        raise type(next(iter(errors.values())))(_named_problems(names, len(request.networks)))
    if not cells:
        raise OptionError("the grid has no cells: every analysis is left out for every network")
    cells = sorted([*cells, *_cells_not_computed(request, cells, errors)], key=lambda cell: cell.network)
    return GridPlan(
        request, tuple(cells), tuple(facts), hashes, device, threads, problems, sizes, tuple(seconds), together
    )


def _plan_network(
    request: GridRequest, row: int, device: str, how: tuple[int, bool]
) -> tuple[Mapping[str, Any], list[Cell], float]:
    """The network's description, cells and seconds of a forward. The network is freed before the next one is loaded."""
    network: Network | None = None
    try:
        network = load_network(request.networks[row], device)
        return network.describe(), list(_cells_of(request, row, network, how)), seconds_of_forward(network)
    except SRHooksError:
        raise
    except Exception as error:  # the code of a network may raise anything
        raise NetworkError(f"{type(error).__name__}: {error}") from error
    finally:
        alive = weakref.ref(network.module) if network is not None else lambda: None
        network = None
        if alive() is not None:
            gc.collect()  # a network that refers to itself


def _named_problems(reasons: Mapping[str, str], count: int) -> str:
    room = max(800 // len(reasons) - 20, 60)  # characters of each reason: the message names all networks
    text = "; ".join(f"network {name}: {shortened(reason, room)}" for name, reason in reasons.items())
    return f"{len(reasons)} of {count} networks cannot be used: {text}" if len(reasons) > 1 else text


def _cells_not_computed(request: GridRequest, cells: Sequence[Cell], rows: Iterable[int]) -> Iterator[Cell]:
    """Cells of the networks that cannot be used, at the images and windows of the first network that can."""
    for row in rows:
        for name in request.analyses:
            if request.options_of(request.networks[row], name) is None:
                continue
            others = [cell for cell in cells if cell.analysis == name]
            for cell in others:
                if cell.network == others[0].network:
                    content = f"{request.networks[row].name} {name} {cell.image} {cell.window}"
                    key = hashlib.sha256(f"not computed: {content}".encode()).hexdigest()
                    yield replace(cell, key=key, network=row, check=False)


def _cells_of(request: GridRequest, row: int, network: Network, how: tuple[int, bool]) -> Iterator[Cell]:
    contents = _Contents(request, network)
    for name in request.analyses:
        options = request.options_of(request.networks[row], name)
        if options is None:
            continue
        kind = find_analysis(name)
        common = (f"grid {name} {version_of(name)}", {"files": hashes_of_files(options), "threads": how[0]})
        cell = partial(_cell, request, (row, network), contents, name, common=common, stated=options, together=how[1])
        if kind.joins_images():
            yield cell(None, None)
            continue
        windowed = any(field.name == "window" for field in dataclasses.fields(kind.options_type))
        for number in range(len(request.images)):
            for window in _windows_of(request, number, network) if windowed else [None]:
                yield cell(number, window)


class _Contents:
    """What keys are made of, hashed once for all cells of a network: its facts and weights, and each of its inputs."""

    def __init__(self, request: GridRequest, network: Network) -> None:
        self.facts = facts_of(network)
        self._request, self._network = request, network
        self._images: dict[tuple[int, str], Content] = {}

    def images(self, numbers: Sequence[int], takes: str) -> list[Content]:
        """Of the network's inputs for some images, which are checked.

        Raises:
            SRHooksError: the network does not take an image.
        """
        for number in numbers:
            if (number, takes) not in self._images:
                image = network_input(self._request, number, self._network, takes)
                check_input(self._network, image)
                self._images[number, takes] = content_of(image)
        return [self._images[number, takes] for number in numbers]


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
    network: tuple[int, Network],
    contents: _Contents,
    name: str,
    number: int | None,
    window: Window | None,
    *,
    common: tuple[str, Mapping[str, Any]],
    stated: Mapping[str, Any],
    together: bool,
) -> Cell:
    kind = find_analysis(name)
    options = options_of_cell(name, stated, window)
    parsed: Any = from_mapping(kind.options_type, options, where=name)
    numbers = [number] if number is not None else range(len(request.images))
    content = {"options": parsed, **common[1]}
    if together and window and kind.joins_windows:
        content["together"] = request.images[numbers[0]].windows
    key = key_of(common[0], network[1], contents.images(numbers, kind.takes), content, facts=contents.facts)
    box = window.as_tuple() if window else None
    return Cell(key, name, network[0], number, box, options, request.check and name == "lam")


def options_of_cell(analysis: str, stated: Mapping[str, Any], window: Window | None) -> dict[str, Any]:
    """A cell's options: those that are stated, its window, and the whole output, which figure and PSNR need."""
    options = dict(stated)
    if window:
        options["window"] = window if isinstance(window, Region) else window.as_tuple()
    if any(field.name == "picture" for field in dataclasses.fields(find_analysis(analysis).options_type)):
        options.setdefault("picture", "whole")
    return options


def version_of(analysis: str) -> str:
    """The version of the distribution that an analysis comes from: a newer plugin gives its cells new keys."""
    owner = plugins.registry().owner("register_analyses", analysis)
    return next((entry["version"] for entry in plugins.registry().listing() if entry["plugin"] == owner), "")


def hashes_of_files(value: Any) -> Any:
    """Replace every file name among option values by the file's SHA-256, and a folder's name by those of its files."""
    if isinstance(value, Mapping):
        return {key: hashes_of_files(inside) for key, inside in value.items()}
    if isinstance(value, (list, tuple)):
        return [hashes_of_files(inside) for inside in value]
    if not isinstance(value, str):
        return None
    path = Path(value.partition("=")[2] or value)
    try:
        files = sorted(f for f in path.rglob("*") if is_file(f)) if is_folder(path) else [path] if is_file(path) else []
        return [[f.name, hashlib.sha256(read_bytes(f)).hexdigest()] for f in files]
    except OSError:  # the name is too long or the file is unreadable: the analysis will report that
        return None
