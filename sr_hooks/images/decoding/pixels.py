"""Pixels of a PIL image as an array: modes, alpha, orientation and colour profiles, or a refusal by name."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from sr_hooks.errors import ImageError, OptionError

__all__ = ["checked", "decode_pil", "oriented", "without_alpha"]

_PHOTOMETRIC, _ORIENTATION = 262, 274  # tags of TIFF and EXIF
_SAVE = "save it with 8 or 16 bits, or as floats in [0, 1]"

_log = logging.getLogger("sr_hooks")


def decode_pil(image: Any, name: str | Path, *, background: str | None = None) -> np.ndarray:
    """A PIL image as `decode` returns images, turned as its EXIF orientation says."""
    try:
        image.load()
        orientation = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        raise ImageError(f"{name} is truncated or damaged: {error}") from None
    except MemoryError:
        raise ImageError(f"{name} is {image.width}x{image.height} pixels, too large for this memory") from None
    _say_profile(image, name)
    array, alpha = _channels(image, name)
    if image.format == "TIFF" and array.dtype == np.uint16 and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        array = 65535 - array  # white is stored as 0
    if alpha is not None:
        array = without_alpha(array, alpha, name, background)
    return checked(oriented(array, orientation), name)


def oriented(array: np.ndarray, orientation: Any) -> np.ndarray:
    """(H,W,C) turned and mirrored as EXIF's orientation, 1 to 8, says; other values leave it as it is."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def without_alpha(array: np.ndarray, alpha: np.ndarray, name: str | Path, background: str | None) -> np.ndarray:
    """(...,C) without its alpha (...): dropped where it is opaque, else composed on a colour, or refused.

    Raises:
        ImageError: pixels are transparent, and no background is given.
        OptionError: the background is no colour.
    """
    white = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
    see_through = float((alpha < white).mean())
    if not see_through:
        return array
    if background is None:
        raise ImageError(
            f"{name} has {array.shape[-1] + 1} channels, and {100 * see_through:.3g} % of its pixels are transparent: "
            "name the colour below them, read_image(file, background='white') or --background white"
        )
    from PIL import ImageColor

    try:
        colour = np.array(ImageColor.getrgb(background)[:3]) / 255
    except (ValueError, AttributeError, TypeError):
        raise OptionError(f"background {background!r} is no colour: white, black, #808080, rgb(0, 128, 0)") from None
    if array.shape[-1] == 1 and len(set(colour.tolist())) == 1:
        colour = colour[:1]
    share = (alpha / white)[..., None]
    composed: np.ndarray = (array / white * share + colour * (1 - share)).astype(np.float32)
    _log.warning("%s: transparent pixels are composed on %s", name, background)
    return composed


def _channels(image: Any, name: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """(H,W,C) of a loaded PIL image, and its alpha (H,W) if it has one."""
    mode = image.mode
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[:, :, None], None
    if mode == "F":
        return np.asarray(image)[:, :, None], None
    if mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"{name} has whole numbers of 32 bits, whose white is unknown; {_SAVE}")
        return values.astype(np.uint16)[:, :, None], None
    if mode in ("CMYK", "LAB"):
        return np.asarray(_in_srgb(image, name)), None
    if mode in ("LA", "La") or (mode in ("1", "L") and "transparency" in image.info):
        pair = np.asarray(image.convert("RGBA" if mode in ("1", "L") else "LA"))
        return pair[:, :, :1], pair[:, :, -1]
    if mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info:
        four = np.asarray(image.convert("RGBA"))
        return four[:, :, :3], four[:, :, 3]
    array = np.asarray(image.convert("L" if mode in ("1", "L") else "RGB"))
    return (array[:, :, None] if array.ndim == 2 else array), None


def _in_srgb(image: Any, name: str | Path) -> Any:
    """A CMYK or LAB image in sRGB, by its own colour profile where it has one."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    try:
        if image.mode == "LAB":
            source: Any = ImageCms.createProfile("LAB")
        elif profile:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        else:
            return image.convert("RGB")
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise ImageError(f"{name} is {image.mode}, and its colour profile cannot be applied: {error}") from None


def _say_profile(image: Any, name: str | Path) -> None:
    """Log a colour profile other than sRGB, which BasicSR does not apply either."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode in ("CMYK", "LAB"):
        return
    from PIL import ImageCms

    try:
        title = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return
    if "srgb" not in title.lower() and "gray" not in title.lower():
        _log.info("%s: its numbers are read as they are; the colour profile %s is not applied", name, title)


def checked(array: np.ndarray, name: str | Path, *, any_channels: bool = False) -> np.ndarray:
    """The array in one piece, if its channels and type are those of an image."""
    if array.shape[2] not in (1, 3) and not any_channels:
        raise ImageError(f"{name} has {array.shape[2]} channels; grey (1) and RGB (3) are read")
    if array.dtype.kind == "i" or array.dtype == np.uint32:
        raise ImageError(
            f"{name} has whole numbers of {8 * array.dtype.itemsize} bits, whose white is unknown; {_SAVE}"
        )
    if array.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise ImageError(f"{name} has values of type {array.dtype}; {_SAVE}")
    return np.require(array, requirements=("C", "W"))
