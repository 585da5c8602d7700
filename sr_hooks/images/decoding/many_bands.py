"""Image files with any number of bands: NumPy's `.npy`, and TIFFs of more bands than an image for people has."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from sr_hooks.errors import ImageError

__all__ = ["decode_npy", "decode_tiff", "is_npy", "is_tiff", "tiff_tags", "to_last_axis"]

_NPY = b"\x93NUMPY"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PHOTOMETRIC, _SAMPLES, _EXTRA_SAMPLES = 262, 277, 338  # tags of TIFF
_GREY, _RGB, _ALPHA = (0, 1), 2, (1, 2)


def is_npy(data: bytes) -> bool:
    """Whether the bytes are those of a NumPy file."""
    return data.startswith(_NPY)


def is_tiff(data: bytes) -> bool:
    """Whether the bytes are those of a TIFF, of up to 4 GB or larger (BigTIFF)."""
    return data[:4] in _TIFF


def decode_npy(data: bytes, path: str | Path, bands: int | None) -> np.ndarray:
    """The image in a `.npy` file as (H,W,C): uint8, or float32 in [0, 1].

    The array is (h,w), (h,w,c) or (c,h,w), or one of these with a first axis of 1. See `to_last_axis`.

    Raises:
        ImageError: a damaged file, Python objects, another shape, or numbers whose white is not known.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, SyntaxError) as error:
        raise ImageError(f"{path} is damaged, or holds Python objects, which are not unpickled: {error}") from None
    if array.dtype.kind not in "fu" or (array.dtype.kind == "u" and array.dtype != np.uint8):
        raise ImageError(
            f"{path} has values of type {array.dtype}, whose white is not known; save uint8, or float32 in [0, 1]: "
            "the values divided by the largest that there can be"
        )
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    array = to_last_axis(array, str(path), bands)
    return np.require(array if array.dtype == np.uint8 else array.astype(np.float32), requirements=("C", "W"))


def to_last_axis(array: np.ndarray, what: str, bands: int | None) -> np.ndarray:
    """(h,w), (h,w,c) or (c,h,w) as (h,w,c).

    The axis of the channels is the first or the last one: the one that is as long as `bands`, else the shorter one.

    Args:
        bands: the number of channels that a network takes; None where no network is known.

    Raises:
        ImageError: another shape, or two axes that may both be the channels.
    """
    if array.ndim == 2:
        return array[:, :, None]
    if array.ndim != 3 or 0 in array.shape:
        raise ImageError(f"{what} has shape {array.shape}; an image is (h,w), (h,w,c) or (c,h,w), none of them 0")
    first, last = array.shape[0], array.shape[2]
    if (first == bands) != (last == bands):
        return np.moveaxis(array, 0, 2) if first == bands else array
    if first == last:
        raise ImageError(f"{what} has shape {array.shape}, so its channels may be the first axis or the last: crop it")
    return np.moveaxis(array, 0, 2) if first < last else array


def decode_tiff(data: bytes, path: str | Path, bands: int | None) -> np.ndarray | None:
    """The TIFF of many bands as (H,W,C): uint8, uint16 or floats; None of a TIFF that is a picture.

    A TIFF is a picture if its channels are grey or colours, with or without transparency. Bands may be its channels, in
    planes or not, or its pages; the latter and the fourth band beside RGB only where a network takes as many `bands`.

    Raises:
        ImageError: tifffile is not installed, or does not know the compression.
    """
    tags = tiff_tags(data)
    count = int(tags.get(_SAMPLES, 1))
    is_network_of_bands = bands not in (None, 1, 3)
    if _is_picture(tags, bands) and not (is_network_of_bands and tags.next):
        return None
    try:
        import tifffile
    except ImportError:
        raise ImageError(
            f"{path} is a TIFF of many bands, which needs tifffile: pip install 'sr_hooks[tiff]', or "
            "save the bands as .npy"
        ) from None
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            array = np.asarray(file.asarray())
    except Exception as error:  # of many kinds; a damaged file, or a compression that needs imagecodecs
        raise ImageError(f"{path} is damaged, or a TIFF that tifffile does not read: {error}") from None
    if _is_picture(tags, bands):  # pages
        return to_last_axis(array, str(path), bands) if array.ndim == 3 and bands in array.shape[::2] else None
    return to_last_axis(array, str(path), count)


def tiff_tags(data: bytes) -> Any:
    """The tags of a TIFF's first page by number; its attribute `next` is 0 where there is no other page."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2(data[:16] if 43 in data[2:4] else data[:8])  # 43 is BigTIFF
    try:
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
    except (OSError, SyntaxError, ValueError, TypeError, OverflowError):
        return ImageFileDirectory_v2()
    return tags


def _is_picture(tags: Any, bands: int | None) -> bool:
    """Whether the channels of a TIFF are grey or colours, with or without transparency, as far as its tags say."""
    count, colours, extra = tags.get(_SAMPLES, 1), tags.get(_PHOTOMETRIC), tags.get(_EXTRA_SAMPLES, (0,))
    if colours in _GREY:
        return count == 1 or (count == 2 and extra[0] in _ALPHA)
    if colours == _RGB:
        return count == 3 or (count == 4 and (bands != 4 or extra[0] in _ALPHA))
    return True
