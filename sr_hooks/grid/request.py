"""A request for a grid: networks, images, windows and analyses, read from a YAML file or from flags, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sr_hooks.analyses.base import find_analysis
from sr_hooks.core.text import unique_names
from sr_hooks.core.yaml_files import read_yaml
from sr_hooks.errors import ImageError, OptionError, WindowError, nearest
from sr_hooks.figures.options import read_figure_options
from sr_hooks.files.regular_files import expanded, is_file, is_folder
from sr_hooks.images.image_sets import image_files
from sr_hooks.images.masks import AUTO, parse_regions
from sr_hooks.images.regions import Region
from sr_hooks.images.windows import Window
from sr_hooks.networks.loading.checkpoint_files.weights import split_name
from sr_hooks.networks.loading.loaders import Arguments

__all__ = ["GridRequest", "ImageRequest", "NetworkRequest", "Windows", "parse_request", "read_request"]

Windows = tuple[tuple[int, int, int, int] | Region, ...] | None
"""Each (top, left, height, width) in output pixels, or a mask; None for the square with most edges."""

_KEYS = ("networks", "images", "windows", "hr", "analyses", "check", "figure", "background", "title", "device")
_IMAGE_KEYS = ("file", "windows", "background", "channels")
_FACTS = (
    "scale", "input_range", "mean", "std", "bgr", "multiple", "channels", "bands", "weights_key", "weights_prefix",
)  # fmt: skip
_NETWORK_KEYS = ("model", "arguments", "weights", *_FACTS, "analyses", "group")


@dataclass(frozen=True)
class NetworkRequest:
    """A network as `Network.load` takes it, its own options of analyses (False: left out), and its group's name."""

    name: str
    model: str
    arguments: Arguments | None = None
    weights: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    analyses: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True)
class ImageRequest:
    """An image file with its windows; `channels` tells how a file of many bands is laid out (`read_image`)."""

    name: str
    file: Path
    windows: Windows = None
    background: str | None = None
    channels: int | None = None


@dataclass(frozen=True)
class GridRequest:
    """A whole grid.

    Attributes:
        networks, images: in the order of rows and columns; names are unique.
        hr: True if the images are ground truth, which is shrunk (bicubic) by each network's scale; False if the images
            are network inputs.
        analyses: name to options.
        check: whether each map's faithfulness is checked too (`sr_hooks.check`).
        figure: the options of all figures that are stated (`sr_hooks.figures.FigureOptions`).
        title: of the report; "" for the usual one.
        device: cpu, cuda, cuda:1, ...; auto is cuda if a GPU is present. No part of what is asked.
    """

    networks: tuple[NetworkRequest, ...]
    images: tuple[ImageRequest, ...]
    hr: bool = True
    analyses: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"lam": {}})
    check: bool = False
    figure: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    device: str = field(default="auto", compare=False)

    @property
    def shown_bands(self) -> Sequence[int] | None:
        """The bands that pictures show as red, green and blue: those of the first network that states any."""
        stated = [network.facts["bands"] for network in self.networks if "bands" in network.facts]
        return next((bands for bands in stated if isinstance(bands, (list, tuple)) and len(bands) == 3), None)

    def options_of(self, network: NetworkRequest, analysis: str) -> dict[str, Any] | None:
        """The options of an analysis for one network; None if the network leaves the analysis out."""
        own = network.analyses.get(analysis, {})
        return None if own is False else {**self.analyses[analysis], **(own or {})}


def read_request(path: str | Path) -> GridRequest:
    """Read a grid file. File names in the grid file are relative to its folder.

    Raises:
        OptionError: the file is missing or no valid YAML, a key is unknown, or something is missing.
    """
    path = Path(path)
    content = read_yaml(path, name="the grid file")
    return parse_request(content, where=str(path), base=path.parent)


