"""Inputs of a network: images, clips and windows, from values, files and texts, checked against the network once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sr_hooks.errors import ImageError, NetworkError, OptionError, WindowError
from sr_hooks.images.clips import FrameChoice, as_clips, by_frames
from sr_hooks.images.image import as_batch, upsample
from sr_hooks.images.image_sets import single_images
from sr_hooks.images.masks import AUTO, parse_regions
from sr_hooks.images.windows import Window, parse_windows, window_with_most_edges
from sr_hooks.networks.network import Network

__all__ = ["PreparedInput", "check_input", "fit_channels", "noting", "prepare_input", "read_images"]

_LARGEST = 8.0  # of noisy values; above, the image is in another range

_log = logging.getLogger("sr_hooks")
_notes: ContextVar[list[str] | None] = ContextVar("notes", default=None)
_logged: set[str] = set()


@dataclass(frozen=True)
class PreparedInput:
    """Images that a network takes, and windows of its output.

    Attributes:
        images: each (1,C,h,w) float32 in [0, 1]; for a network over clips each (1,T,C,h,w).
        windows: in output pixels, inside the output of every image.
        listed: whether a list of windows was given, rather than one window.
    """

    images: tuple[torch.Tensor, ...]
    windows: tuple[Window, ...] = ()
    listed: bool = False


def prepare_input(
    network: Network,
    images: Any,
    *,
    window: Any = None,
    frame: FrameChoice | None = None,
    what: str = "the image",
    one_batch: bool = False,
    clips: bool = True,
    noisy: bool = False,
    regions: bool = False,
) -> PreparedInput:
    """Read images and windows, and check them against the network.

        prepared = prepare_input(network, "photo.png", window=(96, 120, 16))
        network(prepared.images[0])

    Args:
        images, what, one_batch, clips, noisy: see `read_images`.
        window: (top, left, size) or (top, left, height, width) in output pixels, or a list of them; None for none.
        regions: whether windows may be "auto" and masks too, see `parse_regions`. Only for a caller that leaves out of
            account what is outside of a `Region`'s mask.
        frame: of a network over clips, the output frame of the windows; None for no check of it.

    Raises:
        ImageError: no image in [0, 1], a clip for a network of images, or another number of channels.
        WindowError: a window that is not understood, or not inside the output.
        OptionError: there is no such frame.
        NetworkError: the network's `bands` are not among its channels.
    """
    if frame not in (None, "middle") and not network.frames:
        raise OptionError(f"frame is {frame}, and {network.name} takes images, which have none")
    if network.bands and max(network.bands) >= max(network.channels, 4):
        raise NetworkError(
            f"bands is {network.bands}, and {network.name} takes {network.channels} channels: bands choose three of "
            "more than three channels, numbered from 0"
        )
    tensors = read_images(network, images, what, one_batch=one_batch, clips=clips, noisy=noisy)
    windows, listed = [], False
    if regions and window is not None:
        requested, listed = parse_regions(window)
        if AUTO in requested and len(tensors) > 1:
            raise WindowError("window auto depends on the image, and these are several: give one image")
        windows = [_lively(network, tensors[0], frame) if part == AUTO else part for part in requested]
    elif window is not None:
        windows, listed = parse_windows(window)
    for image in tensors:
        check_input(network, image, windows=windows, frame=frame)
    return PreparedInput(tuple(tensors), tuple(windows), listed)


def _lively(network: Network, image: torch.Tensor, frame: FrameChoice | None) -> Window:
    """The square with most edges of the enlarged input; of a clip, of the frame that stands where the output's does."""
    if image.ndim == 5:
        positions = network.returned_frames(image.shape[1])
        index = network.frame_index(image.shape[1], "middle" if frame is None else frame)
        image = image[:, round(positions[index])]
    return window_with_most_edges(upsample(image, network.output_size(*image.shape[-2:])))


def check_input(
    network: Network, image: torch.Tensor, *, windows: Iterable[Window] = (), frame: FrameChoice | None = None
) -> None:
    """Refuse an image (N,C,h,w), or clip (N,T,C,h,w), that the network does not take, and windows outside its output.

    Args:
        frame: of a network over clips, the output frame of the windows; None for no check of it.

    Raises:
        ImageError: a clip for a network of images, or another number of channels.
        WindowError: a window that is not inside the output.
        OptionError: there is no such frame.
    """
    network.check(_repeated(network, image))
    if frame is not None and (network.frames or frame != "middle"):
        network.frame_index(image.shape[1] if image.ndim == 5 else network.frames, frame)
    for window in windows:
        window.check(*network.output_size(*image.shape[-2:]))


