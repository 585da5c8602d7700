"""The images that a watched analysis looks at: those it names, or the run's validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from sr_hooks.errors import ImageError, OptionError
from sr_hooks.image_sets import image_files
from sr_hooks.images import as_batch, read_image
from sr_hooks.watch_config import Planned

__all__ = ["Validation", "image_source"]

Validation = Callable[[str, int], tuple[Sequence[torch.Tensor], Sequence[str]]]
"""Given "lr" or "hr" and how many at most: the run's validation images, each (1,C,h,w), and their names."""

Images = tuple[list[torch.Tensor], list[str]]


def image_source(base: Path, validation: Validation | None) -> Callable[[Planned], Images]:
    """What `Session` asks for the images of an analysis.

    Args:
        base: folder of the option file, for relative paths.
        validation: gives the run's own validation images; None where it has none.
    """

    def images_of(planned: Planned) -> Images:
        wanted = planned.schedule.wanted
        takes = planned.kind.takes
        if wanted is None or (isinstance(wanted, int) and not isinstance(wanted, bool)):
            count = planned.kind.watch_images if wanted is None else wanted
            if count < 1:
                raise OptionError(f"{planned.where}: image is {wanted!r}: at least 1 of the validation images")
            if validation is None:
                raise OptionError(f"{planned.where}: image must be given, since this run has no validation images")
            found, names = validation(takes, count)
            pairs = zip(found, names, strict=True)
            return [as_batch(image, what=f"the validation image {name}") for image, name in pairs], [*names]
        return _read(wanted, base, planned.where)

    return images_of


def _read(wanted: Any, base: Path, where: str) -> Images:
    images: list[torch.Tensor] = []
    names: list[str] = []
    for item in wanted if isinstance(wanted, (list, tuple)) else [wanted]:
        if not isinstance(item, (str, Path)):
            for image in as_batch(item, what=f"{where}: image").split(1):
                images.append(image)
                names.append(f"image {len(images)}")
            continue
        for file in _files(item, base, where):
            images.append(read_image(file))
            names.append(file.name)
    return images, names


def _files(item: str | Path, base: Path, where: str) -> list[Path]:
    path = Path(item).expanduser()
    for place in (path, base / path):
        if place.is_file():
            return [place]
        if place.is_dir():
            try:
                return image_files(place)
            except ImageError as error:
                raise ImageError(f"{where}: {error}") from None
    raise ImageError(f"{where}: no image {item}, neither in the working directory nor in {base.absolute()}")
