"""What DDR looks at: patches of ground truth, each degraded in every way, and folders of the user's own images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr_hooks.degradations import Degradation, make_lr
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.images import as_batch, read_image
from sr_hooks.network import Network

__all__ = ["Samples", "cut_patches", "draw_samples", "parse_folders", "read_folder"]

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Samples:
    """Network inputs with their labels.

    Attributes:
        inputs: (n,C,h,w) float32 in [0, 1].
        labels: (n,) int, index into `names`.
        groups: (n,) int, the same for the degraded copies of one patch, and each image of a folder its own.
        names: of the classes: degradations, then folders.
        degradations: the first of the classes, as they were made.
        patches: patches of ground truth used.
    """

    inputs: torch.Tensor
    labels: np.ndarray
    groups: np.ndarray
    names: tuple[str, ...]
    degradations: tuple[Degradation, ...]
    patches: int

    @property
    def counts(self) -> list[int]:
        """Samples of each class."""
        return [int((self.labels == k).sum()) for k in range(len(self.names))]

    def examples(self) -> torch.Tensor:
        """(K,C,h,w): one input of each class, copies of one patch where there are such: the first class's liveliest."""
        first = np.flatnonzero(self.labels == 0)
        chosen = first[int(self.inputs[first].flatten(1).std(dim=1).argmax())]
        rows = []
        for k in range(len(self.names)):
            mine = np.flatnonzero(self.labels == k)
            same = mine[self.groups[mine] == self.groups[chosen]]
            rows.append(int(same[0] if len(same) else mine[0]))
        return self.inputs[rows]


def parse_folders(given: Any) -> dict[str, Any]:
    """{label: folder or images} from a mapping, or from one or several texts `label=folder`."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(label): value for label, value in given.items()}
    found = {}
    for text in [given] if isinstance(given, str) else given:
        label, equals, folder = str(text).partition("=")
        if not equals or not label or not folder:
            raise OptionError(f"folders: {text!r} is not understood: write label=folder")
        if label in found:
            raise OptionError(f"folders: the label {label} is given twice")
        found[label] = folder
    return found


def read_folder(folder: str | Path) -> list[torch.Tensor]:
    """The image files of a folder, by name, each (1,C,H,W).

    Raises:
        ImageError: no such folder, no image in it, or one that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(f"{folder} is no folder")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise ImageError(f"{folder} holds no image: PNG, JPEG, BMP, TIFF and WebP are read")
    return [read_image(path) for path in files]


def _several(images: Any, what: str) -> list[torch.Tensor]:
    """Each image as (1,C,H,W), from a tensor, a file, a folder, or a sequence of those."""
    if isinstance(images, (str, Path)) and Path(images).is_dir():
        return read_folder(images)
    if isinstance(images, Sequence) and not isinstance(images, str):
        if not images:
            raise ImageError(f"{what}: none given")
        return [one for item in images for one in _several(item, what)]
    return list(as_batch(images, what=what).split(1))


def cut_patches(images: Sequence[torch.Tensor], size: int, count: int, seed: int, what: str) -> torch.Tensor:
    """At most `count` patches (1,C,size,size) that do not overlap, of as many images as there are, drawn by seed.

    Each image is divided into squares from a corner that is drawn; images take turns in giving one.

    Raises:
        ImageError: an image smaller than a patch, or images of different channel counts.
    """
    rng = np.random.default_rng([seed, 0])
    squares = []
    for index, image in enumerate(images):
        height, width = image.shape[-2:]
        if min(height, width) < size:
            raise ImageError(
                f"{what} {index} is {height}x{width} pixels, smaller than a patch of {size}x{size}: "
                "give a smaller patch or leave the image out"
            )
        if image.shape[1] != images[0].shape[1]:
            raise ImageError(f"{what} {index} has {image.shape[1]} channels and the first has {images[0].shape[1]}")
        top, left = int(rng.integers(height % size + 1)), int(rng.integers(width % size + 1))
        corners = [(y, x) for y in range(top, height - size + 1, size) for x in range(left, width - size + 1, size)]
        squares.append([corners[i] for i in rng.permutation(len(corners))])
    order = rng.permutation(len(images))
    turns = [
        (index, mine[turn])
        for turn in range(max(map(len, squares)))
        for index in order
        if turn < len(mine := squares[index])
    ]
    chosen = turns[:count]
    return torch.cat([images[i][..., y : y + size, x : x + size] for i, (y, x) in chosen])


def draw_samples(
    network: Network,
    images: Any,
    degradations: tuple[Degradation, ...],
    folders: Mapping[str, Any],
    *,
    patch: int,
    patches: int,
    seed: int,
) -> Samples:
    """Cut patches, degrade each in every way, and add those of the folders, which are network inputs already.

    Raises:
        OptionError: fewer than two classes, two of one name, or fewer patches than classes.
        ImageError: an image smaller than a patch, or not of the network's channels.
    """
    names = (*(d.name for d in degradations), *folders) if images is not None else tuple(folders)
    degradations = degradations if images is not None else ()
    if len(names) < 2:
        raise OptionError(f"one class ({', '.join(names) or 'none'}) has nothing to be told from: give two or more")
    if any("|" in name for name in folders):
        raise OptionError("a folder's label must not hold a |")
    if len(set(names)) < len(names):
        raise OptionError("a folder has the name of a degradation: give it another label")
    side = int(patch / network.scale)
    if side < 1:
        raise OptionError(f"patch {patch} is less than one input pixel at scale {network.scale:g}")
    parts, labels, groups, used = [], [], [], 0
    if images is not None:
        cut = cut_patches(_several(images, "image"), patch, patches, seed, "image")
        used = len(cut)
        for degradation in degradations:
            parts.append(make_lr(cut, degradation, scale=network.scale, seed=seed))
            groups.append(np.arange(used))
    for label, folder in folders.items():
        found = _several(folder, f"image of {label}")
        parts.append(cut_patches(found, side, patches, seed, f"image of {label}"))
        groups.append(np.arange(len(parts[-1])) + sum(map(len, groups)))
    for index, (name, part) in enumerate(zip(names, parts, strict=True)):
        network.check(part)
        labels.append(np.full(len(part), index))
        if len(part) < len(names):
            raise OptionError(
                f"{len(part)} patches of {name} for {len(names)} classes are too few: give more or larger images, or "
                f"smaller patches than {patch} pixels"
            )
    return Samples(torch.cat(parts), np.concatenate(labels), np.concatenate(groups), names, degradations, used)
