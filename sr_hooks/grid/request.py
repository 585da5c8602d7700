"""What a grid is asked for: networks, images, windows and analyses, from a YAML file or from flags, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_hooks.analyses.base import find_analysis
from sr_hooks.core.yaml_files import read_yaml
from sr_hooks.errors import OptionError, WindowError, nearest
from sr_hooks.images.windows import parse_windows

__all__ = ["Asked", "AskedImage", "AskedNetwork", "Windows", "parse_asked", "read_asked"]

Windows = tuple[tuple[int, int, int, int], ...] | None
"""Each (top, left, height, width) in output pixels; None for one that is found: see `sr_hooks.grid.spots`."""

_KEYS = ("networks", "images", "windows", "hr", "analyses", "check")
_FACTS = ("scale", "input_range", "mean", "std", "bgr", "multiple")
_NETWORK_KEYS = ("model", "arguments", "weights", *_FACTS, "analyses")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class AskedNetwork:
    """A network as `Network.load` takes it, and options of analyses that are its own (False: leave that one out)."""

    name: str
    model: str
    arguments: Mapping[str, Any] | None = None
    weights: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    analyses: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AskedImage:
    """An image file with the windows that are looked at in it."""

    name: str
    file: Path
    windows: Windows = None


@dataclass(frozen=True)
class Asked:
    """A whole grid.

    Attributes:
        networks, images: in the order of rows and columns; names are unique.
        hr: the images are ground truth, which each network's scale shrinks (bicubic); or else they are inputs.
        analyses: name to options.
        check: whether each map's faithfulness is checked too (`sr_hooks.check`).
    """

    networks: tuple[AskedNetwork, ...]
    images: tuple[AskedImage, ...]
    hr: bool = True
    analyses: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"lam": {}})
    check: bool = False

    def options_of(self, network: AskedNetwork, analysis: str) -> dict[str, Any] | None:
        """The options of an analysis for one network; None where it is left out."""
        own = network.analyses.get(analysis, {})
        return None if own is False else {**self.analyses[analysis], **(own or {})}


def read_asked(path: str | Path) -> Asked:
    """A grid file; names of files in it are relative to its folder.

    Raises:
        OptionError: no such file, no sound YAML, an unknown key, or something missing.
    """
    path = Path(path)
    content = read_yaml(path, name="the grid file")
    return parse_asked(content, where=str(path), base=path.parent)


def parse_asked(content: Any, *, where: str = "grid", base: Path | None = None) -> Asked:
    """Check what a grid file (or flags) hold.

    Args:
        content: `networks` and `images`, each a list or name to description; `windows` (of all images), `hr`,
            `analyses` (a list, or name to options), `check`.
        where: how messages call it.
        base: folder for relative paths; the working directory by default.

    Raises:
        OptionError: an unknown key, with the nearest; something missing or of the wrong kind.
    """
    base = base or Path()
    if not isinstance(content, Mapping):
        raise OptionError(f"{where} must be a mapping with networks and images, not {_shown(content)}")
    for key in content:
        if key not in _KEYS:
            raise OptionError(f"{where}: unknown key {key!r}; {nearest(str(key), _KEYS)}")
    for key in ("hr", "check"):
        if not isinstance(content.get(key, False), bool):
            raise OptionError(f"{where}: {key} is {_shown(content[key])}: it must be true or false")
    hr = content.get("hr", True)
    analyses = _analyses(content.get("analyses"), where, base, hr=hr)
    networks = _networks(content.get("networks"), where, base, analyses)
    images = _images(content.get("images"), _windows(content.get("windows"), f"{where}: windows"), where, base)
    return Asked(networks, images, hr, analyses, bool(content.get("check", False)))


def _analyses(given: Any, where: str, base: Path, *, hr: bool) -> dict[str, dict[str, Any]]:
    if given is None:
        given = ["lam"]
    if isinstance(given, str):
        given = given.replace(",", " ").split()
    if isinstance(given, Sequence):
        given = {str(name): {} for name in given}
    if not isinstance(given, Mapping) or not given:
        raise OptionError(f"{where}: analyses must be a list, or name to options, not {_shown(given)}")
    found: dict[str, dict[str, Any]] = {}
    for name, options in given.items():
        kind = find_analysis(str(name))
        if kind.takes == "hr" and not hr:
            raise OptionError(f"{where}: {name} looks at ground truth, and the images are inputs (hr: false)")
        found[str(name)] = _options(options, f"{where}: {name}", base)
    return found


def _options(given: Any, where: str, base: Path) -> dict[str, Any]:
    if given is None or given is True:
        return {}
    if not isinstance(given, Mapping):
        raise OptionError(f"{where} must be a mapping of options, not {_shown(given)}")
    if "window" in given or "windows" in given:
        raise OptionError(f"{where}: windows stand at the top of the grid or with an image, not among its options")
    return {str(key): _located(value, base) for key, value in given.items()}


def _networks(given: Any, where: str, base: Path, analyses: Mapping[str, Any]) -> tuple[AskedNetwork, ...]:
    found = []
    for name, entry in _entries(given, "networks", where, "model"):
        here = f"{where}: network {name or entry.get('model')!r}"
        for key in entry:
            if key not in _NETWORK_KEYS:
                raise OptionError(f"{here}: unknown key {key!r}; {nearest(str(key), _NETWORK_KEYS)}")
        if not isinstance(entry.get("model"), str):
            raise OptionError(f"{here}: model must be given: a checkpoint, option file, architecture or file.py:Class")
        own = entry.get("analyses") or {}
        if not isinstance(own, Mapping):
            raise OptionError(f"{here}: analyses must map names to options or false, not {_shown(own)}")
        for key in own:
            if key not in analyses:
                raise OptionError(f"{here}: {key!r} is not among the grid's analyses; {nearest(str(key), analyses)}")
        arguments = entry.get("arguments")
        if arguments is not None and not isinstance(arguments, Mapping):
            raise OptionError(f"{here}: arguments must be a mapping, not {_shown(arguments)}")
        weights = entry.get("weights")
        found.append(
            AskedNetwork(
                name,
                str(_located(entry["model"], base)),
                arguments,
                None if weights is None else str(_found(str(weights), base)),
                {key: entry[key] for key in _FACTS if entry.get(key) is not None},
                {k: v if v is False else _options(v, f"{here}: {k}", base) for k, v in own.items()},
            )
        )
    names = _distinct([n.name for n in found], [n.weights or n.model for n in found], f"{where}: networks")
    return tuple(
        AskedNetwork(name, n.model, n.arguments, n.weights, n.facts, n.analyses)
        for name, n in zip(names, found, strict=True)
    )


def _images(given: Any, windows: Windows, where: str, base: Path) -> tuple[AskedImage, ...]:
    found = []
    for name, entry in _entries(given, "images", where, "file"):
        for key in entry:
            if key not in ("file", "windows"):
                raise OptionError(
                    f"{where}: image {name!r}: unknown key {key!r}; {nearest(str(key), ('file', 'windows'))}"
                )
        if not isinstance(entry.get("file"), str):
            raise OptionError(f"{where}: image {name!r}: file must be given")
        place = _found(entry["file"], base)
        files = [place]
        if place.is_dir():
            files = sorted(f for f in place.iterdir() if f.suffix.lower() in _SUFFIXES)
            if not files:
                raise OptionError(f"{where}: no image files in {place}")
        own = _windows(entry["windows"], f"{where}: image {name!r}: windows") if "windows" in entry else windows
        found += [AskedImage(name if len(files) == 1 else "", file, own) for file in files]
    names = _distinct([i.name for i in found], [str(i.file) for i in found], f"{where}: images")
    return tuple(AskedImage(name, i.file, i.windows) for name, i in zip(names, found, strict=True))


def _entries(given: Any, what: str, where: str, key: str) -> list[tuple[str, Mapping[str, Any]]]:
    """(name or "", description) of each, from a list of texts and mappings or from name to text or mapping."""
    if isinstance(given, str):
        given = [given]
    if not given or not isinstance(given, (Sequence, Mapping)):
        raise OptionError(f"{where}: {what} must be given: a list, or name to {key}")
    named = given.items() if isinstance(given, Mapping) else [("", entry) for entry in given]
    found: list[tuple[str, Mapping[str, Any]]] = []
    for name, entry in named:
        if isinstance(entry, (str, Path)):
            entry = {key: str(entry)}
        if not isinstance(entry, Mapping):
            raise OptionError(f"{where}: {what}: {_shown(entry)} is neither a {key} nor a mapping with one")
        entry = dict(entry)
        own = entry.pop("name", None) if not name else None
        found.append((str(name or own or ""), entry))
    return found


def _windows(given: Any, where: str) -> Windows:
    if given is None or given == "auto":
        return None
    try:
        return tuple(window.as_tuple() for window in parse_windows(given)[0])
    except WindowError as error:
        raise OptionError(f"{where}: {error}") from None


def _found(file: str, base: Path) -> Path:
    """What is certainly a file or folder: beside the grid file, or else as it stands."""
    place = Path(file).expanduser()
    return base / place if (base / place).exists() else place


def _located(value: Any, base: Path) -> Any:
    """A file's name as it is found from here: beside the grid file, or else as it stands; other values as they are."""
    if isinstance(value, Mapping):
        return {key: _located(inside, base) for key, inside in value.items()}
    if not isinstance(value, str) or not ("/" in value or Path(value).suffix):
        return value
    file, colon, rest = value.partition(".py:")
    written = file + ".py" if colon else value
    try:
        found = (base / Path(written).expanduser()).exists()
    except OSError:  # too long for a name, or the like
        return value
    return str(base / Path(written).expanduser()) + (f":{rest}" if colon else "") if found else value


def _distinct(names: list[str], places: list[str], where: str) -> list[str]:
    """Given names as they are, and the others by their file's stem, with folders in front where that is needed."""
    stated = [name for name in names if name]
    for name in stated:
        if stated.count(name) > 1:
            raise OptionError(f"{where}: two are called {_shown(name)}: give them other names")
    paths = [Path(place) for place in places]
    depth = 0
    while True:
        found = [
            name or "/".join([*path.absolute().parts[:-1][len(path.absolute().parts) - 1 - depth :], path.stem])
            for name, path in zip(names, paths, strict=True)
        ]
        twice = [name for name in found if found.count(name) > 1]
        if not twice:
            return found
        if depth >= max(len(path.absolute().parts) for path in paths):
            raise OptionError(f"{where}: {_shown(twice[0])} is there twice: leave one out, or give both names")
        depth += 1


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
