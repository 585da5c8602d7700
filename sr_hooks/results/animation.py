"""Write an animated GIF of a watched run: the results of one analysis, one picture for each iteration."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sr_hooks.core import registry as plugins
from sr_hooks.errors import OptionError, ResultError, nearest
from sr_hooks.files.regular_files import is_file
from sr_hooks.results.result import RESULT_FILE, read_result
from sr_hooks.results.run_index import read_index
from sr_hooks.results.writing import write_file

__all__ = ["film"]

_MILLISECONDS = 700


def film(run: str | Path, out: str | Path, *, analysis: str | None = None) -> int:
    """Write a GIF of a watched run, or of one result over a clip, and return its number of pictures.

    An analysis may define a classmethod `film(results) -> list of (H,W,3) uint8`, as DDR does to show all iterations
    on the same axes; of any other, the figures that were saved are shown one after the other. A film that is a mapping
    from name to such a list, for instance one for each layer, is written to one file for each: `film.gif` becomes
    `film_body.3.gif` for the name body.3; where there is one name only, the file is `film.gif`.

    Args:
        run: folder of a watched run, with its index, or of one result whose analysis has a `film`.
        out: the file to write; it appears whole or not at all.
        analysis: which; may be left out where the run has one only.

    Raises:
        ResultError: no watched run, or nothing of that analysis to show, or the file cannot be written.
        OptionError: the run has several analyses and none was named, or not this one; Pillow is missing.
    """
    if is_file(Path(run) / RESULT_FILE):
        return _film_of_one(Path(run), Path(out))
    entries = sorted(read_index(run), key=lambda entry: entry["iteration"])
    names = list(dict.fromkeys(entry["analysis"] for entry in entries))
    if not names:
        raise ResultError(f"the run in {run} has no results yet")
    if analysis is None and len(names) > 1:
        raise OptionError(f"the run has results of {', '.join(names)}: say which with --analysis")
    if (analysis := analysis or names[0]) not in names:
        raise OptionError(f"the run has no results of {analysis!r}; {nearest(analysis, names)}")
    folders = [Path(run) / entry["folder"] for entry in entries if entry["analysis"] == analysis]
    draw = getattr(plugins.contributions("register_analyses").get(analysis), "film", None)
    pictures = draw([read_result(folder) for folder in folders]) if draw else _saved(folders)
    return _write_all(pictures, Path(out), f"the results of {analysis} in {run} hold no figures")


def _film_of_one(folder: Path, out: Path) -> int:
    """The film of one result, whose analysis defines one."""
    result = read_result(folder)
    draw = getattr(plugins.contributions("register_analyses").get(result.analysis), "film", None)
    if draw is None:
        raise ResultError(f"{folder} holds one result of {result.analysis}, which has no film: name a watched run")
    return _write_all(draw([result]), out, f"the result of {result.analysis} in {folder} has nothing to film")


def _write_all(pictures: Any, out: Path, nothing: str) -> int:
    """Write the pictures, one file for each name; their number.

    Raises:
        ResultError: there are none; the message is `nothing`.
    """
    several: Mapping[str, Sequence[np.ndarray]] = pictures if isinstance(pictures, Mapping) else {"": pictures}
    if not any(several.values()):
        raise ResultError(nothing)
    for name, film_pictures in several.items():
        _write(film_pictures, _file_of(out, name if len(several) > 1 else ""))
    return sum(map(len, several.values()))


def _file_of(out: Path, name: str) -> Path:
    return out.with_name(f"{out.stem}_{re.sub(r'[^A-Za-z0-9.#-]+', '-', name)}{out.suffix}") if name else out


def _saved(folders: Sequence[Path]) -> list[np.ndarray]:
    loaded = [cv2.imread(str(folder / "figure.png")) for folder in folders if (folder / "figure.png").is_file()]
    pictures = [np.ascontiguousarray(picture[:, :, ::-1]) for picture in loaded if picture is not None]
    height, width = (max((p.shape[axis] for p in pictures), default=0) for axis in (0, 1))
    return [
        np.pad(p, ((0, height - p.shape[0]), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures
    ]


def _write(pictures: Sequence[np.ndarray], out: Path) -> None:
    try:
        from PIL import Image
    except ImportError:
        raise OptionError("a GIF needs Pillow: pip install 'sr_hooks[figures]'") from None
    # One palette for all pictures, or colours would flicker from one to the next.
    palette = Image.fromarray(pictures[-1]).quantize(128)
    frames: list[Any] = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], duration=_MILLISECONDS, loop=0)
    write_file(out, lambda part: part.write_bytes(data.getvalue()))
