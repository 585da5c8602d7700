"""Read, write, check, pad and resize images. OpenCV inside; outside, float32 RGB (N,C,H,W) in [0, 1]."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional as F

from sr_hooks.errors import ImageError
from sr_hooks.files.regular_files import is_folder, read_bytes
from sr_hooks.images.decoding.image_files import decode
from sr_hooks.images.decoding.pixels import decode_pil, without_alpha

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
    "encode_image",
    "from_array",
    "gaussian_kernel",
    "padding_to",
    "read_image",
    "reflect_pad",
    "sha256_of",
    "stretched",
    "to_numpy",
    "upsample",
    "write_image",
]

_SLACK = 1e-4  # rounding in a float image, not overshoot


def read_image(path: str | Path, *, background: str | None = None, bands: int | None = None) -> torch.Tensor:
    """Read an image file as (1,C,H,W) float32 in [0, 1], C being 1 (grey), 3 (RGB), or a number of bands.

        image = read_image("photo.heic")
        logo = read_image("logo.png", background="white")

    The image is turned as its EXIF orientation says. An opaque alpha channel is dropped. 8-bit values are divided by
    255, 16-bit values by 65535. A colour profile is applied to CMYK and LAB images only, as BasicSR's reader does.

    More bands stand in a `.npy` file, (h,w,c) or (c,h,w), uint8 or floats in [0, 1], or in a TIFF (with tifffile). Of a
    `.npy` file the axis of the channels is the one as long as `bands`, else the shorter one of the first and the last.

    Args:
        background: the colour below transparent pixels: a name, "#rrggbb" or "rgb(r, g, b)"; None refuses such pixels.
        bands: the number of channels that the network takes, which tells how a file of bands is laid out.

    Raises:
        ImageError: no such file, no image, a damaged one, one of a kind that is not read, or transparent pixels.
        OptionError: the background is no colour.
    """
    path = Path(path)
    if is_folder(path):
        raise ImageError(f"{path} is a folder, not an image file")
    try:
        data = read_bytes(path)
    except OSError as error:
        raise ImageError(f"cannot read the image {path}: {error.strerror or error}") from None
    return _as_tensor(decode(data, path, background=background, bands=bands), str(path))


def _as_tensor(array: np.ndarray, what: str) -> torch.Tensor:
    """(1,C,H,W) float32 of (H,W,C) uint8, uint16 or floats."""
    if array.dtype.kind == "u":
        white = int(np.iinfo(array.dtype).max)
        values = torch.from_numpy(array if array.dtype == np.uint8 else array.astype(np.int32))
        return values.permute(2, 0, 1)[None].contiguous().float() / white
    image = torch.from_numpy(array).permute(2, 0, 1)[None].float().contiguous()
    check_range(image, what=what)
    return image


def write_image(image: torch.Tensor | np.ndarray, path: str | Path) -> None:
    """Write (C,H,W) or (1,C,H,W), C being 1 or 3, in [0, 1] as an 8-bit file; values outside are clipped."""
    Path(path).write_bytes(encode_image(image, Path(path).suffix, name=str(path)))


def encode_image(image: torch.Tensor | np.ndarray, suffix: str, *, name: str = "the image") -> bytes:
    """The bytes of the file that `write_image` writes under a name with that suffix, ".png" for instance."""
    array = to_numpy(torch.as_tensor(image))
    bgr = array[:, :, 0] if array.shape[2] == 1 else array[:, :, ::-1]
    done, data = cv2.imencode(suffix, np.round(np.clip(bgr, 0, 1) * 255).astype(np.uint8))
    if not done:
        raise ImageError(f"cannot write {name}: unknown image format")
    return bytes(data.tobytes())


def to_numpy(image: torch.Tensor) -> np.ndarray:
    """(C,H,W) or (1,C,H,W) tensor to (H,W,C) float32."""
    if image.ndim == 4:
        image = image[0]
    return image.detach().float().cpu().permute(1, 2, 0).numpy()


def as_batch(image: Any, *, what: str = "the image", bands: int | Literal["any"] | None = None) -> torch.Tensor:
    """A tensor, NumPy array, PIL image or file path as a checked float32 (N,C,H,W) in [0, 1].

    Tensors are float (N,C,H,W) or (C,H,W). Arrays may also be uint8, and (H,W), (H,W,C) or (N,H,W,C), in RGB order.

    Args:
        bands: a number of channels that is allowed beside 1 and 3, as of multispectral images and stereo pairs; "any"
            allows all, for ground truth that is compared with an output.

    Raises:
        ImageError: another shape, an integer type, NaN or infinity, or values outside [0, 1].
    """
    if isinstance(image, (str, Path)):
        image = read_image(image, bands=None if bands == "any" else bands)
    if isinstance(image, np.ndarray):
        image = from_array(image, what=what, bands=bands)
    elif type(image).__module__.partition(".")[0] in ("PIL", "pillow_heif") and hasattr(image, "getexif"):
        return _as_tensor(decode_pil(image, what), what)
    if not isinstance(image, torch.Tensor):
        raise ImageError(
            f"{what} is a {type(image).__name__}; give a tensor (N,C,H,W), a NumPy array, a PIL image, or a file's path"
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
    if image.shape[1] not in (1, 3, bands) and bands != "any":
        hint = "; it looks like (H,W,C): use image.permute(2, 0, 1)" if image.shape[-1] in (1, 3, 4) else ""
        if image.shape[1] in (2, 4):
            hint = "; remove the alpha channel: image[:, :-1]"
        raise ImageError(f"{what} has {image.shape[1]} channels, shape {tuple(image.shape)}; grey is 1, RGB is 3{hint}")
    pixels: torch.Tensor = image.detach().float()
    check_range(pixels, what=what)
    return pixels


def from_array(
    array: np.ndarray, *, what: str = "the image", bands: int | Literal["any"] | None = None
) -> torch.Tensor:
    """A NumPy array (H,W), (...,H,W,C) or (...,C,H,W), RGB, as a tensor (...,C,H,W): uint8 divided by 255, floats as
    they are. An opaque alpha channel of uint8 is dropped.

    Raises:
        ImageError: uint16, whose white may be 65535, 4095 or 1023, or transparent pixels.
    """
    if array.dtype == np.uint16:
        raise ImageError(
            f"{what} is uint16; divide by 65535 for float32 in [0, 1], or by the largest value it can have"
        )
    if array.ndim == 2:
        array = array[None]
    elif array.ndim > 2 and array.shape[-1] == bands != array.shape[-3]:
        array = np.moveaxis(array, -1, -3)
    elif array.ndim > 2 and array.shape[-3] not in (1, 3, bands) and array.shape[-1] in (1, 2, 3, 4):
        if array.dtype == np.uint8 and array.shape[-1] in (2, 4):
            array = without_alpha(array[..., :-1], array[..., -1], what, None)
        array = np.moveaxis(array, -1, -3)
    elif array.ndim > 2 and bands == "any" and array.shape[-1] < array.shape[-3]:
        array = np.moveaxis(array, -1, -3)
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.float() / 255 if array.dtype == np.uint8 else tensor


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
    return gaussian_kernels(torch.tensor([std], dtype=torch.float64), size)[0].to(dtype)


def gaussian_kernels(stds: torch.Tensor, size: int) -> torch.Tensor:
    """(K,) float64 to (K,size): sampled Gaussians on the device of `stds`, which sum to 1; std 0 is a delta."""
    distance = torch.arange(size, dtype=torch.float64, device=stds.device) - size // 2
    stds = stds[:, None]
    weights = torch.where(stds > 0, torch.exp(-(distance**2) / (2 * stds**2)), (distance == 0).double())
    return weights / weights.sum(dim=1, keepdim=True)


def numbers_beside(x: torch.Tensor, values: Sequence[float]) -> torch.Tensor:
    """(K,) float64 on the device of x, which is not waited for."""
    numbers = torch.tensor(values, dtype=torch.float64)
    return numbers.pin_memory().to(x.device, non_blocking=True) if x.is_cuda else numbers.to(x.device)


def blur(x: torch.Tensor, stds: Sequence[float], size: int = 9) -> torch.Tensor:
    """One image (1,C,H,W) blurred by each isotropic Gaussian: (len(stds),C,H,W); border reflect-101, stds in pixels."""
    half = size // 2
    kernels = gaussian_kernels(numbers_beside(x, stds), size).to(x.dtype)
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


def stretched(image: torch.Tensor, factors: tuple[int, int]) -> torch.Tensor:
    """(...,C,H,W) with every row and every column repeated so many times."""
    if factors == (1, 1):
        return image
    flat = image.reshape(-1, *image.shape[-3:])
    repeated = F.interpolate(flat, scale_factor=[float(factor) for factor in factors], mode="nearest")
    return repeated.reshape(*image.shape[:-2], *repeated.shape[-2:])


def sha256_of(image: torch.Tensor) -> str:
    """SHA-256 of shape and float32 bytes."""
    data = image.detach().float().cpu().contiguous().numpy()
    return hashlib.sha256(str(data.shape).encode() + data.tobytes()).hexdigest()
