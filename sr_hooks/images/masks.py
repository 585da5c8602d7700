"""Read regions from what people have: masks, label images, polygons, COCO's run lengths, or numbers of a rectangle."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sr_hooks.errors import ImageError, WindowError, shortened
from sr_hooks.images.decoding.image_files import IMAGE_SUFFIXES, decode_labels
from sr_hooks.images.regions import region_of_mask, region_of_polygons
from sr_hooks.images.windows import MOST_WINDOWS, Window, parse_window, split_windows

__all__ = ["AUTO", "label_map", "parse_regions"]

AUTO: Literal["auto"] = "auto"
"""The liveliest place of the image, see `sr_hooks.images.windows.window_with_most_edges`."""

_NUMBERS = re.compile(r"[\s\d,.+-]*")
_SHOWN = 8  # labels that a message lists


def parse_regions(value: Any, *, base: Path | None = None) -> tuple[list[Window | Literal["auto"]], bool]:
    """Windows and regions of the output; the second value says whether several were asked for, in a list.

        parse_regions((96, 120, 16))                       # top, left, size, or top, left, height, width
        parse_regions("mask.png")                          # an image file, or an .npy, of the output's size
        parse_regions("labels.png:3")                      # the pixels of label 3
        parse_regions(mask)                                # an array or tensor (H,W), bool, or 0 and another value
        parse_regions([[0, 0], [0, 40], [30, 20]])         # a polygon of (y, x); a list of polygons is their union
        parse_regions({"size": [h, w], "counts": ...})     # COCO's run lengths
        parse_regions("auto")                              # "auto" itself

    Several: a list of these, text with ";" between them, or an array (K,H,W).

    Args:
        base: folder in which files are looked for first; the working directory by default.

    Raises:
        WindowError: one that is not understood, cannot be read, or is empty.
    """
    value = split_windows(value)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.ndim == 3:
        value = list(value)
    if _several(value):
        if len(value) > MOST_WINDOWS:
            raise WindowError(f"{len(value)} windows are given: at most {MOST_WINDOWS} are explained at once")
        return [_parse(item, base) for item in value], True
    return [_parse(value, base)], False


def _several(value: Any) -> bool:
    """Whether a sequence is one of windows and regions, not one of a window's numbers or of a region's polygons."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not len(value):
        return False
    if any(isinstance(item, (Window, Mapping, Path, np.ndarray, torch.Tensor)) for item in value):
        return True
    if any(isinstance(item, str) for item in value):
        return not all(isinstance(item, str) and item.strip().lstrip("-").isdigit() for item in value)
    depths = {_depth(item) for item in value}
    if depths == {1}:
        return any(len(item) != 2 for item in value)
    return len(depths) > 1 or depths >= {3}


def _depth(value: Any) -> int:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return 0
    return 1 + max((_depth(item) for item in value), default=0)


def _parse(value: Any, base: Path | None) -> Window | Literal["auto"]:
    if isinstance(value, Window):
        return value
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.ndim == 2:
        if value.shape[1] == 2 and value.dtype.kind in "if" and len(value) > 2:
            return region_of_polygons([value.astype(np.float64)])
        return _of_labels(value, None, "the mask")
    if isinstance(value, Mapping):
        return region_of_mask(_decode_runs(value))
    if isinstance(value, str) and value.strip() == AUTO:
        return AUTO
    if isinstance(value, (str, Path)):
        return _of_text(str(value), base)
    depth = _depth(value)
    if (depth == 2 and len(value) > 2) or depth == 3:
        return region_of_polygons([_polygon(part) for part in ([value] if depth == 2 else value)])
    return parse_window(value)


def _of_text(text: str, base: Path | None) -> Window:
    if _NUMBERS.fullmatch(text):
        return parse_window(text)
    name, colon, label = text.rpartition(":")
    if colon and label.isdigit() and not _is_file(_existing(text, base)):
        path, number = _existing(name, base), int(label)
    else:
        path, number = _existing(text, base), None
    if not _is_file(path):
        if path.suffix.lower() not in {*IMAGE_SUFFIXES, ".npy", ".gif"}:
            raise WindowError(
                f"window {shortened(repr(text), 200)} is not understood: give (top, left, size), (top, left, height, "
                "width), the file of a mask, or auto"
            )
        raise WindowError(f"there is no mask file {shortened(str(path), 200)}")
    return _of_labels(_labels_of_file(path, text), number, str(path))