def read_images(
    network: Network,
    images: Any,
    what: str = "the image",
    *,
    one_batch: bool = False,
    clips: bool = True,
    noisy: bool = False,
) -> list[torch.Tensor]:
    """Each image as (1,C,h,w) float32 in [0, 1]; for a network over clips each clip as (1,T,C,h,w).

    Only the images are checked, not whether the network takes them: ground truth may have other channels. A grey image
    for a network of RGB is repeated to three equal channels, see `fit_channels`.

    Args:
        images: a tensor (N,C,h,w), an array, a PIL image, a file, a folder, or a list of these; for a network over
            clips see `sr_hooks.images.as_clips`.
        what: what messages call the image.
        one_batch: images of one size are needed, so a list or a folder is refused.
        clips: whether a network over clips gets clips; else it gets images too, which it takes as clips without motion.
        noisy: whether values outside [0, 1] are allowed, which noise gives that is not clipped.

    Raises:
        ImageError: what is no image in [0, 1], and a clip for a network of images.
    """
    tensors = _read(network, images, what, one_batch=one_batch, clips=clips, noisy=noisy)
    return [fit_channels(network, tensor, what) for tensor in tensors]


def fit_channels(network: Network, image: torch.Tensor, what: str = "the image") -> torch.Tensor:
    """Repeat a grey image (N,C,h,w) or clip (N,T,C,h,w) to the three channels of an RGB network; log and note that.

    `execute` writes the note into the provenance of the results, as `input_notes`.
    """
    repeated = _repeated(network, image)
    if repeated is not image:
        text = f"{what} is grey, and {network.name} takes RGB: the grey channel is repeated three times"
        notes = _notes.get()
        if notes is not None and text not in notes:
            notes.append(text)
        if text not in _logged:  # a watched run reads its images again and again
            _logged.add(text)
            _log.warning("%s", text)
    return repeated


def _repeated(network: Network, image: torch.Tensor) -> torch.Tensor:
    if network.channels != 3 or image.shape[-3] != 1:
        return image
    return torch.cat([image] * 3, dim=-3)


@contextmanager
def noting() -> Iterator[list[str]]:
    """Collect what reading the inputs notes about them, within the block."""
    notes: list[str] = []
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def _read(network: Network, images: Any, what: str, *, one_batch: bool, clips: bool, noisy: bool) -> list[torch.Tensor]:
    bands = network.channels
    if network.frames and clips:
        if noisy and isinstance(images, torch.Tensor) and images.is_floating_point():
            batch = images[None] if images.ndim == 4 else images
            return list(by_frames(lambda frames: _noisy_batch(frames, what, bands), batch).split(1))
        return as_clips(images, network.frames, what, bands=bands)
    if isinstance(images, (torch.Tensor, np.ndarray)) and images.ndim == 5:
        if network.frames:
            raise ImageError(
                f"{what} is a clip of shape {tuple(images.shape)}, and this analysis takes images, each of which "
                f"{network.name} sees as a clip without motion: give single frames"
            )
        raise ImageError(
            f"{network.name} takes images, and this is a clip of shape {tuple(images.shape)}; Network(..., frames=T) "
            "says that a module takes clips"
        )
    if noisy:
        return list(_noisy_batch(images, what, bands).split(1))
    if one_batch:
        return list(as_batch(images, what=what, bands=bands).split(1))
    return single_images(images, what, bands=bands)


def _noisy_batch(image: Any, what: str, bands: int | None = None) -> torch.Tensor:
    """(N,C,h,w) float32, checked like any image but for its range."""
    if not isinstance(image, torch.Tensor) or not image.is_floating_point():
        return as_batch(image, what=what, bands=bands)
    as_batch(torch.nan_to_num(image, -1.0, -1.0, -1.0).clamp(0, 1), what=what, bands=bands)  # shape and channels
    broken = int((~torch.isfinite(image)).sum())
    if broken:
        raise ImageError(f"{what} has {broken} values that are NaN or infinite")
    largest = float(image.abs().max())
    if largest > _LARGEST:
        raise ImageError(f"{what} has values up to {largest:.4g}; inputs are in [0, 1], noise aside: divide by 255")
    return image.detach().float().reshape(-1, *image.shape[-3:])
