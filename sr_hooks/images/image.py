"""Read, write, check, pad and resize images. OpenCV inside; outside, float32 RGB (N,C,H,W) in [0, 1]."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from sr_hooks.errors import ImageError

try:
    import cv2
except ImportError as error:  # the package is there, a library of the system is not
    raise ImportError(
        f"OpenCV cannot be loaded ({error}). On a machine without a screen install libgl1 and libglib2.0-0, or "
        "replace opencv-python by opencv-python-headless"
    ) from error

__all__ = [
    "as_batch",
    "blur",
    "check_range",
    "downsample",
    "gaussian_kernel",
    "padding_to",
    "read_image",
    "reflect_pad",
    "sha256_of",
    "to_numpy",
    "upsample",
    "write_image",
]

_SLACK = 1e-4  # rounding in a float image, not overshoot


def read_image(path: str | Path) -> torch.Tensor:
    """Read an 8-bit grey or RGB image file as (1,C,H,W) float32 in [0, 1], C being 1 or 3.

    Raises:
        ImageError: no such file, not an image, truncated, 16-bit, or with an alpha channel.
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path} is a folder, not an image file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read the image {path}: {error.strerror or error}") from None
    image = _decode(data)
    if image is None:
        raise ImageError(
            f"{path} is not a readable image: it is empty, truncated, damaged or of an unknown format; "
            "PNG, JPEG, BMP, TIFF and WebP are read"
        )
    if image.dtype != np.uint8:
        raise ImageError(
            f"{path} has {image.dtype.itemsize * 8}-bit values ({image.dtype}); convert it to 8 bits a channel"
        )
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels not in (1, 3):
        raise ImageError(
            f"{path} has {channels} channels; grey (1) and RGB (3) are read. "
            "Remove the alpha channel first, for instance with PIL: Image.open(path).convert('RGB').save(path)"
        )
    rgb = image[:, :, None] if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255


