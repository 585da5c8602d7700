"""Decode image files as people have them: oriented, of 8 or 16 bits, with palettes, alpha, CMYK, or refused by name."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from sr_hooks.errors import ImageError
from sr_hooks.images.decoding.many_bands import decode_npy, decode_tiff, is_npy, is_tiff, tiff_tags
from sr_hooks.images.decoding.pixels import checked, decode_pil, oriented, without_alpha

__all__ = ["IMAGE_SUFFIXES", "READ_FORMATS", "decode", "decode_labels"]

IMAGE_SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".webp",
        ".avif",
        ".heic",
        ".heif",
        ".jp2",
        ".ppm",
        ".pgm",
        ".pbm",
    ]
)
"""Suffixes of the files that are taken from a folder."""

READ_FORMATS = "PNG, JPEG, BMP, TIFF, WebP, AVIF, HEIC, GIF, JPEG 2000, PNM, TGA and NumPy's .npy are read"

_RAW = frozenset([".dng", ".nef", ".cr2", ".cr3", ".crw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".x3f"])
_FOREIGN = (
    (b"\xff\x0a", "a JPEG XL file"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL file"),
    (b"\x76\x2f\x31\x01", "an OpenEXR file, with values beyond [0, 1]"),
    (b"#?RADIANCE", "a Radiance HDR file, with values beyond [0, 1]"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the image: run git lfs pull"),
    (b"PK\x03\x04", "a zip archive"),
)
_HEIF_BRANDS = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1".split())
_ONE_PICTURE = frozenset({"MPO", "HEIF", "AVIF", "ICO"})  # further images are previews or depth, the first is meant
_PNM = re.compile(rb"P([2356])" + 3 * rb"\s+(?:#[^\n]*\n\s*)*(\d+)" + rb"\s")
_DNG_VERSION, _BITS, _ORIENTATION, _SAMPLES, _PLANES = 50706, 258, 274, 277, 284


def decode(data: bytes, path: str | Path, *, background: str | None = None, bands: int | None = None) -> np.ndarray:
    """The image in a file's bytes as (H,W,C): uint8, uint16 of white 65535, or float32 in [0, 1].

    C is 1 or 3. Of a `.npy` file and of a TIFF of many bands it is any number.

    Args:
        data: the file's bytes.
        path: what messages call the file.
        background: the colour below transparent pixels ("white", "#808080"); None refuses such pixels.
        bands: the number of channels that the network takes; None where no network is known.

    Raises:
        ImageError: what kind of file this is, and why that kind is not read.
    """
    _refuse_foreign(data, Path(path))
    if is_npy(data):
        return decode_npy(data, path, bands)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large images and odd EXIF entries
        many = decode_tiff(data, path, bands) if is_tiff(data) else None
        if many is not None:
            return checked(many, path, any_channels=True)
        image = _open(data, path)
        if image is None:
            _refuse_planes(tiff_tags(data), path)
            return _finished(_by_opencv(data, path), 1, path, background)
        depth = _bits(image, data)
        if 8 < depth < 16 and image.format != "PPM":
            raise ImageError(f"{path} has {depth} bits a channel: save it with 8 or 16 bits")
        if depth > 8 and image.format == "TIFF":
            _refuse_planes(image.tag_v2, path)
        if depth > 8 and image.mode not in ("I;16", "I;16B", "I;16L", "F"):
            array = _by_opencv(data, path)
            if image.format == "PPM":
                array = (array / _white_of_pnm(data)).astype(np.float32)  # OpenCV leaves values as they are stored
            if image.format != "TIFF":  # OpenCV turns TIFF itself
                array = oriented(array, image.getexif().get(_ORIENTATION, 1))
            is_grey_with_alpha = image.format == "PNG" and data[25] == 4
            return _finished(array, 2 if is_grey_with_alpha else 1, path, background)
        return decode_pil(image, path, background=background)


def decode_labels(data: bytes, path: str | Path) -> np.ndarray:
    """The whole numbers (H,W) of a mask or label image: those in the file, of a palette the indices; turned by EXIF.

    Raises:
        ImageError: no image, or one of colours or transparent pixels.
    """
    _refuse_foreign(data, Path(path))
    image = _open(data, path)
    if image is not None and image.mode in ("1", "P"):
        try:
            array = np.asarray(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise ImageError(f"{path} is truncated or damaged: {error}") from None
        return oriented(array, image.getexif().get(_ORIENTATION, 1))
    array = decode(data, path)
    if array.shape[2] == 3 and not (array == array[:, :, :1]).all():
        raise ImageError(f"{path} is an image of colours: a mask is black and white, or has a label for every pixel")
    return array[:, :, 0]


def _refuse_foreign(data: bytes, path: Path) -> None:
    if path.suffix.lower() in _RAW:
        raise ImageError(f"{path} is a camera's raw file: develop it to PNG or TIFF first")
    head = data[:1024].lstrip()
    for start, kind in _FOREIGN:
        if data.startswith(start):
            raise ImageError(f"{path} is {kind}; {READ_FORMATS}")
    if head[:5].lower() in (b"<!doc", b"<html"):
        raise ImageError(f"{path} is a web page (HTML), not an image: the download went wrong")
    if b"<svg" in head:
        raise ImageError(f"{path} is an SVG drawing, which has no pixels: export it as PNG")
    if (data[:4] == b"RIFF" and data[8:12] == b"AVI ") or data[4:12] in (b"ftypisom", b"ftypmp42", b"ftypqt  "):
        raise ImageError(f"{path} is a video: extract its frames into a folder, for instance with ffmpeg")


def _open(data: bytes, path: str | Path) -> Any:
    """The file opened by Pillow; None where Pillow cannot, and OpenCV may."""
    from PIL import Image, UnidentifiedImageError, features

    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and b"avif" not in data[8:64]:
        _register_heif(path)
    elif data[4:8] == b"ftyp" and b"avif" in data[8:64] and not features.check("avif"):
        raise ImageError(f"{path} is an AVIF file, and this Pillow reads none: pip install 'pillow>=11.3'")
    if not data or _truncated(data):
        raise _unreadable(path)
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        if data[:4] in (b"II*\0", b"MM\0*"):  # a TIFF of a kind that Pillow lacks, such as RGB of 32-bit floats
            return None
        raise _unreadable(path) from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"{path} has more pixels than Pillow opens (179 million): cut out the part that is meant"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, OverflowError) as error:
        raise ImageError(f"{path} is damaged: {error}") from None
    if image.format == "TIFF" and _DNG_VERSION in getattr(image, "tag_v2", {}):
        raise ImageError(f"{path} is a camera's raw file (DNG): develop it to PNG or TIFF first")
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format not in _ONE_PICTURE:
        raise ImageError(
            f"{path} holds {count} images ({image.format}, frames or pages): save the one that is meant as a file, or "
            "all of them into a folder, which is a clip"
        )
    return image


def _refuse_planes(tags: Any, path: str | Path) -> None:
    """Refuse what OpenCV would read wrongly."""
    if tags.get(_PLANES) == 2 and tags.get(_SAMPLES) != 1:
        raise ImageError(f"{path} has its channels in separate planes: save it with interleaved channels")


def _register_heif(path: str | Path) -> None:
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(f"{path} is a HEIC file, which needs pillow-heif: pip install 'sr_hooks[heif]'") from None
    pillow_heif.register_heif_opener()


def _unreadable(path: str | Path) -> ImageError:
    return ImageError(
        f"{path} is not a readable image: it is empty, truncated, damaged or of an unknown format; {READ_FORMATS}"
    )


def _truncated(data: bytes) -> bool:
    """A PNG without its end marker; Pillow notices other files that end too early."""
    return data[:8] == b"\x89PNG\r\n\x1a\n" and b"IEND\xaeB`\x82" not in data


def _bits(image: Any, data: bytes) -> int:
    """Bits of a channel in the file: Pillow cuts 16-bit colours to 8 bits."""
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(_BITS, (1,))))
    if image.format == "PPM":
        return 16 if _white_of_pnm(data) > 255 else 8
    if image.format == "JPEG2000" and (start := data[:4096].find(b"ihdr")) >= 0:
        return (data[start + 14] & 0x7F) + 1
    return 8


def _white_of_pnm(data: bytes) -> int:
    """The largest value that a PGM or PPM can have, as its header says; 1 of a PBM."""
    header = _PNM.match(data)
    return int(header[4]) if header else 1


def _by_opencv(data: bytes, path: str | Path) -> np.ndarray:
    """(H,W,C), C from 1 on, RGB: what Pillow cannot hold, 16-bit colours and colours of floats."""
    import cv2  # `sr_hooks.images.image` says what to do where it cannot be loaded

    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        array = None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if array is None and data[:4] in (b"II*\0", b"MM\0*"):
        raise ImageError(
            f"{path} is damaged, or a TIFF of an unusual kind (other numbers): save it as RGB or "
            "grey, with 8 or 16 bits or 32-bit floats"
        )
    if array is None:
        raise _unreadable(path)
    array = array[:, :, None] if array.ndim == 2 else array
    return np.concatenate([array[:, :, 2::-1], array[:, :, 3:]], axis=2) if array.shape[2] > 2 else array


def _finished(array: np.ndarray, alone: int, path: str | Path, background: str | None) -> np.ndarray:
    """Drop the alpha of an array that OpenCV read; `alone` is 2 for grey with alpha, which OpenCV reads as RGBA."""
    if array.shape[2] in (2, 4):
        colours = array[:, :, :1] if alone == 2 else array[:, :, :-1]
        array = without_alpha(colours, array[:, :, -1], path, background)
    return checked(array, path)
