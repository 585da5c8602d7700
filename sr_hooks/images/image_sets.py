"""Sets of images, read from files, folders and lists, and patches cut from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr_hooks.errors import ImageError, OptionError
from sr_hooks.files.regular_files import is_folder
from sr_hooks.images.decoding.image_files import IMAGE_SUFFIXES, READ_FORMATS
from sr_hooks.images.image import as_batch

__all__ = ["cut_patches", "draw_corners", "image_files", "parse_folders", "single_images"]


def image_files(folder: str | Path) -> list[Path]:
    """The image files of a folder, by name.

    Raises:
        ImageError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not is_folder(folder):
        raise ImageError(f"{folder} is no folder")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    files = files or sorted(folder.glob("*.npy"))  # beside pictures, arrays are something else
    if not files:
        raise ImageError(f"{folder} holds no image: {READ_FORMATS}")
    return files


def single_images(images: Any, what: str = "the image", *, bands: int | None = None) -> list[torch.Tensor]:
    """Each image as (1,C,H,W) float32 in [0, 1], from all that `as_batch` takes, a folder, or a sequence of those.

    Args:
        bands: a number of channels that is allowed beside 1 and 3.

    Raises:
        ImageError: none given, or one that is no image (see `sr_hooks.images.as_batch`).
    """
    if isinstance(images, (str, Path)) and is_folder(images):
        return [as_batch(file, what=what, bands=bands) for file in image_files(images)]
    if isinstance(images, Sequence) and not isinstance(images, str):
        if not images:
            raise ImageError(f"{what}: none given")
        return [one for item in images for one in single_images(item, what, bands=bands)]
    return list(as_batch(images, what=what, bands=bands).split(1))


def cut_patches(images: Sequence[torch.Tensor], size: int, count: int, seed: int, what: str) -> torch.Tensor:
    """At most `count` patches (1,C,size,size) that do not overlap, from as many images as possible, drawn by seed.

    Each image is divided into squares from a corner that is drawn; images take turns in giving one.

    Raises:
        ImageError: an image smaller than a patch, or images of different channel counts.
    """
    corners = draw_corners([tuple(image.shape[-3:]) for image in images], size, count, seed, what)
    return torch.cat([images[i][..., y : y + size, x : x + size] for i, y, x in corners])


def draw_corners(
    shapes: Sequence[tuple[int, ...]], size: int, count: int, seed: int, what: str
) -> list[tuple[int, int, int]]:
    """(image, top, left) of each patch that `cut_patches` cuts from images of these shapes (C,H,W).

    Raises:
        ImageError: an image smaller than a patch, or images of different channel counts.
    """
    rng = np.random.default_rng([seed, 0])
    squares = []
    for index, (channels, height, width) in enumerate(shapes):
        if min(height, width) < size:
            raise ImageError(
                f"{what} {index} is {height}x{width} pixels, smaller than a patch of {size}x{size}: "
                "give a smaller patch or leave the image out"
            )
        if channels != shapes[0][0]:
            raise ImageError(f"{what} {index} has {channels} channels and the first has {shapes[0][0]}")
        top, left = int(rng.integers(height % size + 1)), int(rng.integers(width % size + 1))
        corners = [(y, x) for y in range(top, height - size + 1, size) for x in range(left, width - size + 1, size)]
        squares.append([corners[i] for i in rng.permutation(len(corners))])
    order = rng.permutation(len(shapes))
    turns = [
        (int(index), *corners_of_image[turn])
        for turn in range(max(map(len, squares)))
        for index in order
        if turn < len(corners_of_image := squares[index])
    ]
    return turns[:count]


def parse_folders(folders: Any) -> dict[str, Any]:
    """{label: folder or images} from a mapping, or from one or several texts `label=folder`."""
    if folders is None:
        return {}
    if isinstance(folders, Mapping):
        return {str(label): value for label, value in folders.items()}
    by_label = {}
    for text in [folders] if isinstance(folders, str) else folders:
        label, equals, folder = str(text).partition("=")
        if not equals or not label or not folder:
            raise OptionError(f"folders: {text!r} is not understood: write label=folder")
        if label in by_label:
            raise OptionError(f"folders: the label {label} is given twice")
        by_label[label] = folder
    return by_label
