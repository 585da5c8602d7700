"""The images that a watched analysis looks at: those that its block names, or the run's validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from sr_hooks.errors import ImageError, OptionError
from sr_hooks.files.regular_files import expanded, is_file, is_folder
from sr_hooks.images.clips import as_input, read_clip
from sr_hooks.images.image import read_image
from sr_hooks.images.image_sets import image_files
from sr_hooks.training.config import AnalysisPlan

__all__ = ["Validation", "image_source", "named_clips"]

Validation = Callable[[str, int], tuple[Sequence[torch.Tensor], Sequence[str]]]
"""From "lr" or "hr" and a largest number to the run's validation images, each (1,C,h,w), and their names."""

Images = tuple[list[torch.Tensor], list[str]]


def image_source(base: Path, validation: Validation | None) -> Callable[[AnalysisPlan, int], Images]:
    """Return the function that gives `Session` the images of an analysis, for a network of a number of channels.

    Args:
        base: folder of the option file, for relative paths.
        validation: gives the run's own validation images; None where it has none.
    """

    def images_of(plan: AnalysisPlan, channels: int = 3) -> Images:
        wanted = plan.schedule.wanted
        takes = plan.kind.takes
        if wanted is None or (isinstance(wanted, int) and not isinstance(wanted, bool)):
            count = plan.kind.watch_images if wanted is None else wanted
            if count < 1:
                raise OptionError(f"{plan.where}: image is {wanted!r}: at least 1 of the validation images")
            if validation is None:
                raise OptionError(f"{plan.where}: image must be given, since this run has no validation images")
            images, names = validation(takes, count)
            pairs = zip(images, names, strict=True)
            return [as_input(image, f"the validation image {name}", channels) for image, name in pairs], [*names]
        return _read(wanted, base, plan.where, plan.schedule.background, channels)

    return images_of


def named_clips(plan: AnalysisPlan, base: Path, channels: int) -> Images | None:
    """Of a run of a network over clips: the folders of frames that `image` names, each a clip; None for anything else.

    Raises:
        ImageError: a folder that holds no clip.
    """
    wanted = plan.schedule.wanted
    items = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    if not items or not all(isinstance(item, (str, Path)) for item in items):
        return None
    candidates = [next((p for p in (expanded(i), base / i) if is_folder(p)), None) for i in items]
    folders = [candidate for candidate in candidates if candidate is not None]
    if len(folders) < len(items):
        return None
    return [read_clip(folder, bands=channels) for folder in folders], [folder.name for folder in folders]


def _read(wanted: Any, base: Path, where: str, background: str | None, channels: int) -> Images:
    images: list[torch.Tensor] = []
    names: list[str] = []
    for item in wanted if isinstance(wanted, (list, tuple)) else [wanted]:
        if not isinstance(item, (str, Path)):
            for image in as_input(item, f"{where}: image", channels).split(1):
                images.append(image)
                names.append(f"image {len(images)}")
            continue
        for file in _files(item, base, where):
            images.append(read_image(file, background=background, bands=channels))
            names.append(file.name)
    return images, names


def _files(item: str | Path, base: Path, where: str) -> list[Path]:
    path = expanded(item)
    for candidate in (path, base / path):
        if is_file(candidate):
            return [candidate]
        if is_folder(candidate):
            try:
                return image_files(candidate)
            except ImageError as error:
                raise ImageError(f"{where}: {error}") from None
    raise ImageError(f"{where}: no image {item}, neither in the working directory nor in {base.absolute()}")
