"""Encode images and maps as data URIs for an HTML page."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from sr_hooks.errors import ImageError
from sr_hooks.figures.shrink import rgb_of

__all__ = ["compact_uri", "density_uri", "map_uri", "overlay_uri", "photo_uri", "pixels_uri", "ramp"]

_LONGEST = 640  # pixels of a side of a photograph on the page
_EXACT = 256  # up to this side a picture keeps every pixel
_LARGE = 480  # the side of larger pictures, of which a page has several for each network
_WHOLE_COLOURS = (
    (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    if hasattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR")  # from OpenCV 4.7
    else ()
)
"""Of a dot in a map, a JPEG with halved colours would show next to nothing."""
_INFERNO, _JET = cv2.COLORMAP_INFERNO, cv2.COLORMAP_JET


def pixels_uri(image: np.ndarray) -> str:
    """(C,H,W) in [0, 1] as PNG; exact, unless the image is larger than the page shows."""
    return _uri(_shrunk(_bgr(image)), ".png")


def compact_uri(image: np.ndarray) -> str:
    """(C,H,W) in [0, 1]: exact as PNG with sides of up to 256 pixels; else as JPEG with sides of up to 480."""
    return _compact(_bgr(image))


def photo_uri(image: np.ndarray, *, longest: int | None = _LONGEST, quality: int = 92) -> str:
    """(C,H,W) in [0, 1] as JPEG, shrunk to a longest side; None for any."""
    pixels = _bgr(image)
    return _uri(pixels if longest is None else _shrunk(pixels, longest), ".jpg", quality)


def overlay_uri(values: np.ndarray, lr: np.ndarray, *, longest: int, published: bool = False) -> str:
    """(h,w) map, non-negative, over the grey input (C,h,w), as JPEG with this longer side. No dot is lost."""
    step = -(-max(values.shape) // longest)
    block = np.ones((2 * step, 2 * step) if step > 1 else (1, 1), np.uint8)  # covers a pixel wherever it lies
    share = np.sqrt(_share(cv2.dilate(values.astype(np.float32), block)))
    grey = np.repeat(_bgr(lr).mean(axis=2, keepdims=True), 3, axis=2)
    alpha = np.clip(1.6 * share, 0, 1)[:, :, None]
    laid = _shrunk(alpha * _coloured(0.3 + 0.4 * share, published) + (1 - alpha) * (0.25 * 255 + 0.75 * grey), longest)
    factor = longest / max(laid.shape[:2])
    size = (max(round(factor * laid.shape[1]), 1), max(round(factor * laid.shape[0]), 1))
    return _uri(cv2.resize(laid, size, interpolation=cv2.INTER_NEAREST), ".jpg", 85)


def map_uri(values: np.ndarray, *, published: bool = False) -> str:
    """(h,w), non-negative, in colours of the square root of the value divided by the maximum; see `compact_uri`."""
    return _compact(_coloured(np.sqrt(_share(values)), published))


def density_uri(density: np.ndarray, lr: np.ndarray, *, published: bool = False) -> str:
    """(h,w) density laid over the grey input (C,h,w); see `compact_uri`."""
    share = _share(density)
    grey = np.repeat(_bgr(lr).mean(axis=2, keepdims=True), 3, axis=2)
    alpha = np.clip(np.sqrt(share), 0, 0.85)[:, :, None]
    return _compact(alpha * _coloured(share, published) + (1 - alpha) * grey)


def ramp(*, published: bool = False, stops: int = 9) -> list[str]:
    """Colours of the map from 0 to its maximum, for a legend."""
    line = _coloured(np.sqrt(np.linspace(0, 1, stops))[None], published)[0]
    return [f"#{round(r):02x}{round(g):02x}{round(b):02x}" for b, g, r in line]


def _share(values: np.ndarray) -> np.ndarray:
    return np.clip(values / max(float(values.max()), 1e-30), 0, 1)


def _coloured(share: np.ndarray, published: bool) -> np.ndarray:
    eight_bits = np.round(255 * share).astype(np.uint8)
    return cv2.applyColorMap(eight_bits, _JET if published else _INFERNO).astype(np.float32)


def _bgr(image: np.ndarray) -> np.ndarray:
    """(C,H,W) RGB, grey or bands to (H,W,3) float32 in 0..255."""
    return np.ascontiguousarray(255 * np.clip(rgb_of(image), 0, 1).transpose(1, 2, 0)[:, :, ::-1], dtype=np.float32)


def _shrunk(image: np.ndarray, longest: int = _LONGEST) -> np.ndarray:
    ratio = longest / max(image.shape[:2])
    if ratio >= 1:
        return image
    size = (max(round(image.shape[1] * ratio), 1), max(round(image.shape[0] * ratio), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _compact(image: np.ndarray) -> str:
    """Small pictures without a loss; of large ones a JPEG, so that a page of many networks can be sent by mail."""
    exact = max(image.shape[:2]) <= _EXACT
    return _uri(image, ".png") if exact else _uri(_shrunk(image, _LARGE), ".jpg", 90)


def _uri(image: np.ndarray, suffix: str, quality: int = 92) -> str:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, *_WHOLE_COLOURS] if suffix == ".jpg" else []
    done, data = cv2.imencode(suffix, np.clip(np.round(image), 0, 255).astype(np.uint8), options)
    if not done:
        raise ImageError(f"a picture of {image.shape[0]}x{image.shape[1]} pixels cannot be encoded")
    kind = "jpeg" if suffix == ".jpg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"
