"""Keep windows in a grid file, which `sr-hooks grid` computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sr_hooks.core.yaml_files import read_yaml, to_yaml
from sr_hooks.errors import OptionError
from sr_hooks.explorer.scene import Question, Scene
from sr_hooks.files.regular_files import is_file, read_bytes
from sr_hooks.images.image import encode_image, sha256_of
from sr_hooks.networks.network import Network
from sr_hooks.results.writing import write_file

__all__ = ["keep_window"]

_HEAD = "# Windows that `sr-hooks explore` kept. Each new one writes this file anew, without comments of others.\n"
_FACTS = ("scale", "input_range", "mean", "std", "bgr", "multiple", "weights_key", "weights_prefix")


def keep_window(file: Path, scene: Scene, question: Question) -> str:
    """Add a window to a grid file that the explorer writes, with the scene's networks and image.

    The file is written whole or not at all. A file that the explorer did not write is left as it is. An image without
    a file is written as a PNG file of 8 bits beside the grid file.

    Returns:
        One line: what the file holds now.

    Raises:
        OptionError: the file is another's; its grid has images of the other kind (input or ground truth) or other
            options of LAM; or a grid cannot load any of the networks.
        ResultError: it cannot be written.
    """
    grid = _read(file)
    networks, left_out = _networks(scene, file)
    if grid.setdefault("hr", scene.hr) != scene.hr:
        kinds = {True: "ground truth", False: "inputs"}
        raise OptionError(f"{file} is a grid of {kinds[grid['hr']]}, and this image is none: name another with --grid")
    options = _options(question)
    if grid.setdefault("analyses", {"lam": options}) != {"lam": options}:
        stated = {"objective": "gradient", "path": "blur", **(grid["analyses"].get("lam") or {})}
        raise OptionError(
            f"{file} is a grid with objective {stated['objective']} and path {stated['path']}: ask so, or name "
            "another file with --grid"
        )
    grid["networks"] = {**grid.get("networks", {}), **networks}
    images: dict[str, Any] = grid.setdefault("images", {})
    name, path = _image(scene, file, images)
    windows: list[list[int]] = images.setdefault(name, {"file": path, "windows": []})["windows"]
    window = list(question.window.as_tuple())
    is_new = window not in windows
    if is_new:
        windows.append(window)
        text = _HEAD + to_yaml(grid)
        write_file(file, lambda part: part.write_text(text, encoding="utf-8"))
    count = sum(len(image["windows"]) for image in images.values())
    done = "kept" if is_new else "was kept already"
    rest = f"; left out, since a grid cannot load them: {', '.join(left_out)}" if left_out else ""
    return f"window {','.join(map(str, window))} {done}: {count} in {file}; next: sr-hooks grid {file}{rest}"


def _read(file: Path) -> dict[str, Any]:
    if not is_file(file):
        return {}
    try:
        is_own = read_bytes(file).startswith(_HEAD.encode())
    except OSError as error:
        raise OptionError(f"cannot read {file}: {error.strerror or error}") from None
    if not is_own:
        raise OptionError(f"{file} was not written by the explorer, and is left as it is: name another with --grid")
    content = read_yaml(file, name="the grid file")
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, dict) or not all(
        isinstance(image, dict) and isinstance(image.get("windows"), list) for image in images.values()
    ):
        raise OptionError(f"{file} was changed so that no window can be added: name another with --grid")
    return content  # type: ignore[no-any-return]


def _options(question: Question) -> dict[str, Any]:
    stated = {"objective": (question.objective, "gradient"), "path": (question.path, "blur")}
    return {name: value for name, (value, usual) in stated.items() if value != usual}


def _networks(scene: Scene, file: Path) -> tuple[dict[str, Any], list[str]]:
    """The networks as a grid file names them, and the names of those that it cannot load."""
    entries, left_out = {}, []
    for name, network in scene.networks.items():
        entry = _entry(network, file)
        if entry is None:
            left_out.append(name)
        else:
            entries[name] = entry
    if not entries:
        raise OptionError(
            "no window is kept: a grid loads its networks from files or names, and these came as modules of Python"
        )
    return entries, left_out


def _entry(network: Network, file: Path) -> dict[str, Any] | None:
    source = network.source
    if source is None or set(source["facts"]) - set(_FACTS):
        return None
    entry = {"model": _beside(source["model"], file), **source["facts"]}
    if source["arguments"]:
        entry["arguments"] = source["arguments"]
    if source["weights"]:
        entry["weights"] = _beside(source["weights"], file)
    return entry


def _image(scene: Scene, file: Path, images: Mapping[str, Any]) -> tuple[str, str]:
    """The name of the scene's image in the grid, and its file as the grid file names it."""
    if scene.file is not None:
        path = _beside(str(scene.file.resolve()), file)
        name = next((name for name, image in images.items() if image["file"] == path), None)
        return name or _free(Path(path).stem, images), path
    still = scene.still_image()
    picture = file.absolute().parent / f"{Path(scene.name).stem or 'image'}_{sha256_of(still)[:8]}.png"
    if not is_file(picture):
        write_file(picture, lambda part: part.write_bytes(encode_image(still, ".png")))
    path = _beside(str(picture), file)
    name = next((name for name, image in images.items() if image["file"] == path), None)
    return name or _free(picture.stem, images), path


def _free(name: str, names: Mapping[str, Any]) -> str:
    number, free = 2, name
    while free in names:
        free, number = f"{name}_{number}", number + 1
    return free


def _beside(path: str, file: Path) -> str:
    """A path below the grid file's folder without that folder's name; any other text as it is."""
    folder = str(file.absolute().parent.resolve())
    return path[len(folder) + 1 :] if path.startswith(folder + "/") else path