def _labels_of_file(path: Path, text: str) -> np.ndarray:
    try:
        data = path.read_bytes()
        return np.load(io.BytesIO(data), allow_pickle=False) if path.suffix == ".npy" else decode_labels(data, path)
    except OSError as error:
        raise WindowError(f"window {text!r}: {error.strerror or error}") from None
    except (ImageError, ValueError, EOFError) as error:
        raise WindowError(f"window {text!r}: {error}") from None


def label_map(value: Any, *, base: Path | None = None) -> np.ndarray:
    """A label image (H,W) of integers: a file (an image or .npy), or an array or tensor; a mask has labels 0 and 1.

    Args:
        base: folder in which a file is looked for first; the working directory by default.

    Raises:
        WindowError: no such file, not one value a pixel, or values that are no integers.
    """
    name = "the label image"
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, (str, Path)):
        name, path = str(value), _existing(str(value), base)
        if not _is_file(path):
            raise WindowError(f"there is no label image {shortened(str(path), 200)}")
        value = _labels_of_file(path, name)
    array = np.asarray(value)
    array = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "iub":
        raise WindowError(
            f"{name} has shape {array.shape} and kind {array.dtype}: a label image is (H,W), with an integer a pixel"
        )
    return array.astype(np.int64)


def _existing(name: str, base: Path | None) -> Path:
    path = Path(name).expanduser()
    return base / path if base is not None and _is_file(base / path) else path


def _is_file(path: Path) -> bool:
    """Whether there is a regular file; False for a name that no file can have, a pipe, a device or a folder."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _of_labels(array: np.ndarray, label: int | None, name: str) -> Window:
    """The pixels of a label; without one, those that are not 0 of an array with one other value."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 or 0 in array.shape:
        raise WindowError(f"{name} has shape {array.shape}: a mask is (H,W), with a value for every output pixel")
    if array.dtype == bool:
        return region_of_mask(array)
    values = np.unique(array)
    listed = ", ".join(map(str, values[:_SHOWN].tolist())) + (", ..." if len(values) > _SHOWN else "")
    if label is not None:
        if label not in values:
            raise WindowError(f"{name} has no label {label}: its labels are {listed}")
        return region_of_mask(array == label)
    if array.dtype.kind not in "iu" or len(values) > 2 or (len(values) == 2 and values[0] != 0):
        raise WindowError(
            f"{name} has {len(values)} values ({listed}), and a mask has 0 and one other: name a label, "
            "'labels.png:3', or make it black and white, mask > 127"
        )
    return region_of_mask(array != 0)


def _polygon(corners: Any) -> np.ndarray:
    try:
        array = np.array(corners, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < 3:
        raise WindowError("a polygon is not understood: give at least three corners [[y, x], ...] in output pixels")
    return array


def _decode_runs(annotation: Mapping[str, Any]) -> np.ndarray:
    """(H,W) bool of COCO's run lengths, plain or compressed, which go down the columns and begin with zeros."""
    try:
        height, width = (int(side) for side in annotation["size"])
        counts = annotation["counts"]
        runs = _decompressed(counts) if isinstance(counts, (str, bytes)) else [int(count) for count in counts]
    except (KeyError, TypeError, ValueError, IndexError):
        keys = ", ".join(map(str, annotation))
        raise WindowError(
            f"a mapping with {keys} is no region: COCO's run lengths are {{'size': [height, width], 'counts': ...}}"
        ) from None
    if height < 1 or width < 1 or min(runs, default=0) < 0 or sum(runs) != height * width:
        raise WindowError(f"COCO's run lengths add up to {sum(runs)} pixels, and the size is {height}x{width}")
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask: np.ndarray = values.reshape(width, height).T
    return mask


def _decompressed(counts: str | bytes) -> list[int]:
    """COCO's text of run lengths: five bits a character; from the fourth run on, differences to the run before last."""
    data = counts.encode() if isinstance(counts, str) else counts
    runs: list[int] = []
    position = 0
    while position < len(data):
        number, shift, more = 0, 0, True
        while more:
            piece = data[position] - 48
            number |= (piece & 0x1F) << shift
            more = bool(piece & 0x20)
            position, shift = position + 1, shift + 5
            if not more and piece & 0x10:
                number |= -1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
    return runs