def parse_request(content: Any, *, where: str = "grid", base: Path | None = None) -> GridRequest:
    """Check the content of a grid file (or of flags) and return the request.

    Args:
        content: `networks` and `images`, each a list or name to description; `windows` (of all images), `hr`,
            `analyses` (a list, or name to options), `check`, `figure` (options of figures), `title` (of the report).
        where: the name of the source in messages.
        base: folder for relative paths; the working directory by default.

    Raises:
        OptionError: a key is unknown (the message names the nearest), or something is missing or of the wrong kind.
    """
    base = base or Path()
    if not isinstance(content, Mapping):
        raise OptionError(f"{where} must be a mapping with networks and images, not {_short_repr(content)}")
    for key in content:
        if key not in _KEYS:
            raise OptionError(f"{where}: unknown key {key!r}; {nearest(str(key), _KEYS)}")
    content = {"hr": True, "check": False, **content, "title": "" if content.get("title") is None else content["title"]}
    for key, kind, name in (("hr", bool, "true or false"), ("check", bool, "true or false"), ("title", str, "a text")):
        if not isinstance(content[key], kind):
            raise OptionError(f"{where}: {key} is {_short_repr(content[key])}: it must be {name}")
    hr = content["hr"]
    analyses = _analyses(content.get("analyses"), where, base, hr=hr)
    networks = _networks(content.get("networks"), where, base, analyses)
    figure = read_figure_options(content.get("figure"), where=f"{where}: figure").stated()
    windows = _windows(content.get("windows"), f"{where}: windows", base)
    images = _images(content.get("images"), windows, content.get("background"), where, base)
    stated = {network.facts.get("channels") for network in networks}
    if len(stated) == 1:
        images = tuple(replace(image, channels=image.channels or next(iter(stated))) for image in images)
    device = str(content.get("device", "auto"))
    return GridRequest(networks, images, hr, analyses, content["check"], figure, content["title"], device)


def _analyses(value: Any, where: str, base: Path, *, hr: bool) -> dict[str, dict[str, Any]]:
    if value is None:
        value = ["lam"]
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if isinstance(value, Sequence):
        value = {str(name): {} for name in value}
    if not isinstance(value, Mapping) or not value:
        raise OptionError(f"{where}: analyses must be a list, or name to options, not {_short_repr(value)}")
    analyses: dict[str, dict[str, Any]] = {}
    for name, options in value.items():
        kind = find_analysis(str(name))
        if kind.takes == "hr" and not hr:
            raise OptionError(f"{where}: {name} looks at ground truth, and the images are inputs (hr: false)")
        analyses[str(name)] = _options(options, f"{where}: {name}", base)
    return analyses


def _options(value: Any, where: str, base: Path) -> dict[str, Any]:
    if value is None or value is True:
        return {}
    if not isinstance(value, Mapping):
        raise OptionError(f"{where} must be a mapping of options, not {_short_repr(value)}")
    if "window" in value or "windows" in value:
        raise OptionError(f"{where}: windows stand at the top of the grid or with an image, not among its options")
    return {str(key): _resolve_paths(option, base) for key, option in value.items()}


def _networks(value: Any, where: str, base: Path, analyses: Mapping[str, Any]) -> tuple[NetworkRequest, ...]:
    requests = []
    for name, entry in _entries(value, "networks", where, "model"):
        location = f"{where}: network {name or entry.get('model')!r}"
        for key in entry:
            if key not in _NETWORK_KEYS:
                raise OptionError(f"{location}: unknown key {key!r}; {nearest(str(key), _NETWORK_KEYS)}")
        if not isinstance(entry.get("model"), str):
            raise OptionError(
                f"{location}: model must be given: a checkpoint, option file, architecture or file.py:Class"
            )
        own_analyses = entry.get("analyses") or {}
        if not isinstance(own_analyses, Mapping):
            raise OptionError(
                f"{location}: analyses must map names to options or false, not {_short_repr(own_analyses)}"
            )
        for key in own_analyses:
            if key not in analyses:
                raise OptionError(
                    f"{location}: {key!r} is not among the grid's analyses; {nearest(str(key), analyses)}"
                )
        arguments = entry.get("arguments")
        if arguments is not None and not isinstance(arguments, (Mapping, list, tuple)):
            raise OptionError(f"{location}: arguments must be a mapping or a list, not {_short_repr(arguments)}")
        weights = entry.get("weights")
        requests.append(
            NetworkRequest(
                name,
                str(_resolve_paths(entry["model"], base)),
                arguments,
                None if weights is None else str(_existing_path(str(weights), base)),
                {key: entry[key] for key in _FACTS if entry.get(key) is not None},
                {k: v if v is False else _options(v, f"{location}: {k}", base) for k, v in own_analyses.items()},
                str(entry.get("group") or ""),
            )
        )
    names = unique_names([n.name for n in requests], [n.weights or n.model for n in requests], f"{where}: networks")
    return tuple(replace(n, name=name) for name, n in zip(names, requests, strict=True))