def _decode(data: bytes) -> np.ndarray | None:
    if not data or _truncated(data):
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def _truncated(data: bytes) -> bool:
    """OpenCV fills what is missing of a truncated PNG or JPEG with grey; the end marker tells."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return b"IEND" not in data[-64:] and b"IEND\xaeB`\x82" not in data
    if data[:2] == b"\xff\xd8":
        return b"\xff\xd9" not in data[-4096:]
    return False


def write_image(image: torch.Tensor | np.ndarray, path: str | Path) -> None:
    """Write (C,H,W) or (1,C,H,W), C being 1 or 3, in [0, 1] as an 8-bit file; values outside are clipped."""
    array = to_numpy(torch.as_tensor(image))
    bgr = array[:, :, 0] if array.shape[2] == 1 else array[:, :, ::-1]
    done, data = cv2.imencode(Path(path).suffix, np.round(np.clip(bgr, 0, 1) * 255).astype(np.uint8))
    if not done:
        raise ImageError(f"cannot write {path}: unknown image format")
    Path(path).write_bytes(data.tobytes())


def to_numpy(image: torch.Tensor) -> np.ndarray:
    """(C,H,W) or (1,C,H,W) tensor to (H,W,C) float32."""
    if image.ndim == 4:
        image = image[0]
    return image.detach().float().cpu().permute(1, 2, 0).numpy()


def as_batch(image: Any, *, what: str = "the image") -> torch.Tensor:
    """A tensor, NumPy array or file path as a checked float32 (N,C,H,W) in [0, 1].

    Raises:
        ImageError: another shape, an integer type, NaN or infinity, or values outside [0, 1].
    """
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint16:
            raise ImageError(f"{what} is uint16; divide by 65535 for float32 in [0, 1]")
        image = torch.from_numpy(np.ascontiguousarray(image))
    if not isinstance(image, torch.Tensor):
        raise ImageError(
            f"{what} is a {type(image).__name__}; give a tensor (N,C,H,W), a NumPy array, or a file's path"
        )
    if not image.is_floating_point():
        top = {torch.uint8: 255, torch.uint16: 65535, torch.int16: 32767}.get(image.dtype)
        raise ImageError(
            f"{what} is {str(image.dtype).removeprefix('torch.')}; give float32 in [0, 1]"
            + (f": image.float() / {top}" if top else "")
        )
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4 or 0 in image.shape:
        raise ImageError(f"{what} has shape {tuple(image.shape)}; give (N,C,H,W) or (C,H,W), none of them 0")
    if image.shape[1] not in (1, 3):
        hint = "; it looks like (H,W,C): use image.permute(2, 0, 1)" if image.shape[-1] in (1, 3, 4) else ""
        if image.shape[1] in (2, 4):
            hint = "; remove the alpha channel: image[:, :-1]"
        raise ImageError(f"{what} has {image.shape[1]} channels, shape {tuple(image.shape)}; grey is 1, RGB is 3{hint}")
    pixels: torch.Tensor = image.detach().float()
    check_range(pixels, what=what)
    return pixels


def check_range(image: torch.Tensor, *, what: str = "the image", low: float = 0.0, high: float = 1.0) -> None:
    """Refuse NaN, infinity, and values outside [low, high]."""
    broken = int((~torch.isfinite(image)).sum())
    if broken:
        raise ImageError(f"{what} has {broken} values that are NaN or infinite")
    smallest, largest = float(image.min()), float(image.max())
    if smallest < low - _SLACK or largest > high + _SLACK:
        remedy = "divide an 8-bit image by 255" if largest > 2 else "clamp what interpolation or noise pushed over"
        raise ImageError(
            f"{what} has values from {smallest:.4g} to {largest:.4g}; sr_hooks takes [{low:g}, {high:g}] whatever the "
            f"network's own range (Network(..., input_range=255) scales inside): {remedy}"
        )


def _reflected(size: int, before: int, after: int) -> torch.Tensor:
    """Indices that mirror 0..size-1 without repeating the border (reflect-101), however far."""
    index = torch.arange(-before, size + after)
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index)


def padding_to(x: torch.Tensor, multiple: int, minimum: int = 1, square: bool = False) -> tuple[int, int]:
    """Rows and columns to add to (...,H,W), for sides of a multiple, of at least `minimum`, and equal if `square`."""
    sides = [max(side, minimum) for side in x.shape[-2:]]
    if square:
        sides = [max(sides)] * 2
    height, width = (side + -side % multiple for side in sides)
    return height - x.shape[-2], width - x.shape[-1]


def reflect_pad(x: torch.Tensor, top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    """Pad (...,H,W) by mirroring without repeating the border (reflect-101); any amount, differentiable."""
    h, w = x.shape[-2:]
    if max(top, bottom) < h and max(left, right) < w and x.ndim == 4:
        return F.pad(x, (left, right, top, bottom), mode="reflect") if max(top, bottom, left, right) else x
    rows, columns = _reflected(h, top, bottom), _reflected(w, left, right)
    return x.index_select(-2, rows.to(x.device)).index_select(-1, columns.to(x.device))


def gaussian_kernel(std: float, size: int, *, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """1-D sampled Gaussian of `size` taps that sums to 1; std 0 is a delta."""
    distance = torch.arange(size, dtype=torch.float64) - size // 2
    if std <= 0:
        return (distance == 0).to(dtype)
    weights = torch.exp(-(distance**2) / (2 * std**2))
    return (weights / weights.sum()).to(dtype)


def blur(x: torch.Tensor, stds: list[float], size: int = 9) -> torch.Tensor:
    """One image (1,C,H,W) blurred by each isotropic Gaussian: (len(stds),C,H,W); border reflect-101, stds in pixels."""
    half = size // 2
    kernels = torch.stack([gaussian_kernel(std, size, dtype=torch.float32) for std in stds]).to(x.device, x.dtype)
    count, channels = len(stds), x.shape[1]
    padded = reflect_pad(x, half, half, half, half).transpose(0, 1)  # (C,1,H,W): channels as a batch
    rows = F.conv2d(padded, kernels.view(count, 1, size, 1))
    both = F.conv2d(rows, kernels.view(count, 1, 1, size), groups=count)
    return both.view(channels, count, *x.shape[-2:]).transpose(0, 1).contiguous()


def downsample(hr: torch.Tensor, scale: float) -> torch.Tensor:
    """Bicubic (a = -0.5) with antialiasing, as MATLAB's imresize and PIL do it, clipped to [0, 1]. (N,C,H,W)."""
    size = (math.floor(hr.shape[-2] / scale), math.floor(hr.shape[-1] / scale))
    if min(size) < 1:
        raise ImageError(f"an image of {hr.shape[-2]}x{hr.shape[-1]} pixels is too small to shrink by {scale:g}")
    whole = hr[..., : round(size[0] * scale), : round(size[1] * scale)]
    return F.interpolate(whole, size=size, mode="bicubic", antialias=True).clamp(0, 1)


def upsample(lr: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bicubic enlargement of (N,C,h,w) to size (H,W); not clipped, differentiable."""
    return F.interpolate(lr, size=size, mode="bicubic", antialias=True)


def sha256_of(image: torch.Tensor) -> str:
    """SHA-256 of shape and float32 bytes."""
    data = image.detach().float().cpu().contiguous().numpy()
    return hashlib.sha256(str(data.shape).encode() + data.tobytes()).hexdigest()
