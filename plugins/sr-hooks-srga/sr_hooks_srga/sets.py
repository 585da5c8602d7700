"""The sets that are compared: patches of one set of images, degraded each in its way, and folders of network inputs.

Patches are cut and degraded when they are asked for, so that sets of any size take no memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import sr_hooks
from sr_hooks.degradations import DegradedPatches, parse_degradation, parse_degradations
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.images import Inputs, PatchSet, draw_corners, image_files, image_sources
from sr_hooks.inference import check_input
from sr_hooks.statistics import are_many

__all__ = ["Set", "draw_sets"]


@dataclass(frozen=True)
class Set:
    """A set by name with its inputs, (n,C,h,w) float32 in [0, 1]; of more than 20,000, made when asked for."""

    name: str
    inputs: Inputs


def draw_sets(
    network: sr_hooks.Network,
    images: Any,
    reference: Any,
    degradations: Any,
    folders: Mapping[str, Any],
    *,
    patch: int,
    patches: int,
    seed: int,
    held: bool = True,
) -> list[Set]:
    """The reference, then every set to be told from it, all with the same number of inputs.

    Patches do not overlap. Up to 20,000 are held in memory, unless `held` is False. All degradations are of the same
    patches of `images`, which may be None where there are only folders. Files are read
    one by one, and no more than their patches are held.

    Raises:
        OptionError: nothing to compare, the same set twice, or fewer than 8 patches.
        ImageError: no such folder, an image smaller than a patch, or not of the network's channels.
    """
    chains = parse_degradations(degradations) if images is not None and degradations else ()
    folder = _folder(reference)
    first = "reference" if folder is not None else parse_degradation(reference).name
    names = [first, *(chain.name for chain in chains), *folders]
    if len(names) < 2:
        raise OptionError("nothing to compare with the reference: give degradations, folders, or both")
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise OptionError(f"{twice} is there twice: the reference and every set need names of their own")
    truths: list[_Drawn] = []
    if images is not None and (chains or folder is None):
        truths = [_Drawn(images, round(patch * network.scale), patches, seed, "image", network.channels)]
    elif folder is None:
        raise OptionError("the reference is a degradation, so images are needed; or give a folder as reference")
    own = [_Drawn(folder, patch, patches, seed, "reference image", network.channels)] if folder is not None else []
    for name, images_of_it in folders.items():
        own.append(_Drawn(images_of_it, patch, patches, seed, f"image of {name}", network.channels))
    count = min(len(each.corners) for each in [*truths, *own])
    if count < 8:
        raise OptionError(
            f"{count} patches are too few for a distribution and its floor: give more or larger images, or a smaller "
            f"patch than {patch} input pixels"
        )
    degraded = chains if folder is not None else (parse_degradation(reference), *chains)
    made: list[Inputs] = [
        DegradedPatches(truth.patches(count), chain, scale=network.scale, seed=seed)
        for truth in truths
        for chain in degraded
    ]
    plain: list[Inputs] = [each.patches(count) for each in own]
    inputs = [plain[0], *made, *plain[1:]] if folder is not None else [*made, *plain]
    for each in inputs:
        check_input(network, each[:1])
    is_held = held and not are_many(count)
    return [Set(name, each[:] if is_held else each) for name, each in zip(names, inputs, strict=True)]


def _folder(reference: Any) -> Any:
    """The reference's images, where it is a folder, a file or images; None where it names a degradation."""
    if isinstance(reference, (str, Path)):
        return Path(reference) if Path(reference).exists() else None
    return reference if isinstance(reference, (torch.Tensor, list, tuple)) else None


class _Drawn:
    """At most `count` patches, as evenly from the images as these allow."""

    def __init__(self, images: Any, side: int, count: int, seed: int, what: str, bands: int | None) -> None:
        if isinstance(images, (str, Path)) and not Path(images).is_file():
            images = image_files(images)
        self.side, self.sources = side, image_sources(images, what, bands)
        self.corners: list[tuple[int, int, int]] = []
        for index, source in enumerate(self.sources):
            quota = -(-(count - len(self.corners)) // (len(self.sources) - index))
            if quota > 0:
                name = getattr(source.image, "name", index)
                own = draw_corners([source.shape], side, quota, seed + index, f"{what} {name}: part")
                if source.shape[0] != self.sources[0].shape[0]:
                    channels = f"{source.shape[0]} channels and the first has {self.sources[0].shape[0]}"
                    raise ImageError(f"{what} {index} has {channels}")
                self.corners += [(index, top, left) for _, top, left in own]

    def patches(self, count: int) -> PatchSet:
        """The first of them."""
        return PatchSet(self.sources, self.corners[:count], self.side)
