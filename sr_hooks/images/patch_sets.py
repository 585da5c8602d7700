"""Patches of many images, cut when they are asked for: few images are in memory at once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from sr_hooks.errors import ImageError
from sr_hooks.files.regular_files import is_folder
from sr_hooks.files.strict_json import to_json
from sr_hooks.images.image import read_image, sha256_of
from sr_hooks.images.image_sets import image_files, single_images

__all__ = ["ImageSource", "Inputs", "JoinedInputs", "PatchSet", "digest_of_inputs", "image_sources"]

_OPEN = 4  # images in memory


class Inputs(Protocol):
    """Many inputs of one shape: a tensor (n,C,h,w), or what makes them when they are asked for."""

    @property
    def shape(self) -> Sequence[int]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> torch.Tensor: ...


@dataclass(frozen=True)
class ImageSource:
    """An image in a file or in memory, its shape (C,H,W) and the SHA-256 of its values; `bands` as in `read_image`."""

    image: Path | torch.Tensor
    shape: tuple[int, ...]
    sha256: str
    bands: int | None = None

    def read(self) -> torch.Tensor:
        """(1,C,H,W) float32 in [0, 1].

        Raises:
            ImageError: the file has changed since the source was made.
        """
        if isinstance(self.image, torch.Tensor):
            return self.image
        image = read_image(self.image, bands=self.bands)
        if sha256_of(image) != self.sha256:
            raise ImageError(f"{self.image} has changed since the work began: start the work again in a new folder")
        return image


def image_sources(images: Any, what: str = "the image", bands: int | None = None) -> tuple[ImageSource, ...]:
    """The images of a folder, of files, or in memory, as sources; each file is read once and not held.

    Raises:
        ImageError: there is none, or one that is no image.
    """
    if isinstance(images, ImageSource):
        return (images,)
    if isinstance(images, (str, Path)):
        files = image_files(images) if is_folder(images) else [Path(images)]
        return tuple(_source(file.absolute(), read_image(file, bands=bands), bands) for file in files)
    if isinstance(images, Sequence):
        if not images:
            raise ImageError(f"{what}: none given")
        return tuple(source for item in images for source in image_sources(item, what, bands))
    return tuple(_source(image, image) for image in single_images(images, what))


def _source(image: Path | torch.Tensor, values: torch.Tensor, bands: int | None = None) -> ImageSource:
    return ImageSource(image, tuple(values.shape[-3:]), sha256_of(values), bands)


class PatchSet:
    """Squares of images: `patches[a:b]` reads the images that these patches lie in, and gives (b - a,C,side,side).

    Neighbouring patches should lie in one image, since the last four images alone are held.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        corners: Sequence[tuple[int, int, int]],
        side: int,
        adapt: Callable[[torch.Tensor], torch.Tensor] = lambda image: image,
    ) -> None:
        """
        Args:
            corners: (image, top, left) of each patch, see `draw_corners`.
            adapt: changes each image (1,C,H,W) after it is read, as `fit_channels` does.
        """
        self._sources, self._corners, self._side, self._adapt = sources, np.array(corners, dtype=int), side, adapt
        self._open: OrderedDict[int, torch.Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._corners)

    @property
    def shape(self) -> Sequence[int]:
        """(n,C,side,side)."""
        return (len(self), *self[:1].shape[1:])

    @property
    def contents(self) -> list[Any]:
        """What the patches are made of, as plain values: hashes of the images, corners, side."""
        used = sorted(set(self._corners[:, 0].tolist()))
        return [[[i, self._sources[i].sha256] for i in used], self._corners.tolist(), self._side]

    def __getitem__(self, rows: Any) -> torch.Tensor:
        corners = self._corners[rows]
        patches: list[torch.Tensor] = [torch.empty(0)] * len(corners)
        for number in np.argsort(corners[:, 0], kind="stable"):  # each image is read once
            i, y, x = map(int, corners[number])
            patches[number] = self._image(i)[..., y : y + self._side, x : x + self._side]
        return torch.cat(patches)

    def _image(self, index: int) -> torch.Tensor:
        if index not in self._open:
            while len(self._open) >= _OPEN:
                self._open.popitem(last=False)
            self._open[index] = self._adapt(self._sources[index].read())
        self._open.move_to_end(index)
        return self._open[index]


class JoinedInputs:
    """Several sets of inputs as one, in their order; rows are asked for by a slice or by an array of numbers."""

    def __init__(self, sets: Sequence[Inputs]) -> None:
        self._sets = list(sets)
        self._ends = np.cumsum([len(each) for each in self._sets])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> Sequence[int]:
        """(n,C,h,w)."""
        return (len(self), *self._sets[0].shape[1:])

    @property
    def contents(self) -> list[Any]:
        """What the inputs are made of, as plain values."""
        return [each.contents for each in self._sets]  # type: ignore[attr-defined]

    def __getitem__(self, rows: Any) -> torch.Tensor:
        numbers = np.arange(len(self))[rows]
        sets = np.searchsorted(self._ends, numbers, side="right")
        cuts = np.flatnonzero(np.diff(sets)) + 1
        parts = []
        for part in np.split(numbers, cuts):
            index = int(np.searchsorted(self._ends, part[0], side="right"))
            own = part - (self._ends[index - 1] if index else 0)
            contiguous = len(own) == own[-1] - own[0] + 1 and bool((np.diff(own) == 1).all())
            parts.append(self._sets[index][int(own[0]) : int(own[-1]) + 1] if contiguous else self._sets[index][own])
        return torch.cat(parts)


def digest_of_inputs(inputs: Any) -> str:
    """SHA-256 of the values of a tensor; of inputs that are not in memory, of all that they are made of."""
    if isinstance(inputs, torch.Tensor):
        return sha256_of(inputs)
    return hashlib.sha256(to_json(inputs.contents, indent=None).encode()).hexdigest()