def _images(value: Any, windows: Windows, background: Any, where: str, base: Path) -> tuple[ImageRequest, ...]:
    requests = []
    for name, entry in _entries(value, "images", where, "file"):
        for key in entry:
            if key not in _IMAGE_KEYS:
                raise OptionError(f"{where}: image {name!r}: unknown key {key!r}; {nearest(str(key), _IMAGE_KEYS)}")
        if not isinstance(entry.get("file"), str):
            raise OptionError(f"{where}: image {name!r}: file must be given")
        path = _existing_path(entry["file"], base)
        files = [path]
        if is_folder(path):
            try:
                files = image_files(path)
            except ImageError:
                raise OptionError(f"{where}: no image files in {path}") from None
        own_windows = (
            _windows(entry["windows"], f"{where}: image {name!r}: windows", base) if "windows" in entry else windows
        )
        colour = entry.get("background", background)
        channels = entry.get("channels")
        if channels is not None and (not isinstance(channels, int) or channels < 1):
            raise OptionError(f"{where}: image {name!r}: channels is {_short_repr(channels)}; give a number from 1 on")
        name = name if len(files) == 1 else ""
        requests += [ImageRequest(name, file, own_windows, colour, channels) for file in files]
    names = unique_names([i.name for i in requests], [str(i.file) for i in requests], f"{where}: images")
    return tuple(replace(i, name=name) for name, i in zip(names, requests, strict=True))


def _entries(value: Any, what: str, where: str, key: str) -> list[tuple[str, Mapping[str, Any]]]:
    """(name or "", description) of each, from a list of texts and mappings or from name to text or mapping."""
    if isinstance(value, str):
        value = [value]
    if not value or not isinstance(value, (Sequence, Mapping)):
        raise OptionError(f"{where}: {what} must be given: a list, or name to {key}")
    named = value.items() if isinstance(value, Mapping) else [("", entry) for entry in value]
    entries: list[tuple[str, Mapping[str, Any]]] = []
    for name, entry in named:
        if isinstance(entry, (str, Path)):
            entry = {key: str(entry)}
        if not isinstance(entry, Mapping):
            raise OptionError(f"{where}: {what}: {_short_repr(entry)} is neither a {key} nor a mapping with one")
        entry = dict(entry)
        own_name = entry.pop("name", None) if not name else None
        entries.append((str(name or own_name or ""), entry))
    return entries


def _windows(value: Any, where: str, base: Path) -> Windows:
    if value is None or (isinstance(value, str) and value == AUTO):
        return None
    try:
        windows = parse_regions(value, base=base)[0]
    except WindowError as error:
        raise OptionError(f"{where}: {error}") from None
    if AUTO in windows:
        raise OptionError(f"{where}: auto stands alone, not in a list of windows")
    boxes = [window.as_tuple() for window in windows if isinstance(window, Window)]
    if len(set(boxes)) < len(boxes) and any(isinstance(window, Region) for window in windows):
        raise OptionError(f"{where}: two masks have the same bounding window: a grid tells windows apart by it")
    return tuple(window if isinstance(window, Region) else window.as_tuple() for window in windows if window != AUTO)


def _existing_path(file: str, base: Path) -> Path:
    """The path of a file or folder: relative to the grid file's folder if it exists there, else as written."""
    path = expanded(file)
    exists = is_file(base / path) or is_folder(base / path) or is_file(base / split_name(path)[0])
    return base / path if exists else path


def _resolve_paths(value: Any, base: Path) -> Any:
    """Replace each text that names an existing file beside the grid file by that file's path; keep all other values."""
    if isinstance(value, Mapping):
        return {key: _resolve_paths(inside, base) for key, inside in value.items()}
    if not isinstance(value, str) or not ("/" in value or Path(value).suffix):
        return value
    file, colon, rest = value.partition(".py:")
    written = file + ".py" if colon else value
    path = base / expanded(written)
    return str(path) + (f":{rest}" if colon else "") if is_file(path) or is_folder(path) else value


def _short_repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
