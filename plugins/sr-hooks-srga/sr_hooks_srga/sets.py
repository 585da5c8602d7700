"""The sets that are compared: patches of one set of images, degraded each in its way, and folders of network inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import sr_hooks
from sr_hooks.degradations import make_lr, parse_degradation, parse_degradations
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.images import cut_patches, image_files, single_images
from sr_hooks.inference import check_input

__all__ = ["Set", "draw_sets"]


@dataclass(frozen=True)
class Set:
    """A set by name with its inputs, (n,C,h,w) float32 in [0, 1]."""

    name: str
    inputs: torch.Tensor


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
) -> list[Set]:
    """The reference, then every set to be told from it, all with the same number of inputs.

    Patches do not overlap. All degradations are of the same patches of `images`, which may be None where there are
    only folders. Files of a folder are read one by one, and only their patches are kept.

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
    truths = None
    if images is not None and (chains or folder is None):
        truths = _patches(_sources(images), round(patch * network.scale), patches, seed, "image")
    elif folder is None:
        raise OptionError("the reference is a degradation, so images are needed; or give a folder as reference")
    found = []
    if folder is not None:
        found.append(Set(first, _patches(_sources(folder), patch, patches, seed, "reference image")))
    for chain in (parse_degradation(reference), *chains) if folder is None else chains:
        assert truths is not None
        found.append(Set(chain.name, make_lr(truths, chain, scale=network.scale, seed=seed)))
    for name, images_of_it in folders.items():
        found.append(Set(name, _patches(_sources(images_of_it), patch, patches, seed, f"image of {name}")))
    count = min(len(each.inputs) for each in found)
    if count < 8:
        raise OptionError(
            f"{count} patches are too few for a distribution and its floor: give more or larger images, or a smaller "
            f"patch than {patch} input pixels"
        )
    for each in found:
        check_input(network, each.inputs)
    return [Set(each.name, each.inputs[:count]) for each in found]


def _folder(reference: Any) -> Any:
    """The reference's images, where it is a folder, a file or images; None where it names a degradation."""
    if isinstance(reference, (str, Path)):
        return Path(reference) if Path(reference).exists() else None
    return reference if isinstance(reference, (torch.Tensor, list, tuple)) else None


def _sources(images: Any) -> Sequence[Any]:
    """Files of a folder, unread; or single images."""
    if isinstance(images, (str, Path)):
        return image_files(images) if not Path(images).is_file() else [Path(images)]
    return single_images(images, "image")


def _patches(sources: Sequence[Any], side: int, count: int, seed: int, what: str) -> torch.Tensor:
    """At most `count` patches, as evenly from the images as these allow; one image in memory at a time."""
    parts: list[torch.Tensor] = []
    left = count
    for index, source in enumerate(sources):
        quota = -(-left // (len(sources) - index))
        if quota > 0:
            (image,) = single_images(source, what)
            cut = cut_patches([image], side, quota, seed + index, f"{what} {getattr(source, 'name', index)}: part")
            if parts and cut.shape[1] != parts[0].shape[1]:
                raise ImageError(f"{what} {index} has {cut.shape[1]} channels and the first has {parts[0].shape[1]}")
            parts.append(cut)
            left -= len(cut)
    return torch.cat(parts)
